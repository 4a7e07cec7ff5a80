"""What the integration tests share: stores on the test's database, and looks at it from above."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from database_server import connect
from integration.command import Command
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
