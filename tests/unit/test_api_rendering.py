"""Entries as JSON, as they come out of the database."""

import json
from datetime import UTC, datetime

import orjson

from nakamura_misaki.adapters.primary.api.rendering import (
    answer_json,
    dumped,
    handoff_json,
    note_json,
    session_json,
    task_json,
    written,
)
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import NOON, handoff, note, session, task


async def test_what_the_database_gives_is_written_the_quick_way(
    manager: DatabaseManager, embedder: HashingEmbedder
) -> None:
    """Drivers have types of their own; one that orjson does not know would cost three times as much."""
    tasks, handoffs = PostgreSQLTaskRepository(manager), PostgreSQLHandoffRepository(manager)
    notes, sessions = (
        PostgreSQLNoteRepository(manager, embedder),
        PostgreSQLSessionRepository(manager),
    )
    made = await tasks.create(task(due_at=NOON, status="completed", completed_at=NOON))
    await handoffs.create(handoff(task_id=made.id, completed_at=NOON))
    await notes.save(note("議事録", metadata={"a": [1]}, session_id="s"))
    await sessions.create(session(metadata={"a": None}))
    for shown in (
        task_json((await tasks.list_by_user("U1"))[0]),
        handoff_json((await handoffs.list_by_to_user("U2"))[0]),
        note_json((await notes.list_by_user("U1"))[0]),
        answer_json(await notes.search("議事録")),
        session_json((await sessions.list_by_user("U1"))[0]),
    ):
        quick = orjson.dumps(shown, option=orjson.OPT_UTC_Z)
        assert dumped(shown) == quick
        assert json.loads(quick)


def test_number_of_many_digits_changes_nothing_else() -> None:
    shown = note_json(note("議事録 \u2028", metadata={"n": 1, "x": -0.5}, created_at=NOON))
    large = shown | {"metadata": {"n": 10**40, "x": -0.5}}
    expected = dumped(shown).replace(b'"n":1', b'"n":1' + b"0" * 40)
    assert dumped(large) == expected


def test_time_is_written_in_utc() -> None:
    assert written(NOON) == "2026-10-07T03:00:00Z"
    assert written(datetime(1, 1, 1, 0, 0, 0, 1, UTC)) == "0001-01-01T00:00:00.000001Z"
    assert orjson.loads(dumped({"at": datetime(1, 1, 1, tzinfo=UTC)})) == {
        "at": "0001-01-01T00:00:00Z"
    }
