"""``kill -9`` of a restore at any moment: there is the old database or the new one, never neither."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from database_server import connect
from integration.backup_stage import BackupStage, Gate, started, until

KILLS = 10
_TAKE = "ALTER DATABASE {} CONNECTION LIMIT 50"
"""In a transaction: nobody else can rename the database until that ends."""


@pytest.fixture
def dump(stage: BackupStage) -> Path:
    """A backup of what is not the present content any more."""
    made = stage.back_up()
    stage.server.run("UPDATE sessions SET title = '後から'", database=stage.database)
    return made


@asynccontextmanager
async def superuser(
    stage: BackupStage, database: str = "postgres"
) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(stage.server.url(database))
    try:
        yield connection
    finally:
        await connection.close()


def is_as_before_and_can_be_restored(
    stage: BackupStage, dump: Path, before: dict[str, list[str]]
) -> None:
    assert stage.rows() == before
    assert len(stage.databases()) <= 1
    told = stage.cli("restore", str(dump), "--yes", "--json").json
    assert stage.databases() == [told["previous"]]
    assert stage.rows(told["previous"]) == before
    assert stage.rows() != before


def test_restore_killed_while_it_fills_the_new_database(stage: BackupStage, dump: Path) -> None:
    before = stage.rows()
    gate = Gate(stage, "pg_restore", when="--dbname", before=False)
    command = stage.command(POSTGRESQL_PROGRAMS=str(gate.directory))
    with started(command, "restore", dump, "--yes") as process:
        gate.wait()
        assert len(stage.databases()) == 1
        process.kill()
        process.wait()
    is_as_before_and_can_be_restored(stage, dump, before)


def test_restore_killed_while_it_brings_the_schema_up(stage: BackupStage, dump: Path) -> None:
    before = stage.rows()
    gate = Gate(stage, "pg_restore", when="--dbname", before=False)
    command = stage.command(POSTGRESQL_PROGRAMS=str(gate.directory))

    async def kill_it() -> None:
        with started(command, "restore", dump, "--yes") as process:
            await asyncio.to_thread(gate.wait)
            (new,) = await asyncio.to_thread(stage.databases)
            async with superuser(stage, new) as holder:
                await holder.execute("SELECT pg_advisory_lock(x'6e616b61'::bigint)")  # init-db's
                gate.open()
                upgrading = (
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'nakamura-misaki init-db')"
                )
                await until(lambda: holder.fetchval(upgrading))
                process.kill()
                process.wait()

    asyncio.run(kill_it())
    is_as_before_and_can_be_restored(stage, dump, before)


def test_restore_killed_before_the_first_name_changes(stage: BackupStage, dump: Path) -> None:
    before = stage.rows()

    async def kill_it() -> None:
        with started(stage.command(), "restore", dump, "--yes", "--disconnect") as process:
            async with superuser(stage) as holder, holder.transaction():
                await holder.execute(_TAKE.format(stage.database))
                await until(lambda: _is_renaming(stage, stage.database))
                process.kill()
                process.wait()

    asyncio.run(kill_it())
    asyncio.run(until(lambda: _is_gone(stage)))
    is_as_before_and_can_be_restored(stage, dump, before)


def test_restore_killed_between_its_two_names(stage: BackupStage, dump: Path) -> None:
    """The present database has its other name already, and the new one not yet its own."""
    before = stage.rows()

    async def kill_it() -> None:
        with started(stage.command(), "restore", dump, "--yes") as process:
            async with superuser(stage) as one, superuser(stage) as other:
                await one.execute(f"BEGIN; {_TAKE.format(stage.database)}")
                await until(lambda: _is_renaming(stage, stage.database))
                (new,) = await asyncio.to_thread(stage.databases)
                await other.execute(f"BEGIN; {_TAKE.format(new)}")
                await one.execute("ROLLBACK")
                await until(lambda: _is_renaming(stage, new))
                process.kill()
                process.wait()
                await other.execute("ROLLBACK")

    asyncio.run(kill_it())
    asyncio.run(until(lambda: _is_gone(stage)))
    is_as_before_and_can_be_restored(stage, dump, before)


async def _is_renaming(stage: BackupStage, database: str) -> object:
    async with superuser(stage) as connection:
        return await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND starts_with(query, $1))",
            f'ALTER DATABASE "{database}" RENAME',
        )


async def _backends(stage: BackupStage) -> int:
    async with superuser(stage) as connection:
        number: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE % RENAME%'"
            " AND pid <> pg_backend_pid()"
        )
        return number


async def _is_gone(stage: BackupStage) -> bool:
    return await _backends(stage) == 0


def test_restore_killed_at_random_moments(stage: BackupStage, dump: Path) -> None:
    old = stage.rows()
    started_at = time.monotonic()
    stage.command().json("restore", dump, "--yes", "--drop-previous")
    lasted = time.monotonic() - started_at
    new = stage.rows()
    seed = random.randrange(2**32)
    print(f"seed {seed}, undisturbed {lasted:.2f} s")
    chance = random.Random(seed)
    for _ in range(KILLS):
        stage.server.run("UPDATE sessions SET title = '後から'", database=stage.database)
        assert stage.rows() == old
        with started(stage.command(), "restore", dump, "--yes") as process:
            time.sleep(chance.uniform(0.3, 1.1) * lasted)
            process.kill()
            process.wait()
        asyncio.run(until(lambda: _is_gone(stage)))
        names = stage.databases()
        assert stage.rows() in (old, new)
        for name in names:
            if "_before_" in name:
                assert stage.rows() == new
                assert stage.rows(name) == old
                stage.server.drop_database(name)
    told = stage.cli("restore", str(dump), "--yes", "--drop-previous", "--json").json
    assert (told["previous"], stage.databases()) == (None, [])
    assert stage.rows() == new
