"""The server that the measurements run on: embedded, its own, gone afterwards."""

import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from rich.console import Console
from sqlalchemy.engine import make_url

from database_server import Server, connect, run_apart, server_directory
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.manager import WORKSPACE_SETTING
from nakamura_misaki.infrastructure.database.upgrade import upgrade

WORKSPACE = "default"
RUNTIME_ROLE = "nakamura_misaki"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    rounds: int = 5
    calls: int = 150
    tasks: int = 10_000
    pool_operations: int = 4000
    bulk_rows: int = 4000
    notes: int = 100_000
    dimensions: int = 1536
    questions: int = 40
    files: int = 50_000
    heavy_rounds: int = 3
    """Rounds of what takes ten seconds or more each."""


QUICK = Scale(
    rounds=2,
    calls=5,
    tasks=200,
    pool_operations=100,
    bulk_rows=100,
    notes=1000,
    dimensions=32,
    questions=3,
    files=100,
    heavy_rounds=1,
)
"""Says nothing about speed, only that everything runs."""


class Stage:
    """A server with databases that hold the present schema."""

    def __init__(self, embedded: EmbeddedServer, scale: Scale, console: Console) -> None:
        self.scale = scale
        self._embedded = embedded
        self._server = Server(embedded.url("postgres"))
        self._console = console
        self._started = time.monotonic()
        self._template: str | None = None

    def say(self, what: str) -> None:
        """Tell of progress."""
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {what}")

    def database(self, template: str | None = None) -> str:
        """A new database: empty tables, or a copy of ``template``, which nobody may be using."""
        if template is None and self._template is None:
            self._template = self._server.create_database()
            run_apart(upgrade(self.superuser_url(self._template)))
        if template is None:
            return self._server.create_database(self._template)
        name = f"{template}_copy"
        # By default everything would go through the log.
        self._server.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def ignore_disk(self, database: str) -> None:
        """Let commits in the database not wait for the disk, whose whims hide what the code costs."""
        self._server.run(f"ALTER DATABASE {database} SET synchronous_commit = off")

    def drop(self, database: str) -> None:
        self._server.drop_database(database)

    def url(self, database: str) -> str:
        """The database as the application sees it: in the runtime role, under row security."""
        return self._server.url(database, RUNTIME_ROLE)

    def superuser_url(self, database: str) -> str:
        return self._server.url(database)

    async def superuser(self, database: str) -> asyncpg.Connection:
        return await connect(self.superuser_url(database))

    def driver_options(self, database: str) -> dict[str, Any]:
        """How asyncpg by itself connects to the same database, in the same role and workspace."""
        url = make_url(self.url(database)).set(drivername="postgresql")
        return {
            "dsn": url.render_as_string(hide_password=False),
            "server_settings": {"jit": "off", "timezone": "UTC", WORKSPACE_SETTING: WORKSPACE},
        }

    async def facts(self) -> dict[str, Any]:
        """What the figures were measured on."""
        connection = await self.superuser("postgres")
        try:
            server, pgvector, buffers, fsync = await connection.fetchrow(
                "SELECT current_setting('server_version'), (SELECT default_version"
                " FROM pg_available_extensions WHERE name = 'vector'),"
                " current_setting('shared_buffers'), current_setting('fsync')"
            )
        finally:
            await connection.close()
        return {
            "PostgreSQL": server,
            "pgvector": pgvector,
            "asyncpg": asyncpg.__version__,
            "Python": platform.python_version(),
            "cores": os.cpu_count(),
            "shared_buffers": buffers,
            "fsync": fsync,
        }


@contextmanager
def staged(
    scale: Scale, console: Console, *, durable: bool = True, shared_buffers: str = "2GB"
) -> Iterator[Stage]:
    """A server that is stopped and deleted at the end."""
    directory = server_directory()
    embedded = EmbeddedServer(directory, durable=durable)
    try:
        embedded.start()
        Server(embedded.url("postgres")).run(
            f"ALTER SYSTEM SET shared_buffers = '{shared_buffers}'"
        )
        embedded.stop()
        embedded.start()
        yield Stage(embedded, scale, console)
    finally:
        embedded.stop()
        shutil.rmtree(directory, ignore_errors=True)


class Prepared:
    """An embedder that is told its answers: what a model costs is not the database's matter."""

    def __init__(self, dimensions: int) -> None:
        self.model = f"prepared@{dimensions}"
        self.dimensions = dimensions
        self.vector: Embedding = [1.0] + [0.0] * (dimensions - 1)

    async def embed(self, texts: Any) -> list[Embedding]:
        return [self.vector for _ in texts]

    async def close(self) -> None:
        pass
