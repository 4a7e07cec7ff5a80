"""Handoffs in PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from asyncpg.exceptions import ForeignKeyViolationError

from nakamura_misaki.adapters.secondary.postgresql_repository import (
    PostgreSQLRepository,
    merge_statement,
    newest,
    restored,
)
from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.domain.handoff import REMINDER_LEAD, Handoff
from nakamura_misaki.domain.repositories import Place, ReminderClaim, WriteCount
from nakamura_misaki.domain.rules import require_limit, utc_now
from nakamura_misaki.infrastructure.database.manager import Connection, DatabaseManager

_COLUMNS = (
    "id",
    "task_id",
    "from_user_id",
    "to_user_id",
    "progress_note",
    "next_steps",
    "handoff_at",
    "reminded_at",
    "completed_at",
    "created_at",
)
_LIST = ", ".join(_COLUMNS)

_INSERT = f"INSERT INTO handoffs (workspace_id, {_LIST}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_GET = f"SELECT {_LIST} FROM handoffs WHERE workspace_id = $1 AND id = $2"
_TO_USER, _TO_USER_AFTER = (
    f"SELECT {_LIST} FROM handoffs WHERE workspace_id = $1 AND to_user_id = $2 AND {condition}"
    " AND ($4::boolean IS NULL OR (completed_at IS NOT NULL) = $4)"
    " ORDER BY handoff_at, id LIMIT $3"
    for condition in ("true", "(handoff_at, id) > ($5, $6)")
)
_PENDING = (
    f"SELECT {_LIST} FROM handoffs WHERE workspace_id = $1 AND handoff_at <= $2"
    " AND reminded_at IS NULL AND completed_at IS NULL ORDER BY handoff_at, id"
)
# The rows are locked one by one, and each is looked at again once it is: of several claimers
# none waits for another, and none gets what another has just claimed.
_CLAIM = f"""
WITH due AS (
    SELECT id FROM handoffs
    WHERE workspace_id = $1 AND handoff_at <= $2 AND reminded_at IS NULL AND completed_at IS NULL
        AND (reminder_claimed_until IS NULL OR reminder_claimed_until <= $3)
    ORDER BY handoff_at, id LIMIT $4 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE handoffs SET reminder_claimed_until = $5, reminder_attempts = reminder_attempts + 1
    WHERE workspace_id = $1 AND id IN (SELECT id FROM due)
    RETURNING {_LIST}, reminder_attempts
)
SELECT * FROM claimed ORDER BY handoff_at, id"""
_POSTPONE = (
    "UPDATE handoffs SET reminder_claimed_until = $3"
    " WHERE workspace_id = $1 AND id = $2 AND reminded_at IS NULL"
)
_PAGE = f"SELECT {_LIST} FROM handoffs WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3"
_HAS_TASK = (
    "task_id IS NULL OR EXISTS (SELECT FROM tasks AS t"
    " WHERE t.workspace_id = $1 AND t.id = staged.task_id)"
)
# A handoff has no time of its last change, but what happens to it happens once: being reminded
# of, and being completed. An entry that knows of more is the newer one.
_MERGE = merge_statement(
    "handoffs",
    _COLUMNS,
    newer=(
        "num_nonnulls(excluded.reminded_at, excluded.completed_at)"
        " > num_nonnulls(known.reminded_at, known.completed_at)"
    ),
    condition=_HAS_TASK,
)


_row: Callable[[Handoff], tuple[Any, ...]] = attrgetter(*_COLUMNS)
_handoff = restored(Handoff, _COLUMNS)


class PostgreSQLHandoffRepository(PostgreSQLRepository):
    """The port ``HandoffRepository``; reminders are due ``lead`` before the appointed time."""

    def __init__(
        self,
        manager: DatabaseManager,
        *,
        workspace_id: str | None = None,
        lead: timedelta = REMINDER_LEAD,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(manager, workspace_id)
        self._lead = lead
        self._clock = clock

    async def create(self, handoff: Handoff) -> Handoff:
        try:
            await self._insert(_INSERT, _GET, _row(handoff), "handoff")
        except ForeignKeyViolationError:
            raise NotFound(f"There is no task {handoff.task_id} to hand over.") from None
        return handoff

    async def get(self, handoff_id: UUID) -> Handoff | None:
        row = await self._run(lambda c: c.fetchrow(_GET, self._workspace_id, handoff_id))
        return None if row is None else _handoff(row)

    async def list_by_to_user(
        self,
        user_id: str,
        *,
        completed: bool | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Handoff]:
        if limit is not None:
            require_limit(limit)
        statement = _TO_USER if after is None else _TO_USER_AFTER
        arguments = (self._workspace_id, user_id, limit, completed, *(after or ()))
        rows = await self._run(lambda c: c.fetch(statement, *arguments))
        return [_handoff(row) for row in rows]

    async def list_pending_reminders(self) -> list[Handoff]:
        until = self._clock() + self._lead
        rows = await self._run(lambda c: c.fetch(_PENDING, self._workspace_id, until))
        return [_handoff(row) for row in rows]

    async def claim_reminders(self, limit: int, lease: timedelta) -> list[ReminderClaim]:
        """As the port says.

        A claim whose answer is lost with the connection is nobody's: it waits for
        its lease to end, and what is claimed by the second attempt is something else.
        """
        now = self._clock()
        arguments = (self._workspace_id, now + self._lead, now, limit, now + lease)
        rows = await self._run(lambda c: c.fetch(_CLAIM, *arguments))
        return [ReminderClaim(_handoff(row[:-1]), row["reminder_attempts"]) for row in rows]

    async def postpone_reminder(self, handoff_id: UUID, until: datetime) -> None:
        await self._run(lambda c: c.execute(_POSTPONE, self._workspace_id, handoff_id, until))

    async def mark_reminded(self, handoff_id: UUID) -> bool:
        return await self._mark_once("reminded_at", handoff_id)

    async def mark_completed(self, handoff_id: UUID) -> bool:
        return await self._mark_once("completed_at", handoff_id)

    async def create_many(self, handoffs: Iterable[Handoff]) -> WriteCount:
        kept, given = newest(handoffs, lambda a, b: _progress(a) > _progress(b))
        new, updated = await self._merge(
            "handoffs", _COLUMNS, [_row(handoff) for handoff in kept], _MERGE, _HAS_TASK
        )
        return WriteCount(new, updated, given - new - updated)

    async def find_ids(self, digits: str) -> list[UUID]:
        return await self._find_ids("handoffs", digits)

    async def stream(self) -> AsyncIterator[Handoff]:
        async for row in self._pages(_PAGE, ("id",), UUID(int=0)):
            yield _handoff(row)

    async def _mark_once(self, column: str, handoff_id: UUID) -> bool:
        now = self._clock()
        attempts = 0

        async def mark(connection: Connection) -> bool:
            nonlocal attempts
            attempts += 1
            # A second attempt may meet the mark of the first, whose answer was lost; it is
            # this caller's if it carries this caller's time.
            marked = await connection.fetchval(
                f"UPDATE handoffs SET {column} = $3 WHERE workspace_id = $1 AND id = $2"
                f" AND ({column} IS NULL OR ($4 AND {column} = $3)) RETURNING true",
                self._workspace_id,
                handoff_id,
                now,
                attempts > 1,
            )
            return bool(marked)

        return await self._run(mark)


def _progress(handoff: Handoff) -> int:
    return (handoff.reminded_at is not None) + (handoff.completed_at is not None)
