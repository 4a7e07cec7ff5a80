"""Tasks in PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, time, timedelta, tzinfo
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from nakamura_misaki.adapters.secondary.postgresql_repository import (
    PostgreSQLRepository,
    merge_statement,
    newest,
    restored,
)
from nakamura_misaki.domain.errors import IllegalTransition, NotFound
from nakamura_misaki.domain.repositories import Place, WriteCount
from nakamura_misaki.domain.rules import require_limit, utc_now
from nakamura_misaki.domain.task import Task, TaskStatus
from nakamura_misaki.infrastructure.database.manager import Connection, DatabaseManager

_COLUMNS = (
    "id",
    "title",
    "description",
    "assignee_user_id",
    "creator_user_id",
    "status",
    "due_at",
    "completed_at",
    "created_at",
    "updated_at",
)
_LIST = ", ".join(_COLUMNS)

_INSERT = f"INSERT INTO tasks (workspace_id, {_LIST}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_GET = f"SELECT {_LIST} FROM tasks WHERE workspace_id = $1 AND id = $2"
_UPDATE = (
    "UPDATE tasks SET (" + ", ".join(_COLUMNS[1:]) + ") = ($3, $4, $5, $6, $7, $8, $9, $10, $11)"
    " WHERE workspace_id = $1 AND id = $2 AND status = ANY($12)"
    " AND ($13::timestamptz IS NULL OR updated_at = $13) RETURNING true"
)
_DELETE = "DELETE FROM tasks WHERE workspace_id = $1 AND id = $2"
_STATUS_WANTED = "status = ANY($4)"


def _of_user(condition: str) -> str:
    return (
        f"SELECT {_LIST} FROM tasks WHERE workspace_id = $1 AND assignee_user_id = $2 AND {condition}"
        f" AND {_STATUS_WANTED} ORDER BY due_at NULLS LAST, id LIMIT $3"
    )


def _of_any_status(statement: str) -> str:
    """The same statement where $4 is NULL: looked at once, and not in every row."""
    return statement.replace(_STATUS_WANTED, "$4::text[] IS NULL")


_BY_USER = _of_user("true")
# Three statements and not one condition with OR: each is one range of the index, in its order.
_BY_USER_AFTER_DUE = f"""
({_of_user("(due_at, id) > ($5, $6)")}) UNION ALL ({_of_user("due_at IS NULL")})
ORDER BY due_at NULLS LAST, id LIMIT $3"""
_BY_USER_AFTER_UNDATED = _of_user("due_at IS NULL AND id > $5")
_DUE_BETWEEN = _of_user("due_at >= $5 AND due_at < $6")
_DUE_BETWEEN_AFTER = _of_user("due_at < $6 AND due_at >= $5 AND (due_at, id) > ($7, $8)")
_PAGE = f"SELECT {_LIST} FROM tasks WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3"
_MERGE = merge_statement("tasks", _COLUMNS, newer="excluded.updated_at > known.updated_at")

_OPEN = (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)
_STATUSES = {status.value: status for status in TaskStatus}
_row: Callable[[Task], tuple[Any, ...]] = attrgetter(*_COLUMNS)  # a TaskStatus is its text
_task = restored(Task, _COLUMNS, status=_STATUSES.__getitem__)

# What a stored status may be for a task to be stored with this one.
_ALLOWED_BEFORE = {
    status: [status.value, *(old.value for old in status.predecessors())] for status in TaskStatus
}


class PostgreSQLTaskRepository(PostgreSQLRepository):
    """The port ``TaskRepository``; "today" is a calendar day of ``time_zone``."""

    def __init__(
        self,
        manager: DatabaseManager,
        *,
        workspace_id: str | None = None,
        time_zone: tzinfo = ZoneInfo("Asia/Tokyo"),  # noqa: B008  (immutable)
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(manager, workspace_id)
        self._time_zone = time_zone
        self._clock = clock

    async def create(self, task: Task) -> Task:
        await self._insert(_INSERT, _GET, _row(task), "task")
        return task

    async def get(self, task_id: UUID) -> Task | None:
        row = await self._run(lambda c: c.fetchrow(_GET, self._workspace_id, task_id))
        return None if row is None else _task(row)

    async def update(self, task: Task, *, seen: Task | None = None) -> Task:
        allowed = _ALLOWED_BEFORE[task.status]
        arguments = (*_row(task), allowed, None if seen is None else seen.updated_at)

        async def store(connection: Connection) -> Task:
            if not await connection.fetchval(_UPDATE, self._workspace_id, *arguments):
                stored = await connection.fetchrow(_GET, self._workspace_id, task.id)
                if stored is None:
                    raise NotFound(f"There is no task {task.id}.")
                if seen is not None and _task(stored) == task:
                    return task  # an earlier attempt's, whose answer was lost
                if stored["status"] in allowed:
                    raise IllegalTransition("The task was changed by somebody else meanwhile.")
                raise IllegalTransition(
                    f"The task is {stored['status']} by now and can't become {task.status}."
                )
            return task

        return await self._run(store)

    async def delete(self, task_id: UUID) -> None:
        await self._run(lambda c: c.execute(_DELETE, self._workspace_id, task_id))

    async def list_by_user(
        self,
        user_id: str,
        status: str | None = None,
        *,
        only_open: bool = False,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        if limit is not None:
            require_limit(limit)
        arguments: tuple[Any, ...] = (user_id, limit, _wanted(status, only_open=only_open))
        statement = _BY_USER
        if after is not None and after.time is not None:
            statement = _BY_USER_AFTER_DUE
            arguments += after
        elif after is not None:
            statement = _BY_USER_AFTER_UNDATED
            arguments += (after.id,)
        if arguments[2] is None:
            statement = _of_any_status(statement)
        rows = await self._run(lambda c: c.fetch(statement, self._workspace_id, *arguments))
        return [_task(row) for row in rows]

    async def list_due_today(
        self,
        user_id: str,
        status: str | None = None,
        *,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        if limit is not None:
            require_limit(limit)
        today = self._clock().astimezone(self._time_zone).date()
        # Midnight to midnight by the wall clock: 23 or 25 hours where summer time begins or ends.
        start = datetime.combine(today, time(), self._time_zone)
        end = datetime.combine(today + timedelta(days=1), time(), self._time_zone)
        wanted = _wanted(status, only_open=True)
        statement = _DUE_BETWEEN if after is None else _DUE_BETWEEN_AFTER
        arguments = (self._workspace_id, user_id, limit, wanted, start, end, *(after or ()))
        rows = await self._run(lambda c: c.fetch(statement, *arguments))
        return [_task(row) for row in rows]

    async def create_many(self, tasks: Iterable[Task]) -> WriteCount:
        kept, given = newest(tasks, lambda a, b: a.updated_at > b.updated_at)
        new, updated = await self._merge("tasks", _COLUMNS, [_row(task) for task in kept], _MERGE)
        return WriteCount(new, updated, given - new - updated)

    async def find_ids(self, digits: str) -> list[UUID]:
        return await self._find_ids("tasks", digits)

    async def stream(self) -> AsyncIterator[Task]:
        async for row in self._pages(_PAGE, ("id",), UUID(int=0)):
            yield _task(row)


def _wanted(status: str | None, *, only_open: bool) -> list[str] | None:
    """Which statuses to list; None: all. Raises InvalidInput for an unknown one."""
    if status is None:
        return [*_OPEN] if only_open else None
    wanted = TaskStatus.parse(status)
    return [] if only_open and wanted not in _OPEN else [wanted]
