"""Databases on the embedded server: created, brought up to date, dropped, on demand."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from nakamura_misaki.domain.errors import StorageUnavailable
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.upgrade import UpgradeReport

RUNTIME_ROLE = "nakamura_misaki"
_SUPERUSER = "postgres"
_REVISIONS = Path(__file__).parent / "migrations" / "versions"


class LocalName(StrEnum):
    """The databases of the embedded server. Fixed names: they stand in DDL unquoted."""

    MAIN = "nakamura_misaki"
    DEMO = "nakamura_misaki_demo"


def newest_revision() -> str:
    """The newest revision by the names of the files, each of which begins with its number.

    Alembic says the same after half a second of imports, which every command
    that meets a current database would wait for.
    """
    return max(path.name for path in _REVISIONS.glob("[0-9]*.py")).split("_")[0]


class LocalDatabase:
    """One database of the embedded server in a data directory.

    Every method may raise ConfigurationError and StorageUnavailable.
    """

    def __init__(self, data_dir: Path, name: LocalName = LocalName.MAIN) -> None:
        self.server = EmbeddedServer(data_dir)
        self.name = name

    @property
    def url(self) -> str:
        """The URL as the runtime role."""
        return self.server.url(self.name, RUNTIME_ROLE)

    @property
    def owner_url(self) -> str:
        """The URL as the role that may change the schema."""
        return self.server.url(self.name, _SUPERUSER)

    async def ensure(self) -> "UpgradeReport | None":
        """Start the server or attach to it, create the database, bring its schema up to date.

        What was done to the schema, or None if it was current.
        """
        self.server.start()
        if await self._revision() == newest_revision():
            return None
        await self._create_if_missing()
        return await self._upgrade()

    async def recreate(self) -> "UpgradeReport":
        """Drop the database with all that is in it, whoever uses it, and create it anew."""
        self.server.start()
        await self._run(_SUPERUSER, f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        await self._create_if_missing()
        return await self._upgrade()

    async def create(self) -> None:
        """Start the server or attach to it, and create the database if it is missing."""
        self.server.start()
        await self._create_if_missing()

    async def exists(self) -> bool:
        """Whether the database is there; starts the server or attaches to it."""
        self.server.start()
        statement = f"SELECT 1 FROM pg_database WHERE datname = '{self.name}'"
        return await self._run(_SUPERUSER, statement) is not None

    async def _revision(self) -> str | None:
        try:
            revision = await self._run(self.name, "SELECT version_num FROM alembic_version")
        except (asyncpg.InvalidCatalogNameError, asyncpg.UndefinedTableError):
            return None
        return None if revision is None else str(revision)

    async def _create_if_missing(self) -> None:
        try:
            await self._run(_SUPERUSER, f"CREATE DATABASE {self.name}")
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            return  # it was there, or another process created it at this moment

    async def _upgrade(self) -> "UpgradeReport":
        from nakamura_misaki.infrastructure.database.upgrade import upgrade

        return await upgrade(self.owner_url)

    async def _run(self, database: str, statement: str) -> Any:
        url = self.server.url(database, _SUPERUSER).replace("+asyncpg", "", 1)
        try:
            connection = await asyncpg.connect(url, timeout=10)
        except asyncpg.InvalidCatalogNameError:
            raise
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StorageUnavailable(
                f"the embedded PostgreSQL in {self.server.data_dir} can't be reached: {error}."
            ) from error
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()
