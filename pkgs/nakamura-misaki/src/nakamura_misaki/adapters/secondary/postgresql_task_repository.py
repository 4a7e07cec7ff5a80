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
from nakamura_misaki.domain.repositories import WriteCount
from nakamura_misaki.domain.rules import utc_now
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
    " WHERE workspace_id = $1 AND id = $2 AND status = ANY($12) RETURNING true"
)
_DELETE = "DELETE FROM tasks WHERE workspace_id = $1 AND id = $2"
_BY_USER = (
    f"SELECT {_LIST} FROM tasks WHERE workspace_id = $1 AND assignee_user_id = $2"
    " ORDER BY due_at NULLS LAST, id"
)
_BY_USER_AND_STATUS = (
    f"SELECT {_LIST} FROM tasks WHERE workspace_id = $1 AND assignee_user_id = $2 AND status = $3"
    " ORDER BY due_at NULLS LAST, id"
)
_DUE_BETWEEN = (
    f"SELECT {_LIST} FROM tasks WHERE workspace_id = $1 AND assignee_user_id = $2"
    " AND due_at >= $3 AND due_at < $4 AND status IN ('pending', 'in_progress')"
    " ORDER BY due_at, id"
)
_PAGE = f"SELECT {_LIST} FROM tasks WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3"
_MERGE = merge_statement("tasks", _COLUMNS, newer="excluded.updated_at > known.updated_at")

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

    async def update(self, task: Task) -> Task:
        allowed = _ALLOWED_BEFORE[task.status]

        async def store(connection: Connection) -> Task:
            if not await connection.fetchval(_UPDATE, self._workspace_id, *_row(task), allowed):
                stored = await connection.fetchrow(_GET, self._workspace_id, task.id)
                if stored is None:
                    raise NotFound(f"There is no task {task.id}.")
                raise IllegalTransition(
                    f"The task is {stored['status']} by now and can't become {task.status}."
                )
            return task

        return await self._run(store)

    async def delete(self, task_id: UUID) -> None:
        await self._run(lambda c: c.execute(_DELETE, self._workspace_id, task_id))

    async def list_by_user(self, user_id: str, status: str | None = None) -> list[Task]:
        if status is None:
            rows = await self._run(lambda c: c.fetch(_BY_USER, self._workspace_id, user_id))
        else:
            wanted = TaskStatus.parse(status).value
            rows = await self._run(
                lambda c: c.fetch(_BY_USER_AND_STATUS, self._workspace_id, user_id, wanted)
            )
        return [_task(row) for row in rows]

    async def list_due_today(self, user_id: str) -> list[Task]:
        today = self._clock().astimezone(self._time_zone).date()
        # Midnight to midnight by the wall clock: 23 or 25 hours where summer time begins or ends.
        start = datetime.combine(today, time(), self._time_zone)
        end = datetime.combine(today + timedelta(days=1), time(), self._time_zone)
        rows = await self._run(
            lambda c: c.fetch(_DUE_BETWEEN, self._workspace_id, user_id, start, end)
        )
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
