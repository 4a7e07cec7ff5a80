"""Each test of the contract once for every backend."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.json_handoff_repository import JsonHandoffRepository
from nakamura_misaki.adapters.secondary.json_note_repository import JsonNoteRepository
from nakamura_misaki.adapters.secondary.json_session_repository import JsonSessionRepository
from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import Backend, Clock
from service_backend import ServiceBackend, json_service_backend, postgresql_service_backend


@pytest.fixture(params=["postgresql", "json"])
async def backend(
    request: pytest.FixtureRequest, embedder: HashingEmbedder, tmp_path: Path
) -> AsyncIterator[Backend]:
    clock = Clock()
    if request.param == "json":
        yield Backend(
            JsonTaskRepository(tmp_path, clock=clock),
            JsonHandoffRepository(tmp_path, clock=clock),
            JsonNoteRepository(tmp_path),
            JsonSessionRepository(tmp_path, clock=clock),
            clock,
            lambda zone: JsonTaskRepository(tmp_path, clock=clock, time_zone=zone),
        )
        return
    manager: DatabaseManager = DatabaseManager(request.getfixturevalue("database_url"))
    yield Backend(
        PostgreSQLTaskRepository(manager, clock=clock),
        PostgreSQLHandoffRepository(manager, clock=clock),
        PostgreSQLNoteRepository(manager, embedder),
        PostgreSQLSessionRepository(manager, clock=clock),
        clock,
        lambda zone: PostgreSQLTaskRepository(manager, clock=clock, time_zone=zone),
    )
    in_use = manager.pool_status().in_use
    await manager.close()
    assert in_use == 0


@pytest.fixture(params=["postgresql", "json"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServiceBackend]:
    if request.param == "json":
        yield json_service_backend(tmp_path)
        return
    async with postgresql_service_backend(request.getfixturevalue("database_url")) as backend:
        yield backend
