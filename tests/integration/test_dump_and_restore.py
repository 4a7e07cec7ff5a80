"""A dump by PostgreSQL's own programs is a backup: it comes back whole, and searches answer from it.

pg_restore runs with an empty search_path, in which a function that a generated
column calls must still find the functions that it calls itself.
"""

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from database_server import Server
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.note import FoundNote, Leg, Note
from nakamura_misaki.infrastructure.database.embedded_installation import wheel_programs
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.upgrade import upgrade


@pytest.fixture
def programs() -> Path:
    """Where pg_dump and pg_restore are that fit the tests' server."""
    if "TEST_DATABASE_URL" not in os.environ:
        return wheel_programs()
    found = shutil.which("pg_dump")
    if found is None:
        pytest.skip("there is no pg_dump on PATH for the server of TEST_DATABASE_URL")
    return Path(found).parent


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_restored_dump_is_found_in_by_words_and_by_vector(
    server: Server,
    database: str,
    empty_database: str,
    manager: DatabaseManager,
    embedder: HashingEmbedder,
    programs: Path,
    tmp_path: Path,
) -> None:
    note = Note(
        id=UUID(int=1),
        user_id="U01ABC123",
        content="決定: 税の売上は四半期ごとに締める",
        created_at=datetime(2025, 10, 7, tzinfo=UTC),
        updated_at=datetime(2025, 10, 7, tzinfo=UTC),
    )
    await PostgreSQLNoteRepository(manager, embedder).save(note)
    dump = tmp_path / "nakamura-misaki.dump"

    _run(programs / "pg_dump", "-Fc", "-f", dump, "-d", _libpq(server.url(database)))
    _run(
        programs / "pg_restore",
        "--exit-on-error",
        "-d",
        _libpq(server.url(empty_database)),
        dump,
    )

    report = await upgrade(server.url(empty_database))
    assert report.actions == []
    restored = DatabaseManager(server.url(empty_database, "nakamura_misaki"))
    try:
        notes = PostgreSQLNoteRepository(restored, embedder)
        assert await notes.get(note.id) == note
        [found] = await notes.search("売上")
        assert isinstance(found, FoundNote)
        assert (found.id, found.legs) == (note.id, (Leg.VECTOR, Leg.WORDS))
    finally:
        await restored.close()


def _libpq(url: str) -> str:
    return url.replace("+asyncpg", "", 1)
