"""The pool under contention: who waits is served in turn, and nothing is lost on the way."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from nakamura_misaki.infrastructure.database.manager import DatabaseManager


@pytest.fixture
async def single(database_url: str) -> AsyncIterator[DatabaseManager]:
    """A manager with one connection."""
    manager = DatabaseManager(database_url, pool_size=1, max_overflow=0)
    yield manager
    assert manager.pool_status().in_use == 0
    await manager.close()


async def backend(manager: DatabaseManager) -> int:
    pid: int = await manager.run(lambda c: c.fetchval("SELECT pg_backend_pid()"))
    return pid


async def test_who_waits_is_served_before_who_comes_back(single: DatabaseManager) -> None:
    done = 0
    has_begun = asyncio.Event()

    async def work_on_and_on() -> None:
        nonlocal done
        for _ in range(500):
            await backend(single)
            done += 1
            has_begun.set()

    greedy = asyncio.create_task(work_on_and_on())
    await has_begun.wait()
    before = done
    await backend(single)
    assert done - before <= 2
    await greedy


async def test_waiters_are_served_in_the_order_in_which_they_came(single: DatabaseManager) -> None:
    served: list[int] = []

    async def work(number: int) -> None:
        await backend(single)
        served.append(number)

    await asyncio.gather(*map(work, range(20)))
    assert served == list(range(20))


async def test_waiter_cancelled_as_its_turn_comes_passes_it_on(single: DatabaseManager) -> None:
    first = await backend(single)
    async with single.connection():
        cancelled = asyncio.create_task(backend(single))
        next_one = asyncio.create_task(backend(single))
        await asyncio.sleep(0)
    cancelled.cancel()  # what the block gave back is its own already
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await next_one == first


async def test_waiter_that_is_cancelled_takes_nothing(single: DatabaseManager) -> None:
    async with single.connection():
        waiting = asyncio.create_task(backend(single))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await backend(single)


async def test_waiters_learn_that_nothing_can_be_opened() -> None:
    manager = DatabaseManager("postgresql+asyncpg://u@127.0.0.1:1/x", pool_size=1, max_overflow=0)

    async def borrow() -> None:
        async with manager.connection():
            raise AssertionError("there is no server")

    results = await asyncio.gather(*(borrow() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, OSError) for result in results), results
    assert manager.pool_status().in_use == 0
    await manager.close()


async def test_sessions_and_statements_share_the_turns(single: DatabaseManager) -> None:
    async def use_session() -> None:
        async with single.get_session() as session:
            await (await session.connection()).exec_driver_sql("SELECT 1")

    work = [use_session() if number % 2 else backend(single) for number in range(20)]
    await asyncio.gather(*work)
    assert single.pool_status().opened == 1


async def test_old_connections_are_replaced(database_url: str) -> None:
    manager = DatabaseManager(database_url, pool_recycle=0)
    assert await backend(manager) != await backend(manager)
    assert manager.pool_status().opened == 1
    await manager.close()


async def test_broken_connection_is_replaced_for_the_next(single: DatabaseManager) -> None:
    first = await backend(single)
    with pytest.raises(asyncpg.InterfaceError):
        async with single.connection() as connection:
            connection.terminate()
            await connection.fetchval("SELECT 1")
    assert await backend(single) != first


async def test_everybody_gets_a_turn_under_steady_load(database_url: str) -> None:
    manager = DatabaseManager(database_url, pool_size=2, max_overflow=1, pool_timeout=2)
    turns = dict.fromkeys(range(8), 0)

    async def work(number: int) -> None:
        while sum(turns.values()) < 800:
            await backend(manager)
            turns[number] += 1

    await asyncio.gather(*map(work, turns))
    assert min(turns.values()) > 50
    await manager.close()
