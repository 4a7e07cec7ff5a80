"""Sessions in PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from nakamura_misaki.adapters.secondary.postgresql_repository import (
    PostgreSQLRepository,
    json_text,
    merge_statement,
    newest,
    restored,
)
from nakamura_misaki.domain.errors import InvalidInput, NotFound
from nakamura_misaki.domain.repositories import Place, WriteCount
from nakamura_misaki.domain.rules import require_aware, require_limit, utc_now
from nakamura_misaki.domain.session import Session
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

_COLUMNS = (
    "id",
    "user_id",
    "title",
    "workspace_path",
    "message_count",
    "is_active",
    "metadata",
    "last_active_at",
    "created_at",
)
_LIST = ", ".join(_COLUMNS)

_INSERT = (
    f"INSERT INTO sessions (workspace_id, {_LIST}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
)
_GET = f"SELECT {_LIST} FROM sessions WHERE workspace_id = $1 AND id = $2"
_TOUCH = (
    "UPDATE sessions SET last_active_at = $3 WHERE workspace_id = $1 AND id = $2 RETURNING true"
)
_DELETE_INACTIVE = (
    "WITH gone AS (DELETE FROM sessions WHERE workspace_id = $1 AND last_active_at < $2"
    " RETURNING 1) SELECT count(*) FROM gone"
)
_BY_USER = (
    f"SELECT {_LIST} FROM sessions WHERE workspace_id = $1 AND user_id = $2"
    " ORDER BY last_active_at DESC, id LIMIT $3"
)
# The index knows the first condition; the second is for those active at the very same moment.
_BY_USER_AFTER = (
    f"SELECT {_LIST} FROM sessions WHERE workspace_id = $1 AND user_id = $2"
    " AND last_active_at <= $4 AND (last_active_at < $4 OR id > $5)"
    " ORDER BY last_active_at DESC, id LIMIT $3"
)
_PAGE = f"SELECT {_LIST} FROM sessions WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3"
_MERGE = merge_statement(
    "sessions", _COLUMNS, newer="excluded.last_active_at > known.last_active_at"
)


_METADATA = _COLUMNS.index("metadata")
_values: Callable[[Session], tuple[Any, ...]] = attrgetter(*_COLUMNS)
_session = restored(Session, _COLUMNS)


class PostgreSQLSessionRepository(PostgreSQLRepository):
    """The port ``SessionRepository``."""

    def __init__(
        self,
        manager: DatabaseManager,
        *,
        workspace_id: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(manager, workspace_id)
        self._clock = clock

    async def create(self, session: Session) -> Session:
        await self._insert(_INSERT, _GET, _row(session), "session")
        return session

    async def get(self, session_id: str) -> Session | None:
        row = await self._run(lambda c: c.fetchrow(_GET, self._workspace_id, session_id))
        return None if row is None else _session(row)

    async def update_last_active(self, session_id: str, at: datetime | None = None) -> None:
        now = at or self._clock()
        require_aware(now, "the last activity")
        if not await self._run(lambda c: c.fetchval(_TOUCH, self._workspace_id, session_id, now)):
            raise NotFound(f"There is no session {session_id}.")

    async def delete_inactive(self, days: int) -> int:
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 36500:
            raise InvalidInput(f"days must be a whole number from 1 to 36500, not {days!r}.")
        before = self._clock() - timedelta(days=days)
        deleted: int = await self._run(
            lambda c: c.fetchval(_DELETE_INACTIVE, self._workspace_id, before)
        )
        return deleted

    async def list_by_user(
        self, user_id: str, *, limit: int | None = None, after: Place[str] | None = None
    ) -> list[Session]:
        if limit is not None:
            require_limit(limit)
        statement = _BY_USER if after is None else _BY_USER_AFTER
        arguments = (self._workspace_id, user_id, limit, *(after or ()))
        rows = await self._run(lambda c: c.fetch(statement, *arguments))
        return [_session(row) for row in rows]

    async def create_many(self, sessions: Iterable[Session]) -> WriteCount:
        kept, given = newest(sessions, lambda a, b: a.last_active_at > b.last_active_at)
        new, updated = await self._merge(
            "sessions", _COLUMNS, [_row(session) for session in kept], _MERGE
        )
        return WriteCount(new, updated, given - new - updated)

    async def stream(self) -> AsyncIterator[Session]:
        async for row in self._pages(_PAGE, ("id",), ""):
            yield _session(row)


def _row(session: Session) -> tuple[Any, ...]:
    values = _values(session)
    return (*values[:_METADATA], json_text(session.metadata), *values[_METADATA + 1 :])
