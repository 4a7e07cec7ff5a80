"""What the integration tests share: stores on the test's database, and looks at it from above."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from cli_driver import CommandLine
from database_server import Server, connect
from integration.backup_stage import BackupStage, fill_for_backup
from integration.command import Command
from integration.schema_dump import program
from integration.stores import stores_of
from nakamura_misaki.application.legacy import Stores
from nakamura_misaki.infrastructure.database.manager import DatabaseManager


@pytest.fixture
def stores(manager: DatabaseManager) -> Stores:
    return stores_of(manager)


@pytest.fixture
async def look(owner_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection above row-level security, to see what is really there."""
    connection = await connect(owner_url)
    yield connection
    await connection.close()


@pytest.fixture
def command(tmp_path: Path, database_url: str, owner_url: str) -> Command:
    return Command(tmp_path, DATABASE_URL=database_url, DATABASE_OWNER_URL=owner_url)


@pytest.fixture
def stage(
    cli: CommandLine, server: Server, database: str, database_url: str, tmp_path: Path
) -> Iterator[BackupStage]:
    """A database with rows of two workspaces in every table, and the commands for its backups."""
    asyncio.run(fill_for_backup(server, database))
    made = BackupStage(
        cli=cli,
        server=server,
        database=database,
        database_url=database_url,
        programs=program("pg_dump").parent,
        root=tmp_path,
    )
    cli.set(**made.settings)
    yield made
    for name in made.databases():
        server.drop_database(name)
