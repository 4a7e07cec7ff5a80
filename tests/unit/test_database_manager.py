"""Pool, sessions, transactions, retries: against a real server that really goes away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import insert, select, text

from database_server import connect
from nakamura_misaki.domain.errors import (
    ConfigurationError,
    PoolExhausted,
    SchemaOutdated,
    StorageUnavailable,
)
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.pool import IDLE_SECONDS
from nakamura_misaki.infrastructure.database.schema import note_embeddings, notes, sessions


async def kill_connections(owner_url: str) -> int:
    connection = await connect(owner_url)
    killed = await connection.fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    return len(killed)


@pytest.fixture
async def small(database_url: str) -> AsyncIterator[DatabaseManager]:
    """A manager with room for three connections that waits only a moment for one."""
    manager = DatabaseManager(database_url, pool_size=1, max_overflow=2, pool_timeout=0.1)
    yield manager
    assert manager.pool_status().in_use == 0
    await manager.close()


async def test_connection_pool(manager: DatabaseManager) -> None:
    status = manager.pool_status()
    assert (status.pool_size, status.max_overflow, status.opened) == (10, 20, 0)

    async def work(_: int) -> int:
        result: int = await manager.run(lambda c: c.fetchval("SELECT 1 FROM pg_sleep(0.01)"))
        return result

    assert await asyncio.gather(*map(work, range(100))) == [1] * 100
    assert 1 <= manager.pool_status().opened <= 30
    assert manager.pool_status().in_use == 0


async def test_session_lifecycle(manager: DatabaseManager) -> None:
    row = {
        "workspace_id": "default",
        "id": "s1",
        "user_id": "U1",
        "metadata": {"a": 1},
        "last_active_at": text("now()"),
        "created_at": text("now()"),
    }
    async with manager.get_session() as session:
        await session.execute(insert(sessions).values(row))
        assert manager.pool_status().in_use == 1
    assert manager.pool_status().in_use == 0
    with pytest.raises(ZeroDivisionError):
        async with manager.get_session() as session:
            await session.execute(sessions.delete())
            raise ZeroDivisionError
    async with manager.get_session() as session:
        stored = (await session.execute(select(sessions.c.id, sessions.c.metadata))).all()
    assert stored == [("s1", {"a": 1})]


async def test_session_speaks_vectors(manager: DatabaseManager) -> None:
    row = {"workspace_id": "default", "user_id": "U1", "content": "x"}
    times = {"created_at": text("now()"), "updated_at": text("now()")}
    ids = [UUID(int=1), UUID(int=2)]
    async with manager.get_session() as session:
        for id_, vector in zip(ids, ([1.0, 0.25], [-0.5, 2.0]), strict=True):
            await session.execute(insert(notes).values(id=id_, **row, **times))
            await session.execute(
                insert(note_embeddings).values(
                    workspace_id="default", note_id=id_, model="m", user_id="U1", embedding=vector
                )
            )
    distance = note_embeddings.c.embedding.cosine_distance([0.0, 1.0])
    async with manager.get_session() as session:
        nearest = await session.execute(
            select(note_embeddings.c.note_id, note_embeddings.c.embedding).order_by(distance)
        )
        assert [(id_, list(vector)) for id_, vector in nearest] == [
            (ids[1], [-0.5, 2.0]),
            (ids[0], [1.0, 0.25]),
        ]


async def test_connection_error_retry(manager: DatabaseManager, owner_url: str) -> None:
    attempts = 0

    async def lose_the_connection_once(connection: asyncpg.Connection) -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            outside = await connect(owner_url)
            await outside.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            await outside.close()
        result: int = await connection.fetchval("SELECT 42")
        return result

    assert await manager.run(lose_the_connection_once) == 42
    assert attempts == 2


async def test_connections_that_died_idle_cost_no_attempt(
    manager: DatabaseManager, owner_url: str
) -> None:
    await asyncio.gather(*(manager.run(lambda c: c.fetchval("SELECT 1")) for _ in range(8)))
    assert await kill_connections(owner_url) >= 1
    attempts = 0

    async def count(connection: asyncpg.Connection) -> int:
        nonlocal attempts
        attempts += 1
        result: int = await connection.fetchval("SELECT 1")
        return result

    for _ in range(10):
        await manager.run(count)
    assert attempts == 10


async def test_deadlock_is_run_again(manager: DatabaseManager, owner_url: str) -> None:
    owner = await connect(owner_url)
    await owner.execute("CREATE TABLE pair (id int PRIMARY KEY, n int)")
    await owner.execute("INSERT INTO pair VALUES (1, 0), (2, 0)")
    await owner.execute("GRANT ALL ON pair TO PUBLIC")
    await owner.close()
    both_hold_one = asyncio.Barrier(2)
    attempts = 0

    async def take(first: int, second: int) -> None:
        nonlocal attempts
        attempts += 1
        meets = attempts <= 2

        async def update(id_: int) -> None:
            await manager.run(lambda c: c.execute("UPDATE pair SET n = n + 1 WHERE id = $1", id_))

        await update(first)
        if meets:
            await both_hold_one.wait()
        await update(second)

    await asyncio.gather(
        manager.run_in_transaction(lambda: take(1, 2)),
        manager.run_in_transaction(lambda: take(2, 1)),
    )
    assert attempts >= 3
    rows = await manager.run(lambda c: c.fetch("SELECT n FROM pair"))
    assert [row["n"] for row in rows] == [2, 2]


async def test_serialization_failure_is_run_again(manager: DatabaseManager) -> None:
    attempts = 0

    async def fail_twice(connection: asyncpg.Connection) -> str:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            await connection.execute(
                "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"
            )
        return "done"

    assert await manager.run(fail_twice) == "done"
    assert attempts == 3


async def test_retries_end(manager: DatabaseManager) -> None:
    attempts = 0

    async def always_fail(connection: asyncpg.Connection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; END $$")

    with pytest.raises(StorageUnavailable):
        await manager.run(always_fail)
    assert attempts == 4


async def test_other_errors_are_not_run_again(manager: DatabaseManager) -> None:
    attempts = 0

    async def fail(connection: asyncpg.Connection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute("SELECT * FROM no_such_table")

    with pytest.raises(SchemaOutdated, match="init-db"):
        await manager.run(fail)
    assert attempts == 1


async def test_exhausted_pool_fails_after_a_bounded_wait(small: DatabaseManager) -> None:
    async with small.connection(), small.connection(), small.connection():
        started = asyncio.get_running_loop().time()
        with pytest.raises(PoolExhausted, match="POOL_SIZE"):
            await small.run(lambda c: c.fetchval("SELECT 1"))
        assert asyncio.get_running_loop().time() - started < 5
    assert await small.run(lambda c: c.fetchval("SELECT 1")) == 1


async def test_overflow_connections_are_kept_while_needed(
    small: DatabaseManager, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def backends() -> set[int]:
        async with small.connection() as a, small.connection() as b, small.connection() as c:
            return {await x.fetchval("SELECT pg_backend_pid()") for x in (a, b, c)}

    first = await backends()
    assert [await backends() for _ in range(5)] == [first] * 5
    assert small.pool_status().opened == 3
    # Nobody needs more than one for a while: the others go, one at a check-in.
    clock = asyncio.get_running_loop().time()
    for _ in range(10):
        clock += IDLE_SECONDS + 1
        monkeypatch.setattr(
            "nakamura_misaki.infrastructure.database.pool.time.monotonic", lambda now=clock: now
        )
        await small.run(lambda c: c.fetchval("SELECT 1"))
    assert small.pool_status().opened == 1
    monkeypatch.undo()
    assert len(await backends()) == 3


async def test_cancellation_leaves_no_connection_behind(
    small: DatabaseManager, owner_url: str
) -> None:
    async def insert_slowly() -> None:
        async with small.transaction() as connection:
            await connection.execute(
                "INSERT INTO sessions (workspace_id, id, user_id, last_active_at, created_at)"
                " VALUES ('default', 's1', 'U1', now(), now())"
            )
            await connection.execute("SELECT pg_sleep(60)")

    for _ in range(5):
        tasks = [asyncio.create_task(insert_slowly()) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(r, asyncio.CancelledError) for r in results)
        assert small.pool_status().in_use == 0
    assert await small.run(lambda c: c.fetchval("SELECT count(*) FROM sessions")) == 0
    outside = await connect(owner_url)
    for _ in range(100):
        sleeping = await outside.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '%pg_sleep(60)' AND state = 'active'"
        )
        if sleeping == 0:
            break
        await asyncio.sleep(0.05)
    await outside.close()
    assert sleeping == 0


async def test_transaction_groups_what_runs_inside(manager: DatabaseManager) -> None:
    insert_session = (
        "INSERT INTO sessions (workspace_id, id, user_id, last_active_at, created_at)"
        " VALUES ('default', $1, 'U1', now(), now())"
    )

    async def add(id_: str) -> None:
        await manager.run(lambda c: c.execute(insert_session, id_))

    async def count() -> int:
        result: int = await manager.run(lambda c: c.fetchval("SELECT count(*) FROM sessions"))
        return result

    with pytest.raises(ZeroDivisionError):
        async with manager.transaction():
            await asyncio.gather(add("a"), add("b"), add("c"))
            assert await count() == 3
            raise ZeroDivisionError
    assert await count() == 0
    async with manager.transaction():
        await add("a")
        with pytest.raises(ZeroDivisionError):
            async with manager.transaction():
                await add("b")
                raise ZeroDivisionError
        assert await count() == 1
    assert await count() == 1


async def test_transaction_stays_in_its_workspace(manager: DatabaseManager) -> None:
    async with manager.transaction():
        with pytest.raises(RuntimeError, match="two workspaces"):
            await manager.run(lambda c: c.fetchval("SELECT 1"), workspace_id="other")


async def test_server_that_is_not_there_is_one_sentence(database_url: str) -> None:
    manager = DatabaseManager("postgresql+asyncpg://u:s3cret@127.0.0.1:1/x", connect_timeout=1)
    with pytest.raises(StorageUnavailable, match="can't be reached") as caught:
        await manager.run(lambda c: c.fetchval("SELECT 1"))
    assert "s3cret" not in str(caught.value)
    with pytest.raises(StorageUnavailable):
        async with manager.get_session() as session:
            await session.execute(text("SELECT 1"))
    await manager.close()


async def test_database_that_is_not_there_is_one_sentence(database_url: str) -> None:
    manager = DatabaseManager(database_url.replace("/test_", "/none_"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        await manager.run(lambda c: c.fetchval("SELECT 1"))
    await manager.close()


async def test_table_changed_under_a_live_pool(manager: DatabaseManager, owner_url: str) -> None:
    """What an upgrade does to prepared statements (InvalidCachedStatementError) reaches nobody."""
    fetch = "SELECT * FROM sessions"
    await manager.run(lambda c: c.fetch(fetch))
    owner = await connect(owner_url)
    await owner.execute("ALTER TABLE sessions ADD COLUMN later text")
    await owner.close()
    await manager.run(lambda c: c.fetch(fetch))

    async def in_transaction(connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            await connection.fetch(fetch)

    await manager.run(in_transaction)


async def test_connections_switch_between_workspaces(manager: DatabaseManager) -> None:
    setting = "SELECT current_setting('nakamura_misaki.workspace_id')"

    async def seen(workspace: str | None) -> str:
        result: str = await manager.run(lambda c: c.fetchval(setting), workspace_id=workspace)
        return result

    names = ["a", "b", None, "a", "it's c"] * 10
    assert await asyncio.gather(*map(seen, names)) == [name or "default" for name in names]


async def test_failed_statement_can_not_end_a_transaction_unnoticed(
    manager: DatabaseManager,
) -> None:
    with pytest.raises(StorageUnavailable, match="nothing of it was stored"):
        async with manager.transaction() as connection:
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await connection.execute("SELECT 1 / 0")


async def test_savepoints_of_two_tasks_are_refused(manager: DatabaseManager) -> None:
    async def nested() -> None:
        async with manager.transaction():
            await manager.run(lambda c: c.fetchval("SELECT pg_sleep(0.05)"))

    async with manager.transaction():
        results = await asyncio.gather(nested(), nested(), return_exceptions=True)
    assert sorted(type(r).__name__ for r in results) == ["NoneType", "RuntimeError"]


async def test_lock_held_elsewhere_is_waited_for_in_bounds(
    database_url: str, owner_url: str
) -> None:
    manager = DatabaseManager(database_url, statement_timeout=0.3)
    owner = await connect(owner_url)
    async with owner.transaction():
        await owner.execute("LOCK TABLE tasks")
        with pytest.raises(StorageUnavailable, match="could not do it now"):
            await manager.run(lambda c: c.fetch("SELECT FROM tasks"))
    await owner.close()
    await manager.close()


async def test_closing_ends_loans_when_they_are_given_back(database_url: str) -> None:
    manager = DatabaseManager(database_url, pool_size=1, max_overflow=0)
    sleeping = asyncio.create_task(manager.run(lambda c: c.fetchval("SELECT 1 FROM pg_sleep(0.3)")))
    waiting = asyncio.create_task(manager.run(lambda c: c.fetchval("SELECT 2")))
    while not manager.pool_status().in_use:  # noqa: ASYNC110  (the pool tells nobody)
        await asyncio.sleep(0.01)
    await manager.close()
    assert await asyncio.gather(sleeping, waiting) == [1, 2]
    status = manager.pool_status()
    assert (status.in_use, status.opened) == (0, 1)
    await manager.close()
