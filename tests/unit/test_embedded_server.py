"""The embedded PostgreSQL, against the real thing: every test makes and ends a server of its own."""

import asyncio
import fcntl
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from nakamura_misaki.domain.errors import ConfigurationError, StorageUnavailable
from nakamura_misaki.infrastructure.database import embedded_installation, embedded_socket
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.embedded_postmaster import (
    Answer,
    ask,
    find_postmaster,
    is_alive,
)

SOURCE = Path(embedded_installation.__file__).parents[3]
PACKAGES = (str(SOURCE), str(embedded_installation.wheel_programs().parents[2]))
AS_ROOT = os.geteuid() == 0
for_root = pytest.mark.skipif(not AS_ROOT, reason="only root can do this")

START = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.embedded_postmaster import find_postmaster
server = EmbeddedServer(Path(sys.argv[1]), durable=False)
server.start()
print(find_postmaster(server.cluster), flush=True)
"""


class Home:
    """A place for data directories that the server's user can reach; ends the servers in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._servers: list[EmbeddedServer] = []

    def server(
        self, name: str = "data", *, durable: bool = False, start_timeout: float = 30.0
    ) -> EmbeddedServer:
        server = EmbeddedServer(self.path / name, durable=durable, start_timeout=start_timeout)
        self._servers.append(server)
        return server

    def close(self) -> None:
        for server in self._servers:
            while (postmaster := find_postmaster(server.cluster)) is not None:
                kill_and_wait(*family_of(postmaster))
            outside = server.data_dir / "socket"
            if outside.is_symlink():
                shutil.rmtree(outside.resolve(), ignore_errors=True)


def new_directory() -> Path:
    path = Path(
        tempfile.mkdtemp(prefix="nakamura-misaki-test-", dir="/var/lib" if AS_ROOT else None)
    )
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The data directory of a server that was started once and stopped: to be copied."""
    path = new_directory()
    server = EmbeddedServer(path / "data", durable=False)
    try:
        server.start()
        server.stop()
        yield server.data_dir
    finally:
        server.stop()
        shutil.rmtree(path)


@pytest.fixture
def home() -> Iterator[Home]:
    path = new_directory()
    home = Home(path)
    try:
        yield home
    finally:
        home.close()
        shutil.rmtree(path)


@pytest.fixture
def server(home: Home, made: Path) -> EmbeddedServer:
    """A running server with an empty database, this test's own."""
    subprocess.run(["cp", "-a", made, home.path / "data"], check=True)
    server = home.server()
    server.start()
    return server


async def query(server: EmbeddedServer, sql: str) -> object:
    connection = await asyncpg.connect(server.url("postgres").replace("+asyncpg", ""))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def postmaster_of(server: EmbeddedServer) -> int:
    postmaster = find_postmaster(server.cluster)
    assert postmaster is not None
    return postmaster


def family_of(postmaster: int) -> list[int]:
    """The server and its background processes and backends."""
    status_files = (entry / "stat" for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    family = [postmaster]
    for status_file in status_files:
        try:
            fields = status_file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == postmaster:
            family.append(int(status_file.parent.name))
    return family


def kill_and_wait(*processes: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    while any(is_alive(process) for process in processes):
        time.sleep(0.001)


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert "Traceback" not in text
    return text


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


@pytest.mark.skipif(AS_ROOT, reason="root writes everywhere")
def test_unwritable_data_directory_is_one_sentence(home: Home) -> None:
    closed = home.path / "closed"
    closed.mkdir(mode=0o500)

    with pytest.raises(ConfigurationError) as caught:
        home.server("closed/data").start()

    assert "Permission denied" in one_sentence(caught.value)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_file_in_place_of_the_data_directory_is_one_sentence(home: Home, name: str) -> None:
    (home.path / "file").write_text("")

    with pytest.raises(ConfigurationError) as caught:
        home.server(name).start()

    assert "NAKAMURA_MISAKI_DATA_DIR" in one_sentence(caught.value)


def test_cluster_of_another_major_version_is_refused(server: EmbeddedServer) -> None:
    server.stop()
    (server.cluster / "PG_VERSION").write_text("15\n")

    with pytest.raises(ConfigurationError) as caught:
        server.start()

    assert "PostgreSQL 15" in one_sentence(caught.value)


def test_damaged_cluster_is_refused_and_left_alone(server: EmbeddedServer) -> None:
    server.stop()
    (server.cluster / "PG_VERSION").unlink()
    before = sorted(server.cluster.rglob("*"))

    with pytest.raises(StorageUnavailable) as caught:
        server.start()

    assert "PG_VERSION is missing" in one_sentence(caught.value)
    assert sorted(server.cluster.rglob("*")) == before


def test_failing_start_gives_the_reason_and_the_log(server: EmbeddedServer) -> None:
    server.stop()
    (server.cluster / "postgresql.auto.conf").write_text("nonsense = 1\n")

    with pytest.raises(StorageUnavailable) as caught:
        server.start()

    text = one_sentence(caught.value)
    assert str(server.log_file) in text
    assert "nonsense" in server.log_file.read_text()


def test_start_held_up_by_another_process_gives_up_in_time(home: Home) -> None:
    server = home.server(start_timeout=0.1)
    server.data_dir.mkdir()
    with (server.data_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageUnavailable) as caught:
            server.start()

    assert "another process" in one_sentence(caught.value)


def test_long_log_is_put_aside(server: EmbeddedServer) -> None:
    server.stop()
    with server.log_file.open("ab") as log:
        log.truncate(11 * 1024 * 1024)

    server.start()

    assert server.log_file.stat().st_size < 1024 * 1024
    assert server.log_file.with_name("server.log.1").exists()


def test_client_programs_are_there_and_run(home: Home) -> None:
    for program in ("pg_dump", "pg_restore", "psql"):
        version = subprocess.run(
            [home.server().bin_dir / program, "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "(PostgreSQL) 16." in version.stdout


def test_socket_that_nobody_serves_is_no_answer(tmp_path: Path) -> None:
    assert ask(tmp_path / "nothing") is Answer.NONE
    assert ask(tmp_path / ("x" * 200)) is Answer.NONE


@for_root
def test_start_as_root_changes_no_mode_outside_the_data_directory(home: Home) -> None:
    watched = {*home.path.parents, *SOURCE.parents, home.path}
    programs = embedded_installation.wheel_programs()
    watched |= {*programs.parents, programs, *programs.iterdir()}
    before = {path: path.stat().st_mode for path in watched}

    home.server().start()

    assert {path: path.stat().st_mode for path in watched} == before


@for_root
def test_root_is_told_about_a_closed_parent_instead_of_opening_it(home: Home) -> None:
    closed = home.path / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(ConfigurationError) as caught:
        home.server("closed/data").start()

    assert f"can't enter {closed}" in one_sentence(caught.value)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@for_root
def test_root_is_told_about_a_closed_directory_with_other_files(home: Home) -> None:
    closed = home.path / "data"
    closed.mkdir(mode=0o700)
    (closed / "secret").write_text("")

    with pytest.raises(ConfigurationError) as caught:
        home.server().start()

    assert "holds files already" in one_sentence(caught.value)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@for_root
def test_root_starts_in_an_empty_closed_directory_of_its_own(home: Home) -> None:
    (home.path / "data").mkdir(mode=0o700)

    server = home.server()
    server.start()

    assert server.is_running()


@for_root
def test_programs_are_copied_once_for_root_and_anew_for_another_version(
    server: EmbeddedServer,
) -> None:
    [copy] = server.data_dir.glob("postgresql-16-*")
    made = copy.stat().st_ctime_ns
    server.stop()
    (server.data_dir / "postgresql-16-0.0.1").mkdir()

    server.start()

    assert list(server.data_dir.glob("postgresql-16-*")) == [copy]
    assert copy.stat().st_ctime_ns == made


@for_root
def test_disk_full_is_one_sentence_and_leaves_nothing_half_made(home: Home) -> None:
    directory = home.path / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=45m,mode=755", "tmpfs", directory], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        with pytest.raises(StorageUnavailable) as caught:
            home.server("small").start()
        assert re.search(
            "No space left on device|Check free disk space", one_sentence(caught.value)
        )
        assert not (directory / "cluster").exists()
        assert list(directory.glob("cluster-draft-*")) == []
    finally:
        subprocess.run(["umount", directory], check=True)


@for_root
def test_read_only_file_system_is_one_sentence(home: Home) -> None:
    directory = home.path / "frozen"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,mode=755", "tmpfs", directory], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        with pytest.raises(ConfigurationError) as caught:
            home.server("frozen").start()
        assert "Read-only file system" in one_sentence(caught.value)
    finally:
        subprocess.run(["umount", directory], check=True)


@for_root
def test_unprivileged_user_has_a_server_that_others_cannot_reach(home: Home) -> None:
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody)
    if python is None:
        pytest.skip("the user nobody can read no Python, or not this package")
    owned = home.path / "nobody"
    owned.mkdir()
    os.chown(owned, nobody.pw_uid, nobody.pw_gid)
    server = home.server("nobody/data")

    done = run_as(nobody, python, START, str(server.data_dir), *PACKAGES)

    assert done.stderr == ""
    assert (Path("/proc") / done.stdout.strip()).stat().st_uid == nobody.pw_uid
    assert server.data_dir.stat().st_uid == nobody.pw_uid
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    # root attaches to it, but does not take over its data.
    server.start()
    server.stop()
    with pytest.raises(ConfigurationError) as caught:
        server.start()
    assert "run as that user" in one_sentence(caught.value)


def run_as(
    user: pwd.struct_passwd, python: str, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
        env={"PATH": os.defpath},
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    )


def python_for(user: pwd.struct_passwd) -> str | None:
    """A Python that this user can run the package and PostgreSQL's programs with."""
    programs = embedded_installation.wheel_programs()
    attempt = (
        "import subprocess, sys; assert sys.version_info >= (3, 11); sys.path[:0] = sys.argv[2:];"
        "import nakamura_misaki.infrastructure.database.embedded;"
        "subprocess.run([sys.argv[1], '--version'], check=True)"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError):
            if run_as(user, python, attempt, str(programs / "initdb"), *PACKAGES).returncode == 0:
                return python
    return None
