"""Many workers on one pool, against asyncpg's own pool; and whether it keeps its connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg

from nakamura_misaki.adapters.secondary import postgresql_task_repository as sql
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.task import Task
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.bench_tasks import made_up_tasks
from performance.harness import Answer, in_turns
from performance.stage import WORKSPACE, Stage

SECTION = "pool"
WORKERS = 32
GETS_PER_UPDATE = 3
LEAST = 0.8

Work: TypeAlias = Callable[[int], Awaitable[object]]


async def measure(stage: Stage, answer: Answer) -> None:
    scale = stage.scale
    database = stage.database()
    stage.ignore_disk(database)
    superuser = await stage.superuser(database)
    manager = DatabaseManager(stage.url(database), pool_size=10, max_overflow=20)
    repository = PostgreSQLTaskRepository(manager)
    await repository.create_many(made_up_tasks(scale.tasks))
    await superuser.execute("VACUUM ANALYZE tasks")
    tasks = [task for task in made_up_tasks(scale.tasks) if task.completed_at is None]
    theirs = await asyncpg.create_pool(min_size=30, max_size=30, **stage.driver_options(database))
    ours_work, theirs_work = _through_repository(repository, tasks), _alone(theirs, tasks)
    stage.say(f"pool: {WORKERS} workers")
    try:
        await _throughput(ours_work, scale.pool_operations)
        await _throughput(theirs_work, scale.pool_operations)
        before = await _connections_made(superuser)
        pairs = await in_turns(
            scale.rounds,
            lambda: _throughput(ours_work, scale.pool_operations),
            lambda: _throughput(theirs_work, scale.pool_operations),
        )
        new = await _connections_made(superuser) - before
    finally:
        await theirs.close()
        await manager.close()
        await superuser.close()
    what = f"{WORKERS} workers on 10+20, throughput"
    answer.ratio(SECTION, what, "/s", pairs, at_least=LEAST)
    answer.figure(SECTION, "new server connections meanwhile", "", [float(new)], at_most=0)
    stage.drop(database)


async def _throughput(work: Work, operations: int) -> float:
    remaining = iter(range(operations))

    async def worker() -> None:
        for number in remaining:
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return operations / (time.perf_counter() - started)


def _is_update(number: int) -> bool:
    return number % (GETS_PER_UPDATE + 1) == 0


def _through_repository(repository: PostgreSQLTaskRepository, tasks: list[Task]) -> Work:
    def work(number: int) -> Awaitable[object]:
        task = tasks[number * 31 % len(tasks)]
        return repository.update(task) if _is_update(number) else repository.get(task.id)

    return work


def _alone(pool: Any, tasks: list[Task]) -> Work:
    async def work(number: int) -> None:
        task = tasks[number * 31 % len(tasks)]
        async with pool.acquire() as connection:
            if _is_update(number):
                allowed = sql._ALLOWED_BEFORE[task.status]
                await connection.fetchval(sql._UPDATE, WORKSPACE, *sql._row(task), allowed, None)
            else:
                await connection.fetchrow(sql._GET, WORKSPACE, task.id)

    return work


async def _connections_made(superuser: asyncpg.Connection) -> int:
    """All connections to this database so far, as the server counted them."""
    # The server writes its counts down at most once a second.
    await asyncio.sleep(1.5)
    await superuser.execute("SELECT pg_stat_clear_snapshot()")
    made: int = await superuser.fetchval(
        "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    )
    return made
