"""``/health/live``, ``/health/ready`` and ``/metrics``: for those who watch the service.

They need no token and tell nothing that would: no names, no addresses, no content.
"""

import asyncio
import logging
import math
import time

from fastapi import APIRouter, Header, Response
from prometheus_client.exposition import choose_encoder

from nakamura_misaki.adapters.primary.readiness import UNREACHABLE, Readiness
from nakamura_misaki.domain.errors import NakamuraMisakiError
from nakamura_misaki.infrastructure.di import App
from nakamura_misaki.infrastructure.metrics import Metrics

logger = logging.getLogger(__name__)

COUNTED_EVERY = 30.0
"""Seconds between two counts of the notes without a vector."""

COUNT_MAY_TAKE = 10.0
SCRAPE_WAITS = 1.0
"""Seconds: a scrape is answered with the last count when a new one takes longer."""


def health_router(app: App, metrics: Metrics, readiness: Readiness | None = None) -> APIRouter:
    """The routes. ``readiness`` is the service's own, which knows when it stops."""
    router = APIRouter(include_in_schema=False)
    ready_or_not = readiness or Readiness(app)
    pending = _PendingCount(app, metrics)
    if app.manager is not None:
        metrics.watch_pool(app.manager.pool_status)
    if app.settings.backup_status_file is not None:
        metrics.watch_backups(app.settings.backup_status_file)

    @router.get("/health/live")
    async def live() -> Response:
        return _json(200, b'{"status":"alive"}')

    @router.get("/health/ready")
    async def ready() -> Response:
        reason = await ready_or_not.reason()
        if reason is None:
            return _json(200, b'{"status":"ready"}')
        body = f'{{"status":"not ready","reason":"{reason.name.lower()}","detail":"{reason}"}}'
        return _json(503, body.encode(), {"Retry-After": "2"})

    @router.get("/metrics")
    async def scrape(accept: str = Header("")) -> Response:
        is_up = await ready_or_not.storage() not in UNREACHABLE
        metrics.database_up.set(is_up)
        await pending.bring_up_to_date(is_up)
        encode, content_type = choose_encoder(accept)
        return Response(encode(metrics.registry), headers={"Content-Type": content_type})

    return router


class _PendingCount:
    """Counts the notes without a vector every now and then, never on a scrape's critical path."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._counted_at = -math.inf
        self._counting: asyncio.Task[None] | None = None

    async def bring_up_to_date(self, is_up: bool) -> None:
        if self._app.manager is None:
            return
        if not is_up:
            self._metrics.pending_embeddings.set(math.nan)
            self._counted_at = -math.inf
            return
        if self._counting is None and time.monotonic() - self._counted_at >= COUNTED_EVERY:
            self._counting = asyncio.create_task(self._count())
        if self._counting is not None:
            await asyncio.wait((self._counting,), timeout=SCRAPE_WAITS)

    async def _count(self) -> None:
        try:
            async with asyncio.timeout(COUNT_MAY_TAKE):
                self._metrics.pending_embeddings.set(
                    await self._app.embedding_store.count_pending()
                )
        except (NakamuraMisakiError, TimeoutError) as error:
            self._metrics.pending_embeddings.set(math.nan)
            logger.warning("the notes without a vector can't be counted: %s", error or "too slow")
        finally:
            self._counted_at = time.monotonic()
            self._counting = None


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(
        body,
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
