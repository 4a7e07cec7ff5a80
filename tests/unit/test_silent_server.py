"""A server that takes connections and says nothing, as one behind a cut network does."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest

from nakamura_misaki.domain.errors import StorageUnavailable
from nakamura_misaki.infrastructure.database.manager import DatabaseManager


class Silence:
    def __init__(self) -> None:
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def silence() -> AsyncIterator[tuple[Silence, str]]:
    made = Silence()
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield made, f"postgresql+asyncpg://u@127.0.0.1:{port}/d"
    made.close()
    server.close()
    await server.wait_closed()


async def test_silent_server_is_waited_for_once(silence: tuple[Silence, str]) -> None:
    server, url = silence
    manager = DatabaseManager(url, connect_timeout=0.3)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="can't be reached"):
        await manager.run(lambda c: c.fetchval("SELECT 1"))
    assert time.monotonic() - began >= 0.3
    assert server.connections == 1

    async def body() -> None:
        raise AssertionError("there is no transaction to run it in")

    with pytest.raises(StorageUnavailable, match="can't be reached"):
        await manager.run_in_transaction(body)
    assert server.connections == 2
    assert manager.pool_status().in_use == 0
    await manager.close()


async def test_server_that_falls_silent_is_given_up_in_time(database_url: str) -> None:
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip(
            "a process of the server's is stopped, and TEST_DATABASE_URL's may be elsewhere"
        )
    manager = DatabaseManager(database_url, statement_timeout=0.4)
    backend = await manager.run(lambda c: c.fetchval("SELECT pg_backend_pid()"))
    os.kill(backend, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="can't be reached"):
            await manager.run(lambda c: c.fetchval("SELECT 1"))
        assert time.monotonic() - began >= 0.6
        # The next one gets a connection of its own.
        assert await manager.run(lambda c: c.fetchval("SELECT pg_backend_pid()")) != backend
    finally:
        os.kill(backend, signal.SIGCONT)
    await manager.close()
