"""A real PostgreSQL 16 with pgvector for every test.

One server a test process: embedded, or the one named by TEST_DATABASE_URL (a
superuser's URL). The schema is built once, in a template; each test gets a
database of its own made from it.
"""

import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest

from cli_driver import CommandLine
from database_server import Server, run_apart, server_directory
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.upgrade import upgrade

RUNTIME_ROLE = "nakamura_misaki"

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield Server(url)
        return
    directory = server_directory()
    embedded = EmbeddedServer(directory, durable=False)
    try:
        embedded.start()
        yield Server(embedded.url("postgres"))
    finally:
        embedded.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a database with the present schema and no rows."""
    name = server.create_database()
    run_apart(upgrade(server.url(name)))
    yield name
    server.drop_database(name)


@pytest.fixture
def empty_database(server: Server) -> Iterator[str]:
    """The name of a database without anything in it."""
    name = server.create_database()
    yield name
    server.drop_database(name)


@pytest.fixture
def database(server: Server, template: str) -> Iterator[str]:
    """The name of a database with the present schema and no rows, this test's own."""
    name = server.create_database(template)
    yield name
    server.drop_database(name)


@pytest.fixture
def database_url(server: Server, database: str) -> str:
    """The test's database as the runtime role sees it."""
    return server.url(database, RUNTIME_ROLE)


@pytest.fixture
def owner_url(server: Server, database: str) -> str:
    """The test's database for a superuser, who may act as the owner role."""
    return server.url(database)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_url: str,
    owner_url: str,
) -> CommandLine:
    """The command line on the test's database."""
    made = CommandLine(monkeypatch, capsys, tmp_path, database_url)
    made.set(DATABASE_OWNER_URL=owner_url)
    return made


@pytest.fixture
async def manager(database_url: str) -> AsyncIterator[DatabaseManager]:
    """A manager as the runtime role; at the end nothing may be left checked out."""
    manager = DatabaseManager(database_url)
    yield manager
    in_use = manager.pool_status().in_use
    await manager.close()
    assert in_use == 0, f"{in_use} connections were not given back"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What configure_logging sets is the process's; a test leaves it as it found it."""
    root = logging.getLogger()
    level, handlers, raises = root.level, root.handlers[:], logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.raiseExceptions = raises
    for name in list(root.manager.loggerDict):
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


@pytest.fixture(scope="session")
def embedder() -> HashingEmbedder:
    return HashingEmbedder()
