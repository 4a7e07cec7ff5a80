"""Events from outside in PostgreSQL."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from nakamura_misaki.adapters.secondary.postgresql_repository import (
    PostgreSQLRepository,
    json_text,
)
from nakamura_misaki.application.inbox import (
    GIVEN_UP,
    LEASE,
    MAX_ATTEMPTS,
    Event,
    storable,
)
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.infrastructure.database.manager import Connection, DatabaseManager

_logger = logging.getLogger(__name__)

_RECEIVE = (
    "INSERT INTO inbox_events (workspace_id, id, body, entity_id, received_at, claimed_until)"
    " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, id) DO NOTHING RETURNING true"
)
_IS_OURS = "SELECT entity_id = $3 FROM inbox_events WHERE workspace_id = $1 AND id = $2"
_FINISH = (
    "UPDATE inbox_events SET handled_at = $3, body = NULL"
    " WHERE workspace_id = $1 AND id = $2 AND handled_at IS NULL"
)
_RELEASE = (
    "UPDATE inbox_events SET claimed_until = $3,"
    " attempts = CASE WHEN $4 THEN attempts ELSE GREATEST(attempts - 1, 0) END"
    " WHERE workspace_id = $1 AND id = $2 AND handled_at IS NULL"
)
# What too many died over is finished here rather than held.
_TAKE_UP = """
WITH due AS (
    SELECT id, attempts >= $5 AS is_hopeless FROM inbox_events
    WHERE workspace_id = $1 AND handled_at IS NULL AND claimed_until <= $2
    ORDER BY received_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE inbox_events AS event SET
    claimed_until = $4,
    attempts = CASE WHEN is_hopeless THEN attempts ELSE attempts + 1 END,
    handled_at = CASE WHEN is_hopeless THEN $2 END,
    body = CASE WHEN is_hopeless THEN NULL ELSE body END
FROM due WHERE event.workspace_id = $1 AND event.id = due.id
RETURNING event.id, body, entity_id, received_at, attempts, is_hopeless"""
_FORGET = (
    "WITH gone AS (DELETE FROM inbox_events WHERE workspace_id = $1"
    " AND handled_at IS NOT NULL AND received_at < $2 RETURNING 1) SELECT count(*) FROM gone"
)


class PostgreSQLEventInbox(PostgreSQLRepository):
    """The port ``EventInbox``."""

    def __init__(
        self,
        manager: DatabaseManager,
        workspace_id: str | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(manager, workspace_id)
        self._clock = clock

    async def receive(self, event: Event, lease: timedelta = LEASE) -> bool:
        body = json_text(storable(event.body))
        until = self._clock() + lease
        attempts = 0

        async def receive(connection: Connection) -> bool:
            nonlocal attempts
            attempts += 1
            row = (event.id, body, event.entity_id, event.received_at, until)
            if await connection.fetchval(_RECEIVE, self._workspace_id, *row):
                return True
            if attempts == 1:
                return False
            # Perhaps the first attempt's insert, whose answer was lost.
            return bool(
                await connection.fetchval(_IS_OURS, self._workspace_id, event.id, event.entity_id)
            )

        return await self._run(receive)

    async def finish(self, event_id: str) -> None:
        now = self._clock()
        await self._run(lambda c: c.execute(_FINISH, self._workspace_id, event_id, now))

    async def release(self, event_id: str, until: datetime, *, was_tried: bool = True) -> None:
        arguments = (self._workspace_id, event_id, until, was_tried)
        await self._run(lambda c: c.execute(_RELEASE, *arguments))

    async def take_up(self, limit: int, lease: timedelta = LEASE) -> list[Event]:
        now = self._clock()
        given = (now, limit, now + lease, MAX_ATTEMPTS)
        while True:
            rows = await self._run(lambda c: c.fetch(_TAKE_UP, self._workspace_id, *given))
            for row in rows:
                if row["is_hopeless"]:
                    _logger.error(GIVEN_UP, row["id"], row["attempts"])
            events = [
                Event(row["id"], row["body"], row["entity_id"], row["received_at"], row["attempts"])
                for row in rows
                if not row["is_hopeless"]
            ]
            if events or len(rows) < limit:
                return sorted(events, key=lambda event: (event.received_at, event.id))

    async def forget(self, before: datetime) -> int:
        forgotten: int = await self._run(lambda c: c.fetchval(_FORGET, self._workspace_id, before))
        return forgotten
