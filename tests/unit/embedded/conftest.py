"""Embedded servers: one made and stopped to be copied, and one running for each test."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_home import Home, new_directory
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The data directory of a server that was started once and stopped: to be copied."""
    path = new_directory()
    server = EmbeddedServer(path / "data", durable=False)
    try:
        server.start()
        server.stop()
        yield server.data_dir
    finally:
        server.stop()
        shutil.rmtree(path)


@pytest.fixture
def home() -> Iterator[Home]:
    path = new_directory()
    home = Home(path)
    try:
        yield home
    finally:
        home.close()
        shutil.rmtree(path)


@pytest.fixture
def server(home: Home, made: Path) -> EmbeddedServer:
    """A running server with an empty database, this test's own."""
    subprocess.run(["cp", "-a", made, home.path / "data"], check=True)
    server = home.server()
    server.start()
    return server
