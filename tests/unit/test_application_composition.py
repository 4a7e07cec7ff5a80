"""The composition root: which adapter stands behind a port, and that all of it is closed."""

import asyncio
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository
from nakamura_misaki.adapters.secondary.openai_embedder import OpenAIEmbedder
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.infrastructure.di import build_embedder, compose, demo_settings, new_id
from nakamura_misaki.infrastructure.settings import Settings


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(
        database_url=SecretStr(database_url),
        embedding_provider="hashing",
        data_dir=tmp_path / "no-server-here",
    )


async def connections(owner_url: str) -> int:
    connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""))
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return count
    finally:
        await connection.close()


async def wait_for_connections(owner_url: str, expected: int) -> None:
    """A connection's server process may need a moment to begin or to end."""
    for _ in range(500):
        if await connections(owner_url) == expected:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"there never were {expected} connections")


async def test_compose_closes_everything_after_an_error(settings: Settings, owner_url: str) -> None:
    async def work() -> None:
        async with compose(settings) as app:
            assert await app.tasks.list_for("U1") == []
            assert await connections(owner_url) == 1
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        await work()
    await wait_for_connections(owner_url, 0)


async def test_compose_closes_everything_when_cancelled_in_a_statement(
    settings: Settings, owner_url: str
) -> None:
    async def work() -> None:
        async with compose(settings) as app:
            await app.database.run(lambda c: c.fetchval("SELECT pg_sleep(60)"))

    task = asyncio.create_task(work())
    await wait_for_connections(owner_url, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_for_connections(owner_url, 0)


async def test_storage_backend_chooses_the_adapters(settings: Settings, tmp_path: Path) -> None:
    async with compose(settings) as app:
        assert isinstance(app.own.task_repository, PostgreSQLTaskRepository)
    json = settings.model_copy(update={"storage_backend": "json", "json_data_dir": tmp_path / "j"})
    async with compose(json) as app:
        assert isinstance(app.own.task_repository, JsonTaskRepository)
        added = await app.tasks.add(title="t", assignee_user_id="U1", creator_user_id="U1")
        assert await app.tasks.list_for("U1") == [added]
        with pytest.raises(ConfigurationError, match="needs PostgreSQL"):
            _ = app.database
    nowhere = settings.model_copy(update={"storage_backend": "json", "json_data_dir": None})
    with pytest.raises(ConfigurationError, match="JSON_DATA_DIR"):
        async with compose(nowhere):
            pass


async def test_embedder_is_openai_exactly_where_settings_say(settings: Settings) -> None:
    keyed = settings.model_copy(
        update={"embedding_provider": None, "openai_api_key": SecretStr("sk-test-key")}
    )
    embedder = build_embedder(keyed)
    assert isinstance(embedder, OpenAIEmbedder)
    assert embedder.model.startswith("text-embedding-3-small")
    assert isinstance(build_embedder(settings), HashingEmbedder)
    assert isinstance(build_embedder(demo_settings(keyed)), HashingEmbedder)


def test_new_ids_are_version_7_and_in_order() -> None:
    ids = [new_id() for _ in range(100)]
    assert all(isinstance(each, UUID) and each.version == 7 for each in ids)
    assert ids == sorted(ids)


def test_composing_tasks_imports_no_embedder() -> None:
    script = (
        "import sys, asyncio\n"
        "from nakamura_misaki.infrastructure.di import compose\n"
        "from nakamura_misaki.infrastructure.settings import Settings\n"
        "async def main():\n"
        "    async with compose(Settings(database_url='postgresql+asyncpg://u@127.0.0.1:1/x')) as app:\n"
        "        app.tasks, app.handoffs, app.sessions\n"
        "asyncio.run(main())\n"
        "print(sorted({'openai', 'alembic', 'rich', 'click', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
