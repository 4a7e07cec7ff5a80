"""``/health/live``, ``/health/ready`` and ``/metrics``, on a real database and on none."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from database_server import connect
from nakamura_misaki.adapters.primary.api.health import health_router
from nakamura_misaki.adapters.primary.readiness import Readiness, Reason
from nakamura_misaki.domain.note import Note
from nakamura_misaki.infrastructure.di import App, compose, new_id
from nakamura_misaki.infrastructure.metrics import Metrics
from nakamura_misaki.infrastructure.settings import load_settings

NOWHERE = "postgresql+asyncpg://somebody:hush-hush@127.0.0.1:1/nothing"


class Watched:
    """A service's health as it looks from outside."""

    def __init__(self, app: App, metrics: Metrics, *, remembered_for: float) -> None:
        self.app = app
        self.readiness = Readiness(app, timeout=1.0, remembered_for=remembered_for)
        api = FastAPI()
        api.include_router(health_router(app, metrics, self.readiness))
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://service"
        )

    async def ready(self) -> tuple[int, dict[str, Any]]:
        answer = await self.client.get("/health/ready")
        assert answer.headers["cache-control"] == "no-store"
        assert (answer.headers.get("retry-after") == "2") is (answer.status_code == 503)
        return answer.status_code, answer.json()

    async def value(self, name: str) -> float:
        answer = await self.client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = text_string_to_metric_families(answer.text)
        samples = [sample for family in families for sample in family.samples]
        [found] = [s.value for s in samples if s.name == f"nakamura_misaki_{name}"]
        return found


@asynccontextmanager
async def watched(
    url: str | None = None, *, remembered_for: float = 0.0, **settings: Any
) -> AsyncIterator[Watched]:
    metrics = Metrics()
    loaded = load_settings(database_url=url, embedding_provider="hashing", **settings)
    async with compose(loaded, observer=metrics) as app:
        made = Watched(app, metrics, remembered_for=remembered_for)
        async with made.client:
            yield made


async def test_all_is_well(database_url: str) -> None:
    async with watched(database_url) as service:
        assert await service.ready() == (200, {"status": "ready"})
        live = await service.client.get("/health/live")
        assert (live.status_code, live.json()) == (200, {"status": "alive"})
        assert await service.value("database_up") == 1
        assert await service.value("pool_opened") >= 1


async def test_database_that_is_away_is_told_without_its_address() -> None:
    async with watched(NOWHERE) as service:
        status, body = await service.ready()
        assert status == 503
        assert body == {
            "status": "not ready",
            "reason": "database",
            "detail": "the database can't be reached",
        }
        assert (await service.client.get("/health/live")).status_code == 200
        assert await service.value("database_up") == 0
        assert str(await service.value("pending_embeddings")) == "nan"


async def test_old_schema_is_not_ready_and_a_newer_one_is(
    database_url: str, owner_url: str
) -> None:
    superuser = await connect(owner_url)
    try:
        async with watched(database_url) as service:
            await superuser.execute("UPDATE alembic_version SET version_num = '0003'")
            status, body = await service.ready()
            assert (status, body["reason"]) == (503, "schema")
            assert "init-db" in body["detail"]
            assert await service.value("database_up") == 1

            # The next release's init-db, before this one is stopped.
            await superuser.execute("UPDATE alembic_version SET version_num = '9999'")
            assert (await service.ready())[0] == 200

            await superuser.execute("DELETE FROM alembic_version")
            assert (await service.ready())[1]["reason"] == "schema"
    finally:
        await superuser.close()


async def test_database_without_any_schema_is_not_ready(server: Any, empty_database: str) -> None:
    async with watched(server.url(empty_database)) as service:
        assert (await service.ready())[1]["reason"] == "schema"


async def test_vectors_of_another_model_are_not_ready(database_url: str) -> None:
    async with watched(database_url, embedding_dimensions=64) as before:
        await before.app.notes.add(user_id="U1", content="覚え書き")
        assert (await before.ready())[0] == 200
    async with watched(database_url) as service:
        status, body = await service.ready()
        assert (status, body["reason"]) == (503, "embeddings")
        assert await service.value("database_up") == 1


async def test_database_that_refuses_is_told_apart(server: Any) -> None:
    async with watched(server.url("no_such_database")) as service:
        assert (await service.ready())[1]["reason"] == "configuration"


async def test_state_is_asked_once_for_many_and_remembered(database_url: str) -> None:
    async with watched(database_url, remembered_for=3600) as service:
        answers = await asyncio.gather(*(service.ready() for _ in range(20)))
        assert {status for status, _ in answers} == {200}
        await service.ready()
        await service.client.get("/metrics")  # counts the notes without a vector, once
        assert await service.value("pool_wait_seconds_count") == 2


async def test_caller_who_goes_away_leaves_the_look_to_the_others(database_url: str) -> None:
    async with watched(database_url) as service:
        first = asyncio.create_task(service.readiness.reason())
        second = asyncio.create_task(service.readiness.reason())
        await asyncio.sleep(0)
        first.cancel()
        assert await second is None


async def test_frozen_database_is_given_up_in_time(database_url: str) -> None:
    settings = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 60.0}
    async with watched(database_url, **settings) as service, service.app.database.connection():
        assert (await service.ready())[1]["reason"] == "database"


async def test_service_that_stops_is_not_ready_and_lives(database_url: str) -> None:
    async with watched(database_url) as service:
        service.readiness.is_stopping = True
        status, body = await service.ready()
        assert (status, body["reason"]) == (503, "stopping")
        assert (await service.client.get("/health/live")).status_code == 200
        assert await service.value("database_up") == 1


async def test_notes_without_a_vector_are_counted(database_url: str) -> None:
    async with watched(database_url) as service:
        notes = service.app.stores.notes  # these have no embedder
        await notes.save_many(
            [Note(id=new_id(), user_id="U1", content=f"note {n}") for n in range(3)]
        )
        assert await service.value("pending_embeddings") == 3
        await notes.save_many([Note(id=new_id(), user_id="U1", content="one more")])
        # Counted every half minute only.
        assert await service.value("pending_embeddings") == 3


async def test_json_files_need_a_directory_to_write_to(tmp_path: Path) -> None:
    here = {"storage_backend": "json", "json_data_dir": tmp_path / "made-later"}
    async with watched(**here) as service:
        assert await service.ready() == (200, {"status": "ready"})
        await service.app.notes.add(user_id="U1", content="a note")
        assert await service.ready() == (200, {"status": "ready"})
        assert await service.value("database_up") == 1

    file = tmp_path / "file"
    file.touch()
    # The last one can't even be looked at, as one within a directory of somebody else's.
    for unfit in (file, file / "below", tmp_path / ("x" * 300)):
        async with watched(storage_backend="json", json_data_dir=unfit) as service:
            status, body = await service.ready()
            assert (status, body["reason"]) == (503, "files")
            assert str(tmp_path) not in json.dumps(body)


async def test_openmetrics_is_given_to_whoever_asks_for_it(database_url: str) -> None:
    async with watched(database_url) as service:
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = await service.client.get("/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")


async def test_backups_are_told_of_where_they_note_themselves(
    database_url: str, tmp_path: Path
) -> None:
    status = tmp_path / "backup.json"
    async with watched(database_url, backup_status_file=status) as service:
        assert await service.value("backup_last_success_timestamp_seconds") == 0
        status.write_text('{"last_success": 1764037800.5}')
        assert await service.value("backup_last_success_timestamp_seconds") == 1764037800.5
    async with watched(database_url) as service:
        assert "_backup_" not in (await service.client.get("/metrics")).text


def test_reasons_hold_nothing_that_json_would_have_to_escape() -> None:
    for reason in Reason:
        assert json.loads(f'"{reason}"') == reason
