"""Whether the service can do its work now: what it rests on, looked at and remembered for a moment."""

import asyncio
import logging
import os
import stat
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from nakamura_misaki.domain.errors import (
    ConfigurationError,
    EmbeddingModelMismatch,
    NakamuraMisakiError,
    SchemaOutdated,
    StorageUnavailable,
)
from nakamura_misaki.infrastructure.database.local import newest_revision
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.di import App, json_directory

logger = logging.getLogger(__name__)

LOOK_TIMEOUT = 2.0
REMEMBERED_FOR = 1.0

_STATE = """
SELECT (SELECT version_num FROM alembic_version),
    (SELECT model FROM embedding_models WHERE workspace_id = $1 AND is_active)"""


class Reason(StrEnum):
    """Why the service is not ready, as everybody may read it: no names, no addresses."""

    STOPPING = "the service is stopping"
    DATABASE = "the database can't be reached"
    SCHEMA = "the database's schema is not this release's; run: nakamura-misaki init-db"
    EMBEDDINGS = "the stored vectors are of another model than the one configured"
    CONFIGURATION = "the database refuses the service; its log says why"
    FILES = "the directory of the JSON files can't be read and written"


UNREACHABLE = frozenset({Reason.DATABASE, Reason.CONFIGURATION, Reason.FILES})
"""Those for which the storage does not answer at all."""


class Readiness:
    """The state of what the service rests on, asked of it at most once in ``remembered_for`` seconds.

    A look takes ``timeout`` seconds at most, and callers that come meanwhile share it.
    ``is_stopping`` is set by whoever stops the service.
    """

    def __init__(
        self,
        app: App,
        *,
        timeout: float = LOOK_TIMEOUT,
        remembered_for: float = REMEMBERED_FOR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_stopping = False
        self._app = app
        self._timeout = timeout
        self._remembered_for = remembered_for
        self._clock = clock
        self._reason: Reason | None = None
        self._seen_at: float | None = None
        self._looking: asyncio.Task[Reason | None] | None = None

    async def reason(self) -> Reason | None:
        """Why the service is not ready; None if it is. Never raises."""
        if self.is_stopping:
            return Reason.STOPPING
        return await self.storage()

    async def storage(self) -> Reason | None:
        """What is wrong with the storage; None if it is well. Never raises."""
        if self._seen_at is not None and self._clock() - self._seen_at < self._remembered_for:
            return self._reason
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        # One caller may go away; the others still wait.
        return await asyncio.shield(self._looking)

    async def _look(self) -> Reason | None:
        before = self._reason
        try:
            async with asyncio.timeout(self._timeout):
                await require_storage(self._app)
            self._reason = None
        except Exception as error:  # noqa: BLE001  (whatever it is: the service is not ready)
            self._reason = _reason_of(error)
            if self._reason is not before:
                logger.warning("not ready: %s", str(error) or self._reason)
        if before is not None and self._reason is None:
            logger.info("ready again")
        self._seen_at = self._clock()
        self._looking = None
        return self._reason


async def require_storage(app: App) -> None:
    """Raise unless the service can work on its storage.

    StorageUnavailable if it can't be reached, SchemaOutdated if its schema is older
    than this release, EmbeddingModelMismatch if its vectors are of another model
    than the one configured, ConfigurationError if it refuses the role.
    """
    if app.manager is None:
        await asyncio.to_thread(_require_directory, json_directory(app.settings))
    else:
        await _require_database(app, app.manager)


async def _require_database(app: App, manager: DatabaseManager) -> None:
    workspace = app.settings.workspace_id
    # A transaction, because that is not tried again: whoever asks wants to know about now.
    async with manager.transaction() as connection:
        revision, model = await connection.fetchrow(_STATE, workspace)
    # A newer schema is right: the next release's init-db runs before this one is stopped.
    if revision is None or revision < newest_revision():
        raise SchemaOutdated(
            f"The database's schema is at revision {revision}, this release needs"
            f" {newest_revision()}; run: nakamura-misaki init-db"
        )
    if model is not None and model != app.embedder.model:
        raise EmbeddingModelMismatch(
            f"The stored vectors are of the model {model}, the one configured is"
            f" {app.embedder.model}. Configure the stored one again, or run:"
            " nakamura-misaki reembed"
        )


def _require_directory(directory: Path) -> None:
    # It is made at the first write, so that its parent counts until then.
    for existing in (directory, *directory.parents):
        try:
            is_directory = stat.S_ISDIR(existing.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:  # such as in a directory that is closed to this process
            break
        if is_directory and os.access(existing, os.R_OK | os.W_OK | os.X_OK):
            return
        break
    raise StorageUnavailable(f"{directory} can't be read and written; check JSON_DATA_DIR.")


def _reason_of(error: Exception) -> Reason:
    match error:
        case SchemaOutdated():
            return Reason.SCHEMA
        case EmbeddingModelMismatch():
            return Reason.EMBEDDINGS
        case ConfigurationError():
            return Reason.CONFIGURATION
        case StorageUnavailable() if "JSON_DATA_DIR" in str(error):
            return Reason.FILES
        case TimeoutError() | NakamuraMisakiError():
            return Reason.DATABASE
        case _:
            logger.error("looking at the storage failed", exc_info=error)
            return Reason.DATABASE
