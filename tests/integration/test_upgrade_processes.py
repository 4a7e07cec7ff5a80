"""``init-db`` as processes: many at once, killed in the middle, from a directory nobody may write to."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

import nakamura_misaki
from database_server import Server, connect, server_directory
from integration.command import MODULE, Command
from integration.schema_dump import schema_dump
from nakamura_misaki.domain.errors import StorageUnavailable
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.upgrade import (
    head_revision,
    pending_revisions,
    upgrade,
)

SOURCE = Path(nakamura_misaki.__file__).parent
PROJECT = SOURCE.parents[1]


@pytest.fixture
def fresh_server() -> Iterator[Server]:
    """A server without our roles, which are of the whole server and not of a database."""
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip("a server of its own is needed, and TEST_DATABASE_URL names a shared one")
    directory = server_directory()
    embedded = EmbeddedServer(directory, durable=False)
    embedded.start()
    yield Server(embedded.url("postgres"))
    embedded.stop()
    shutil.rmtree(directory, ignore_errors=True)


def test_eight_processes_at_once_on_an_empty_database_all_succeed(
    fresh_server: Server, tmp_path: Path
) -> None:
    """Six on one database and two on another, so that the roles are fought for as well."""
    names = [fresh_server.create_database(), fresh_server.create_database()]
    processes = []
    for number in range(8):
        url = fresh_server.url(names[number // 6])
        command = Command(tmp_path, DATABASE_URL=url)
        processes.append(
            subprocess.Popen(
                [*MODULE, "init-db", "--json"],
                cwd=tmp_path,
                env=command.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    reports = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        reports.append(json.loads(out))
    for of_one in (reports[:6], reports[6:]):
        assert {report["to_revision"] for report in of_one} == {head_revision()}
        assert sorted(report["from_revision"] or "" for report in of_one) == [
            "",
            *[head_revision()] * (len(of_one) - 1),
        ]
    assert schema_dump(fresh_server.url(names[0])) == schema_dump(fresh_server.url(names[1]))
    made = [action for report in reports for action in report["actions"]]
    assert sorted(action for action in made if action.startswith("role ")) == [
        "role nakamura_misaki created",
        "role nakamura_misaki_owner created",
    ]


@pytest.fixture
async def outside(server: Server, empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(server.url(empty_database))
    yield connection
    await connection.close()


async def old_database(url: str) -> asyncpg.Connection:
    """A database at the first revision, with a lock on a table that stops the next one midway."""
    await upgrade(url, revision="0001")
    connection = await connect(url)
    await connection.execute(
        "INSERT INTO notes (workspace_id, id, user_id, content, created_at, updated_at)"
        " SELECT 'default', gen_random_uuid(), 'U1', '売上 ' || n, now(), now()"
        " FROM generate_series(1, 20) AS n"
    )
    await connection.execute("BEGIN; LOCK TABLE notes IN ACCESS SHARE MODE")
    return connection


async def waiting_backend(connection: asyncpg.Connection) -> int:
    """The backend of an init-db that waits for a lock; ``connection`` is in no transaction."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pid: int | None = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'nakamura-misaki init-db' AND wait_event_type = 'Lock'"
        )
        if pid is not None:
            return pid
        await asyncio.sleep(0.02)
    raise AssertionError("init-db never came to wait for the lock")


async def gone(connection: asyncpg.Connection, pid: int) -> None:
    deadline = time.monotonic() + 60
    query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
    while await connection.fetchval(query, pid):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_upgrade_whose_backend_is_terminated_leaves_the_old_revision_whole(
    server: Server, empty_database: str, outside: asyncpg.Connection
) -> None:
    url = server.url(empty_database)
    holder = await old_database(url)
    before = schema_dump(url)
    upgrading = asyncio.create_task(upgrade(url))
    pid = await waiting_backend(outside)
    await outside.execute("SELECT pg_terminate_backend($1)", pid)
    with pytest.raises(StorageUnavailable):
        await upgrading
    await expect_old_revision(holder, url, before)


async def test_upgrade_that_is_killed_leaves_the_old_revision_whole(
    server: Server, empty_database: str, outside: asyncpg.Connection, tmp_path: Path
) -> None:
    url = server.url(empty_database)
    holder = await old_database(url)
    before = schema_dump(url)
    command = Command(tmp_path, DATABASE_URL=url)
    process = await asyncio.create_subprocess_exec(
        *MODULE, "init-db", cwd=tmp_path, env=command.environment, start_new_session=True
    )
    pid = await waiting_backend(outside)
    os.killpg(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    # Nobody is left to be answered, but the server finds that out only when it goes on.
    await holder.execute("ROLLBACK")
    await gone(outside, pid)
    await expect_old_revision(holder, url, before)


async def test_upgrade_that_waits_too_long_for_a_lock_is_one_sentence(
    server: Server, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nakamura_misaki.infrastructure.database.upgrade.LOCK_TIMEOUT", "50ms")
    url = server.url(empty_database)
    holder = await old_database(url)
    before = schema_dump(url)
    with pytest.raises(StorageUnavailable, match=r"^The database could not do it now: .*lock.*\.$"):
        await upgrade(url)
    await expect_old_revision(holder, url, before)


async def expect_old_revision(holder: asyncpg.Connection, url: str, before: str) -> None:
    assert await holder.fetchval("SELECT version_num FROM alembic_version") == "0001"
    assert await holder.fetchval("SELECT count(*) FROM notes") == 20
    await holder.close()
    assert schema_dump(url) == before
    assert (await upgrade(url)).from_revision == "0001"
    assert await pending_revisions(url) == []


def installed(directory: Path) -> Path:
    """The package as a wheel holds it, unpacked; or its files, where no wheel can be built."""
    found = shutil.which("uv") or shutil.which(PROJECT.parents[1] / ".tools" / "uv")
    target = directory / "site"
    if found is not None:
        build = [found, "build", "--wheel", "--offline", "--out-dir", str(directory / "dist")]
        done = subprocess.run([*build, str(PROJECT)], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            (wheel,) = (directory / "dist").glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
            return target
        print(f"no wheel could be built: {done.stderr.splitlines()[-1]}")
    shutil.copytree(SOURCE, target / SOURCE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_installed_where_nobody_may_write_it_upgrades_from_anywhere(
    server: Server, empty_database: str, template: str, tmp_path: Path
) -> None:
    site = installed(tmp_path)
    for path in (*site.rglob("*"), site):
        path.chmod(0o555 if path.is_dir() else 0o444)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = Command(
        elsewhere,
        DATABASE_URL=server.url(empty_database),
        PYTHONPATH=str(site),
        PYTHONDONTWRITEBYTECODE="1",
    )
    where = subprocess.run(
        [sys.executable, "-c", "import nakamura_misaki; print(nakamura_misaki.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        env=command.environment,
        cwd=elsewhere,
    )
    assert where.stdout.startswith(str(site))
    files = sorted(site.rglob("*"))
    try:
        report = command.json("init-db")
        assert report["to_revision"] == head_revision()
        assert command("init-db", "--check").returncode == 0
        assert sorted(site.rglob("*")) == files
        assert list(elsewhere.iterdir()) == []
    finally:
        for path in (site, *site.rglob("*")):
            path.chmod(0o755)
    assert schema_dump(server.url(empty_database)) == schema_dump(server.url(template))
