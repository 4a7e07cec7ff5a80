"""PostgreSQL's own programs: where they are, and how they are told whom to connect to.

A password reaches them in a file that exists in memory alone, so that it stands
neither on a command line nor in an environment.
"""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import make_url

from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.infrastructure.database.embedded_cluster import reason_in

_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "database": "PGDATABASE",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "servicefile": "PGSERVICEFILE",
    "ssl": "PGSSLMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
"""What of a URL libpq's programs learn by which variable."""

# The driver reads PG… variables as well, so they are for both or for none. The rest of the
# environment holds secrets that are no business of theirs.
_PASSED_ON = re.compile(
    r"PG(?!OPTIONS$|DATABASE$)\w+|PATH|HOME|TMPDIR|LD_LIBRARY_PATH|NIX_LD\w*|KRB5\w+"
)
_SOCKET_DIRECTORIES = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108 - only looked at
_ENDS_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code (minus the signal, if one killed it), and what it said."""

    code: int
    output: bytes
    complaints: bytes

    @property
    def reason(self) -> str:
        """Why it failed, in its own words."""
        if self.code < 0:
            return f"it was killed by signal {-self.code}"
        return reason_in(self.complaints)


class Programs:
    """``pg_dump`` and ``pg_restore`` of one directory, or those on the PATH (None)."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def path(self, name: str) -> str:
        """Where the program is. Raises ConfigurationError if it is not there."""
        place = None if self._directory is None else str(self._directory)
        found = shutil.which(name, path=place)
        if found is None:
            where = "on the PATH" if place is None else f"in {place}"
            raise ConfigurationError(
                f"There is no {name} {where}: set POSTGRESQL_PROGRAMS to the directory of"
                " PostgreSQL's programs."
            )
        return found

    async def version(self, name: str) -> tuple[int, str]:
        """The program's major version, and the line in which it tells its version."""
        said = (await self.run(name, "--version")).output.decode("utf-8", "replace").strip()
        found = re.search(r"\) (\d+)", said)
        if found is None:
            raise ConfigurationError(f"{self.path(name)} does not tell its version: {said[:80]}")
        return int(found[1]), said

    async def run(
        self,
        name: str,
        *arguments: str,
        url: str | None = None,
        options: str = "",
        files: tuple[int, ...] = (),
    ) -> Ended:
        """Run a program to its end; cancelled, it is ended, too.

        ``url`` is what it connects to, with these ``options`` of the server's;
        ``files`` are descriptors that it may use.
        """
        path = self.path(name)
        with _environment(url, options) as (environment, pass_file):
            try:
                process = await asyncio.create_subprocess_exec(
                    path,
                    *arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=environment,
                    pass_fds=(*files, *pass_file),
                )
            except OSError as error:
                raise ConfigurationError(f"{path} can't be run: {error.strerror}.") from error
            try:
                output, complaints = await process.communicate()
            except BaseException:
                await _end(process)
                raise
        assert process.returncode is not None
        return Ended(process.returncode, output, complaints)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the program to end (pg_restore then ends its workers), then make it."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_ENDS_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@contextlib.contextmanager
def _environment(
    url: str | None, options: str
) -> Iterator[tuple[Mapping[str, str], tuple[int, ...]]]:
    """The variables for a program that connects to the URL, and the descriptors they speak of."""
    variables = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    variables["LC_ALL"] = "C"
    if options:
        variables["PGOPTIONS"] = options
    password = None
    if url is not None:
        told, password = connection_variables(url)
        variables |= told
    if password is None:
        yield variables, ()
        return
    variables.pop("PGPASSWORD", None)  # it would count more than the file
    with _pass_file(password) as descriptor:
        yield variables | {"PGPASSFILE": f"/proc/self/fd/{descriptor}"}, (descriptor,)


def connection_variables(url: str) -> tuple[dict[str, str], str | None]:
    """libpq's variables that mean what the URL means to the driver, and the password."""
    dialect: Any = PGDialect_asyncpg
    _, given = dialect().create_connect_args(make_url(url))
    told = {}
    for name, variable in _VARIABLES.items():
        value = given.get(name)
        if value is not None and value != "":
            many = isinstance(value, (list, tuple))
            told[variable] = ",".join(map(str, value)) if many else str(value)
    if not {"PGHOST", "PGSERVICE"} & {*told, *os.environ}:
        # Each build of libpq has a directory of its own; the driver looks into these.
        socket = f".s.PGSQL.{told.get('PGPORT') or os.environ.get('PGPORT') or 5432}"
        places = (place for place in _SOCKET_DIRECTORIES if Path(place, socket).exists())
        told["PGHOST"] = next(places, "localhost")
    return told, given.get("password")


@contextlib.contextmanager
def _pass_file(password: str) -> Iterator[int]:
    """A password file (https://www.postgresql.org/docs/16/libpq-pgpass.html) in memory."""
    if set(password) & set("\r\n\0"):
        raise ConfigurationError(
            "The database's password holds a line break, which pg_dump can't be told; choose another."
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    descriptor = os.memfd_create("pgpass")
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, f"*:*:*:*:{escaped}\n".encode())
        yield descriptor
    finally:
        os.close(descriptor)
