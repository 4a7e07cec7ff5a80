"""A database to be backed up, with what the tests of backups do with it and around it."""

import asyncio
import json
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from cli_driver import CommandLine
from database_server import Server, connect
from integration.command import MODULE, Command
from integration.stores import rows
from integration.two_workspaces import OURS, THEIRS, fill
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE

PERSON = "U0中村"


async def fill_for_backup(server: Server, database: str) -> None:
    """Rows in every table, of two workspaces."""
    manager = DatabaseManager(server.url(database, RUNTIME_ROLE))
    try:
        for workspace in (OURS, THEIRS):
            await fill(manager, workspace, PERSON, uuid4())
    finally:
        await manager.close()
    connection = await connect(server.url(database))
    await connection.execute(
        f"INSERT INTO note_common_terms VALUES ('{OURS}', '売上', 120);"
        f' UPDATE sessions SET metadata = \'{{"気分": [1, null, "良い"]}}\''
    )
    await connection.close()


@dataclass
class BackupStage:
    """What stands ready: the command line, in this process or as one of its own."""

    cli: CommandLine
    server: Server
    database: str
    database_url: str
    programs: Path
    root: Path

    @property
    def directory(self) -> Path:
        return self.root / "backups"

    @property
    def status_file(self) -> Path:
        return self.root / "status.json"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "DATABASE_ADMIN_URL": self.server.url(self.database),
            "POSTGRESQL_PROGRAMS": str(self.programs),
            "BACKUP_DIR": str(self.directory),
            "BACKUP_STATUS_FILE": str(self.status_file),
            "WORKSPACE_ID": OURS,
            "EMBEDDING_DIMENSIONS": "64",
        }

    def command(self, **settings: str) -> Command:
        return Command(self.root, **self.settings | settings)

    def names(self) -> list[str]:
        """Everything in the directory but the lock."""
        return sorted(path.name for path in self.directory.iterdir() if path.suffix != ".lock")

    def dumps(self) -> list[Path]:
        return sorted(self.directory.glob("*.dump"))

    def manifest(self) -> dict[str, Any]:
        """That of the newest."""
        noted: dict[str, Any] = json.loads(self.dumps()[-1].with_suffix(".json").read_text("utf-8"))
        return noted

    def status(self) -> dict[str, float]:
        noted: dict[str, float] = json.loads(self.status_file.read_text())
        return noted

    def back_up(self) -> Path:
        """Make one; the dump."""
        return Path(self.cli("backup", "--json").json["file"])

    def rows(self, database: str | None = None) -> dict[str, list[str]]:
        """Every row of the database as it is now."""

        async def look() -> dict[str, list[str]]:
            connection = await connect(self.server.url(database or self.database))
            try:
                return await rows(connection)
            finally:
                await connection.close()

        return asyncio.run(look())

    def rows_of(self, table: str) -> list[str]:
        """The rows of one table by those columns that every revision has."""
        found: list[str] = self.ask(
            f"SELECT array_agg(concat_ws('|', workspace_id, id, content) ORDER BY id) FROM {table}",
            self.database,
        )
        return found

    def ask(self, statement: str, database: str = "postgres") -> Any:
        """One value, as the superuser."""

        async def fetch() -> Any:
            connection = await connect(self.server.url(database))
            try:
                return await connection.fetchval(statement)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    @property
    def superuser(self) -> str:
        name: str = self.ask("SELECT current_user")
        return name

    def wrong(self) -> list[dict[str, Any]]:
        """What ``doctor`` finds fault with, but for how old the server's pgvector is."""
        checks = self.cli("doctor", "--json").json
        return [each for each in checks if not each["ok"] and each["name"] != "extension"]

    def databases(self) -> list[str]:
        """The databases that were made for this one: scratch ones, and those of before."""
        names: list[str] = self.ask(
            f"SELECT array_agg(datname) FROM pg_database WHERE starts_with(datname, '{self.database}_')"
        )
        return sorted(names or [])

    def tables_owner(self) -> str:
        owner: str = self.ask(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'notes'", self.database
        )
        return owner


class Gate:
    """PostgreSQL's programs, one of which waits where the test wants it to.

    ``before`` a call whose arguments hold ``when`` begins, or after it has ended,
    until the gate is opened or the caller is killed.
    """

    def __init__(
        self, stage: BackupStage, name: str, *, when: str = "", before: bool = True
    ) -> None:
        self.directory = stage.root / f"gate-{uuid4().hex[:8]}"
        self.directory.mkdir()
        for program in ("pg_dump", "pg_restore"):
            (self.directory / program).symlink_to(stage.programs / program)
        self._reached, self._open = self.directory / "reached", self.directory / "open"
        real = stage.programs / name
        wait = (
            f": > {self._reached};"
            f" while [ ! -e {self._open} ]; do kill -0 $PPID || exit 1; sleep 0.02; done"
        )
        call = f'{real} "$@"'
        waiting = f"{wait}; exec {call}" if before else f"{call}; code=$?; {wait}; exit $code"
        (self.directory / name).unlink()
        script = f'#!/bin/sh\ncase " $* " in *"{when}"*) {waiting} ;; *) exec {call} ;; esac\n'
        (self.directory / name).write_text(script)
        (self.directory / name).chmod(0o755)

    def wait(self) -> None:
        """Until a program waits at the gate."""
        wait_for(self._reached.exists)

    def open(self) -> None:
        self._open.touch()


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """The same of what the server tells."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  (its state is the server's)
            await asyncio.sleep(0.005)


@contextmanager
def started(command: Command, *arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """The command as a process, in a group of its own, killed at the end if it still runs."""
    with subprocess.Popen(
        [*MODULE, *arguments],
        cwd=command.directory,
        env=command.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def script(path: Path, text: str) -> None:
    """A program of the test's own."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def replaced(stage: BackupStage, name: str, text: str) -> Path:
    """PostgreSQL's programs, one of them replaced by a script (REAL: the real one's path)."""
    directory = stage.root / f"programs-{uuid4().hex[:8]}"
    directory.mkdir()
    for program in ("pg_dump", "pg_restore"):
        if program != name:
            (directory / program).symlink_to(stage.programs / program)
    script(directory / name, text.replace("REAL", str(stage.programs / name)))
    return directory


def flip_byte(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0xFF]))


def family(pid: int) -> list[int]:
    """The process and all that it has started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found
