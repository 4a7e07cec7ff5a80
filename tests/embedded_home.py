"""A place for embedded servers in tests, and ways to look at them and to end them."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from database_server import server_directory
from nakamura_misaki.infrastructure.database import embedded_installation
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.embedded_postmaster import (
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
    path = server_directory()
    path.chmod(0o755)
    return path


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
