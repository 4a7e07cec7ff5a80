"""What a manager tells its observer: each operation by its name, each wait for a connection."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.errors import PoolExhausted
from nakamura_misaki.infrastructure.database.manager import Connection, DatabaseManager
from nakamura_misaki.infrastructure.logging import configure_logging, request_id
from repository_backend import note, task


class Recorder:
    def __init__(self) -> None:
        self.queries: list[tuple[str, bool]] = []
        self.waits: list[float] = []

    def queried(self, operation: str, seconds: float, *, failed: bool) -> None:
        assert seconds >= 0
        self.queries.append((operation, failed))

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_operations_are_named_by_repository_and_method(
    database_url: str, recorder: Recorder
) -> None:
    manager = DatabaseManager(database_url, observer=recorder)
    tasks = PostgreSQLTaskRepository(manager)
    made = await tasks.create(task())
    await tasks.get(made.id)
    await tasks.list_by_user("U1")
    await tasks.find_ids(made.id.hex[:8])
    await tasks.create_many([task()])
    assert [each.id async for each in tasks.stream()]
    notes = PostgreSQLNoteRepository(manager, HashingEmbedder(32))
    await notes.save(note("売上"))
    await notes.search("売上")
    await manager.run(lambda c: c.fetchval("SELECT 1"), name="named")
    await manager.run(_at_module_level)
    await manager.close()

    names = [name for name, _ in recorder.queries]
    assert names[:4] == ["task.create", "task.get", "task.list_by_user", "tasks.find_ids"]
    assert {"tasks.merge", "note.save", "note.search", "named", "at_module_level"} <= set(names)
    assert not any(failed for _, failed in recorder.queries)
    assert len(recorder.waits) == len(recorder.queries)


async def _at_module_level(connection: Connection) -> None:
    await connection.execute("SELECT 1")


async def test_operations_in_a_transaction_and_failed_ones_are_heard_of(
    database_url: str, recorder: Recorder
) -> None:
    manager = DatabaseManager(database_url, observer=recorder)
    tasks = PostgreSQLTaskRepository(manager)
    with pytest.raises(ZeroDivisionError):
        async with manager.transaction():
            await tasks.create(task())
            await tasks.get(uuid4())
            raise ZeroDivisionError
    made = await tasks.create(task())
    with pytest.raises(Exception, match="already"):
        await tasks.create(made)
    await manager.close()

    assert recorder.queries == [
        ("task.create", False),
        ("task.get", False),
        ("task.create", False),
        ("task.create", True),
    ]


async def test_a_wait_in_vain_is_heard_of(database_url: str, recorder: Recorder) -> None:
    manager = DatabaseManager(
        database_url, pool_size=1, max_overflow=0, pool_timeout=0.05, observer=recorder
    )
    async with manager.connection():
        with pytest.raises(PoolExhausted):
            await manager.run(lambda c: c.fetchval("SELECT 1"))
    await manager.close()

    assert recorder.queries == []
    assert max(recorder.waits) >= 0.05


@pytest.mark.parametrize("log_format", ["plain", "journald", "json"])
async def test_records_carry_the_request_that_they_belong_to(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", log_format)
    logger = logging.getLogger("somewhere")

    async def answer(name: str) -> None:
        request_id.set(name)
        await asyncio.sleep(0)
        logger.info("about %s", name)

    await asyncio.gather(answer("req-1"), answer("req-2\nforged"))
    logger.info("about none")

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    if log_format == "json":
        assert [json.loads(line).get("request_id") for line in lines] == [
            "req-1",
            "req-2\nforged",
            None,
        ]
        assert datetime.fromisoformat(json.loads(lines[0])["time"]).utcoffset() == UTC.utcoffset(
            None
        )
    else:
        assert "somewhere: [req-1] about req-1" in lines[0]
        assert r"[req-2\nforged]" in lines[1]
        assert lines[2].endswith("somewhere: about none")
