"""What tests need of a PostgreSQL server: databases of their own, and a look from outside."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url


class Server:
    """A PostgreSQL server on which tests may create databases."""

    def __init__(self, superuser_url: str) -> None:
        self._url = make_url(superuser_url)

    def url(self, database: str, role: str | None = None) -> str:
        url = self._url.set(database=database)
        if role is not None:
            url = url.set(username=role, password=os.environ.get("TEST_RUNTIME_PASSWORD"))
        return url.render_as_string(hide_password=False)

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the superuser, each by itself."""

        async def all_of_them() -> None:
            connection = await connect(self.url(database))
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        run_apart(all_of_them())

    def create_database(self, template: str | None = None) -> str:
        name = f"test_{uuid.uuid4().hex[:16]}"
        self.run(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return name

    def drop_database(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def connect(url: str) -> asyncpg.Connection:
    """A bare connection, for looking at the database from outside."""
    return await asyncpg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    )


def run_apart(coroutine: Coroutine[object, object, object]) -> None:
    """Run to the end in a loop of its own, also where this thread's loop is running already."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


def server_directory() -> Path:
    """A new directory that an embedded server accepts (as root: below one that all may enter)."""
    parent = "/var/lib" if os.geteuid() == 0 else None
    return Path(tempfile.mkdtemp(prefix="nakamura-misaki-test-", dir=parent))
