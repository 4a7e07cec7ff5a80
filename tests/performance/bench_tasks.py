"""Every task operation, against the same SQL as a prepared statement on a held connection."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import cycle
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from nakamura_misaki.adapters.secondary import postgresql_task_repository as sql
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.task import Task
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.harness import Answer, in_turns, latencies, percentile
from performance.stage import WORKSPACE, Stage

SECTION = "tasks"
USERS = 200
MOST = 1.5
TOKYO = ZoneInfo("Asia/Tokyo")


def made_up_tasks(number: int, first: int = 0) -> Iterator[Task]:
    """Tasks of many users, due from three weeks ago to three weeks ahead; some have ended."""
    now = datetime.now(UTC).replace(microsecond=0)
    for position in range(first, first + number):
        task = Task(
            id=UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + position),
            title=f"資料 {position} を確認して返事をする",
            description="先週の会議で決めたとおりに直し、担当者に知らせる。" * (position % 4),
            assignee_user_id=f"U{position % USERS:04}",
            creator_user_id=f"U{position * 7 % USERS:04}",
            due_at=None if position % 10 == 0 else now + timedelta(hours=position % 1009 - 504),
            created_at=now,
            updated_at=now,
        )
        yield task.complete(now) if position % 3 == 0 else task


@dataclass(frozen=True, slots=True)
class Operation:
    """The same work twice: through the repository, and as a statement alone."""

    name: str
    ours: Callable[[], Iterable[Callable[[], Awaitable[object]]]]
    theirs: Callable[[], Iterable[Callable[[], Awaitable[object]]]]


async def measure(stage: Stage, answer: Answer) -> None:
    scale = stage.scale
    database = stage.database()
    stage.ignore_disk(database)
    manager = DatabaseManager(stage.url(database))
    repository = PostgreSQLTaskRepository(manager)
    stage.say(f"tasks: storing {scale.tasks:,}")
    await repository.create_many(made_up_tasks(scale.tasks))
    superuser = await stage.superuser(database)
    await superuser.execute("VACUUM ANALYZE tasks")
    await superuser.close()
    held = await asyncpg.connect(**stage.driver_options(database))
    try:
        for operation in await _operations(repository, held, scale.tasks, scale.calls):
            stage.say(f"tasks: {operation.name}")
            await latencies(operation.ours())
            await latencies(operation.theirs())
            pairs = await in_turns(
                scale.rounds,
                lambda calls=operation.ours: _p50(calls()),
                lambda calls=operation.theirs: _p50(calls()),
            )
            answer.ratio(SECTION, f"{operation.name}, p50", "ms", pairs, at_most=MOST)
    finally:
        await held.close()
        await manager.close()
    stage.drop(database)


_OF_USER = f"SELECT {sql._LIST} FROM tasks WHERE workspace_id = $1 AND assignee_user_id = $2"
_IN_ORDER = "ORDER BY due_at NULLS LAST, id"
LISTS = {
    "_BY_USER": f"{_OF_USER} {_IN_ORDER}",
    "_BY_USER_AND_STATUS": f"{_OF_USER} AND status = $3 {_IN_ORDER}",
    "_DUE_BETWEEN": (
        f"{_OF_USER} AND due_at >= $3 AND due_at < $4"
        f" AND status IN ('pending', 'in_progress') {_IN_ORDER}"
    ),
}
"""The lists as one would write them by hand, without pages."""


async def _p50(calls: Iterable[Callable[[], Awaitable[object]]]) -> float:
    return percentile(await latencies(list(calls)), 0.5)


async def _operations(
    repository: PostgreSQLTaskRepository, held: asyncpg.Connection, tasks: int, calls: int
) -> list[Operation]:
    statements = {
        name: await held.prepare(getattr(sql, name))
        for name in ("_INSERT", "_GET", "_UPDATE", "_DELETE")
    } | {name: await held.prepare(text) for name, text in LISTS.items()}
    ids = cycle(task.id for task in made_up_tasks(tasks))
    users = cycle(f"U{number:04}" for number in range(USERS))
    fresh = made_up_tasks(1_000_000, first=tasks)
    doomed: list[UUID] = []
    open_tasks = [task for task in made_up_tasks(tasks) if task.completed_at is None]
    moves = cycle([task.start() for task in open_tasks] + open_tasks)
    today = datetime.now(UTC).astimezone(TOKYO).date()
    start = datetime.combine(today, time(), TOKYO)
    end = datetime.combine(today + timedelta(days=1), time(), TOKYO)

    def bound(function: Any, *arguments: Any) -> Callable[[], Awaitable[object]]:
        return lambda: function(*arguments)

    def new_task() -> Task:
        task = next(fresh)
        doomed.append(task.id)
        return task

    def statement(name: str, method: str = "fetch") -> Any:
        return getattr(statements[name], method)

    def times(make: Callable[[], Callable[[], Awaitable[object]]]) -> Any:
        return lambda: [make() for _ in range(calls)]

    def update_alone() -> Callable[[], Awaitable[object]]:
        task = next(moves)
        allowed = sql._ALLOWED_BEFORE[task.status]
        return bound(statement("_UPDATE", "fetchval"), WORKSPACE, *sql._row(task), allowed, None)

    return [
        Operation(
            "create",
            times(lambda: bound(repository.create, new_task())),
            times(lambda: bound(statement("_INSERT"), WORKSPACE, *sql._row(new_task()))),
        ),
        Operation(
            "get",
            times(lambda: bound(repository.get, next(ids))),
            times(lambda: bound(statement("_GET", "fetchrow"), WORKSPACE, next(ids))),
        ),
        Operation(
            "update", times(lambda: bound(repository.update, next(moves))), times(update_alone)
        ),
        Operation(
            "list_by_user",
            times(lambda: bound(repository.list_by_user, next(users))),
            times(lambda: bound(statement("_BY_USER"), WORKSPACE, next(users))),
        ),
        Operation(
            "list_by_user, one status",
            times(lambda: bound(repository.list_by_user, next(users), "pending")),
            times(
                lambda: bound(statement("_BY_USER_AND_STATUS"), WORKSPACE, next(users), "pending")
            ),
        ),
        Operation(
            "list_due_today",
            times(lambda: bound(repository.list_due_today, next(users))),
            times(lambda: bound(statement("_DUE_BETWEEN"), WORKSPACE, next(users), start, end)),
        ),
        Operation(
            "delete",
            times(lambda: bound(repository.delete, doomed.pop())),
            times(lambda: bound(statement("_DELETE"), WORKSPACE, doomed.pop())),
        ),
    ]
