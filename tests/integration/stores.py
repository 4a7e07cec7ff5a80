"""The stores of a real database, and every row in it."""

import asyncio

import asyncpg

from database_server import connect
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.application.legacy import Stores
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_TABLES


def stores_of(manager: DatabaseManager) -> Stores:
    notes = PostgreSQLNoteRepository(manager, HashingEmbedder(64))
    return Stores(
        tasks=PostgreSQLTaskRepository(manager),
        handoffs=PostgreSQLHandoffRepository(manager),
        notes=notes,
        sessions=PostgreSQLSessionRepository(manager),
        embeddings=notes,
    )


async def rows(connection: asyncpg.Connection) -> dict[str, list[str]]:
    """Every row of every table; the connection must be above row-level security."""
    return {
        table: [
            row[0] for row in await connection.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1")
        ]
        for table in RUNTIME_TABLES
    }


def rows_now(owner_url: str) -> dict[str, list[str]]:
    """The same, for a test that is not asynchronous."""

    async def look() -> dict[str, list[str]]:
        connection = await connect(owner_url)
        try:
            return await rows(connection)
        finally:
            await connection.close()

    return asyncio.run(look())
