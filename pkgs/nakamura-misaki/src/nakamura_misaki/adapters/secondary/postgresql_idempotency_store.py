"""Idempotency keys in PostgreSQL."""

from collections.abc import Callable
from datetime import datetime

from nakamura_misaki.adapters.secondary.postgresql_repository import PostgreSQLRepository
from nakamura_misaki.application.idempotency import KEPT_FOR, Reservation, Response
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

# One statement for all three cases (new, known, expired), so that of many callers at once each
# sees the one row that won; DO NOTHING would give the others no row, and one to be looked for
# afterwards may be forgotten by then. Run again after its answer was lost it finds its own row.
_OF_EXPIRED = ", ".join(
    f"{column} = CASE WHEN known.created_at <= $7 THEN excluded.{column} ELSE known.{column} END"
    for column in ("fingerprint", "entity_id", "created_at", "status", "body", "location")
)
_RESERVE = (
    "INSERT INTO idempotency_keys AS known"
    " (workspace_id, scope, key, fingerprint, entity_id, created_at)"
    f" VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, scope, key)"
    f" DO UPDATE SET {_OF_EXPIRED}"
    " RETURNING entity_id, created_at, fingerprint, status, body, location"
)
_FINISH = (
    "UPDATE idempotency_keys SET status = $4, body = $5, location = $6"
    " WHERE workspace_id = $1 AND scope = $2 AND key = $3 AND status IS NULL"
)
_FORGET = (
    "WITH gone AS (DELETE FROM idempotency_keys WHERE workspace_id = $1 AND created_at < $2"
    " RETURNING 1) SELECT count(*) FROM gone"
)


class PostgreSQLIdempotencyStore(PostgreSQLRepository):
    """The port ``IdempotencyStore``."""

    def __init__(
        self,
        manager: DatabaseManager,
        workspace_id: str | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(manager, workspace_id)
        self._clock = clock

    async def reserve(self, scope: str, key: str, new: Reservation) -> Reservation:
        values = (new.fingerprint, new.entity_id, new.created_at, self._clock() - KEPT_FOR)
        row = await self._run(
            lambda c: c.fetchrow(_RESERVE, self._workspace_id, scope, key, *values)
        )
        entity_id, created_at, fingerprint, status, body, location = row
        response = None if status is None else Response(status, body, location)
        return Reservation(entity_id, created_at, fingerprint, response)

    async def finish(self, scope: str, key: str, response: Response) -> None:
        values = (response.status, response.body, response.location)
        await self._run(lambda c: c.execute(_FINISH, self._workspace_id, scope, key, *values))

    async def forget(self, before: datetime) -> int:
        forgotten: int = await self._run(lambda c: c.fetchval(_FORGET, self._workspace_id, before))
        return forgotten
