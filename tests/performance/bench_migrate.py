"""Importing many small files, against only reading and parsing them."""

import os
import random
import shutil
import tempfile
import time
from pathlib import Path

import orjson

from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.application.legacy import Stores
from nakamura_misaki.application.migration import migrate
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.corpus import Corpus
from performance.harness import Answer, in_turns
from performance.stage import Stage

SECTION = "migrate"
LEAST = 0.25


async def measure(stage: Stage, answer: Answer) -> None:
    number = stage.scale.files
    directory = Path(tempfile.mkdtemp(prefix="nakamura-misaki-bench-"))
    try:
        stage.say(f"migrate: writing {number:,} files")
        _write_files(directory, number)
        _parse_all(directory)

        async def importing() -> float:
            return number / await _import_all(stage, directory)

        async def parsing() -> float:
            started = time.perf_counter()
            assert _parse_all(directory) == number
            return number / (time.perf_counter() - started)

        stage.say(f"migrate: {number:,} files")
        pairs = await in_turns(stage.scale.heavy_rounds, importing, parsing)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    answer.ratio(
        SECTION,
        f"{number:,} files of one note",
        "/s",
        pairs,
        at_least=LEAST,
        detail="baseline: read and parsed",
    )


def _write_files(directory: Path, number: int) -> None:
    corpus = Corpus(number, dimensions=1)
    sizes = random.Random(3)
    for position, note in enumerate(corpus.notes()):
        entry = {
            "session_id": f"sess_{position // 20}",
            "user_id": note.user_id,
            "content": corpus.text(sizes.choice((1, 2, 4, 8))),
            "created_at": note.created_at.isoformat(),
            "category": note.category,
            "metadata": {"file": f"docs/{position % 100}.md", "type": "modified"},
        }
        path = directory / f"note_{position:06}.json"
        path.write_bytes(orjson.dumps(entry, option=orjson.OPT_INDENT_2))


def _parse_all(directory: Path) -> int:
    parsed = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            with open(entry.path, "rb") as file:  # noqa: PTH123  (no slower than need be)
                orjson.loads(file.read())
            parsed += 1
    return parsed


async def _import_all(stage: Stage, directory: Path) -> float:
    """The seconds that it takes into an empty database, which is gone afterwards."""
    database = stage.database()
    manager = DatabaseManager(stage.url(database))
    notes = PostgreSQLNoteRepository(manager, None)
    stores = Stores(
        tasks=PostgreSQLTaskRepository(manager),
        handoffs=PostgreSQLHandoffRepository(manager),
        notes=notes,
        sessions=PostgreSQLSessionRepository(manager),
        embeddings=notes,
    )
    try:
        await manager.run(lambda c: c.fetchval("SELECT 1"))
        started = time.perf_counter()
        report = await migrate(LegacyDirectory(directory), stores)
        taken = time.perf_counter() - started
    finally:
        await manager.close()
    assert report.ok
    assert report.total.new == report.files
    stage.drop(database)
    return taken
