"""Export: the same data is the same bytes, and nothing of anybody's is overwritten."""

import asyncio
import json
import struct
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nakamura_misaki.adapters.secondary.legacy_export import ExportDirectory
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.application.export import content_hash, export
from nakamura_misaki.application.legacy import Kind
from nakamura_misaki.application.migration import MigrationOptions, migrate
from nakamura_misaki.domain.errors import InvalidInput, StorageUnavailable
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import StoredEmbedding
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task
from unit.legacy_stores import json_stores, tree, write
from unit.legacy_strategies import HANDOFFS, NOTES, SESSIONS, TASKS

NOW = datetime(2026, 10, 7, 3, tzinfo=UTC)
HALVES = st.binary(min_size=2, max_size=2).map(lambda data: struct.unpack("<e", data)[0])


async def filled(directory):
    stores = json_stores(directory, with_vectors=True)
    task = Task(id=uuid4(), title="t", assignee_user_id="U1", creator_user_id="U2", created_at=NOW)
    await stores.tasks.create(task)
    await stores.handoffs.create(
        Handoff(
            id=uuid4(),
            from_user_id="U1",
            to_user_id="U2",
            progress_note="半分",
            handoff_at=NOW,
            task_id=task.id,
        )
    )
    await stores.sessions.create(Session(id="s", user_id="U/1", created_at=NOW, last_active_at=NOW))
    for number, category in enumerate(("decisions", "decisions", "其他", None)):
        note = Note(id=uuid4(), user_id="U1", content=f"決定{number}", category=category)
        await stores.notes.save(note)
        await stores.embeddings.store_embeddings([StoredEmbedding(note.id, "m", [0.1, -0.25])])
    return stores


async def test_export_import_export_is_the_same_bytes(tmp_path):
    stores = await filled(tmp_path / "one")
    report = await export(stores, ExportDirectory(tmp_path / "first"))
    assert report.counts == {
        Kind.SESSIONS: 1,
        Kind.TASKS: 1,
        Kind.NOTES: 4,
        Kind.HANDOFFS: 1,
        Kind.EMBEDDINGS: 4,
    }
    again = json_stores(tmp_path / "two", with_vectors=True)
    imported = await migrate(
        LegacyDirectory(tmp_path / "first"), again, MigrationOptions(verify=True)
    )
    assert imported.ok
    assert imported.verified
    assert imported.total.new == 11
    await export(again, ExportDirectory(tmp_path / "second"))
    assert tree(tmp_path / "first") == tree(tmp_path / "second")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    notes=st.lists(NOTES, max_size=4, unique_by=(lambda n: n.id, lambda n: n.source_key or n.id)),
    sessions=st.lists(SESSIONS, max_size=3, unique_by=lambda session: session.id),
    tasks=st.lists(TASKS, max_size=2, unique_by=lambda task: task.id),
    handoffs=st.lists(HANDOFFS, max_size=2, unique_by=lambda handoff: handoff.id),
    vector=st.lists(HALVES.filter(lambda x: x - x == 0), min_size=1, max_size=8),
)
def test_any_data_survives_export_and_import(notes, sessions, tasks, handoffs, vector):
    async def check(root):
        one = json_stores(root / "one", with_vectors=True)
        await one.notes.save_many(notes)
        await one.sessions.create_many(sessions)
        await one.tasks.create_many(tasks)
        if tasks:
            handoffs[:] = [replace(handoff, task_id=tasks[0].id) for handoff in handoffs]
        await one.handoffs.create_many(handoffs)
        await one.embeddings.store_embeddings(StoredEmbedding(n.id, "m", vector) for n in notes)
        await export(one, ExportDirectory(root / "first"))
        two = json_stores(root / "two", with_vectors=True)
        report = await migrate(LegacyDirectory(root / "first"), two, MigrationOptions(verify=True))
        assert report.ok, report
        assert [n async for n in two.notes.stream()] == sorted(notes, key=lambda n: n.id)
        assert [s async for s in two.sessions.stream()] == sorted(sessions, key=lambda s: s.id)
        assert [t async for t in two.tasks.stream()] == sorted(tasks, key=lambda t: t.id)
        assert [h async for h in two.handoffs.stream()] == sorted(handoffs, key=lambda h: h.id)
        assert two.embeddings.vectors == one.embeddings.vectors
        await export(two, ExportDirectory(root / "second"))
        assert tree(root / "first") == tree(root / "second")

    with tempfile.TemporaryDirectory() as root:
        asyncio.run(check(Path(root)))


async def test_export_replaces_an_unchanged_export_only(tmp_path):
    stores = await filled(tmp_path / "store")
    place = tmp_path / "export"
    place.mkdir()
    await export(stores, ExportDirectory(place))
    before = tree(place)
    await export(stores, ExportDirectory(place))
    assert tree(place) == before
    await json_stores(place).notes.save(Note(id=uuid4(), user_id="U1", content="written since"))
    changed = tree(place)
    with pytest.raises(InvalidInput, match="changed since"):
        await export(stores, ExportDirectory(place))
    assert tree(place) == changed


@pytest.mark.parametrize(
    "name", ["notes.txt", "notes/decisions.json", "nakamura-misaki-export.json"]
)
async def test_export_refuses_a_directory_of_others(tmp_path, name):
    write(tmp_path, f"place/{name}", b"{}")
    with pytest.raises(InvalidInput, match=r"not empty|changed since"):
        await export(json_stores(tmp_path / "store"), ExportDirectory(tmp_path / "place"))
    assert tree(tmp_path) == {f"place/{name}": b"{}"}


async def test_export_refuses_a_file_and_a_running_export(tmp_path):
    write(tmp_path, "file", b"")
    with pytest.raises(InvalidInput, match="not a directory"):
        await export(json_stores(tmp_path / "store"), ExportDirectory(tmp_path / "file"))
    running = ExportDirectory(tmp_path / "place")
    running.begin()
    with pytest.raises(InvalidInput, match="another export"):
        await export(json_stores(tmp_path / "store"), ExportDirectory(tmp_path / "place"))
    running.abort()
    await export(json_stores(tmp_path / "store"), ExportDirectory(tmp_path / "place"))


async def test_export_that_fails_leaves_everything_as_it_was(tmp_path):
    stores = await filled(tmp_path / "store")
    place = tmp_path / "export"
    await export(stores, ExportDirectory(place))
    before = tree(place)
    write(tmp_path, "store/notes/decisions.json", b"[broken")
    with pytest.raises(StorageUnavailable):
        await export(stores, ExportDirectory(place))
    assert tree(place) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "store"]


KILLED = """
import os, sys
from nakamura_misaki.adapters.secondary.legacy_export import ExportDirectory
from nakamura_misaki.domain.session import Session

target = ExportDirectory(sys.argv[1])
target.begin()
target.write_session(Session(id="s", user_id="U1"))
os._exit(9)
"""


async def test_interrupted_export_is_no_export_and_does_not_stand_in_the_way(tmp_path):
    stores = await filled(tmp_path / "store")
    place = tmp_path / "export"
    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, place], check=False
    )
    assert killed.returncode == 9
    assert (tmp_path / ".export.exporting/tasks.json").exists()
    assert not place.exists()
    await export(stores, ExportDirectory(place))
    await export(stores, ExportDirectory(tmp_path / "other"))
    assert tree(place) == tree(tmp_path / "other")


async def test_arrays_of_an_export_are_in_the_order_of_time(tmp_path):
    stores = json_stores(tmp_path / "store")
    for number in (3, 1, 2):
        await stores.notes.save(
            Note(
                id=UUID(int=10 - number),
                user_id="U1",
                content=str(number),
                category="todos",
                created_at=NOW.replace(hour=number),
                updated_at=NOW,
            )
        )
    await export(stores, ExportDirectory(tmp_path / "export"))
    stored = json.loads((tmp_path / "export/notes/todos.json").read_text())
    assert [entry["content"] for entry in stored] == ["1", "2", "3"]


async def test_vectors_are_exported_with_the_hash_of_their_text(tmp_path):
    stores = await filled(tmp_path / "store")
    await export(stores, ExportDirectory(tmp_path / "export"))
    lines = (tmp_path / "export/embeddings.jsonl").read_text().splitlines()
    notes = {str(note.id): note async for note in stores.notes.stream()}
    assert len(lines) == 4
    for line in map(json.loads, lines):
        assert line["content_hash"] == content_hash(notes[line["note_id"]].content)
        assert (line["model"], line["dimensions"], line["vector"]) == ("m", 2, [0.1, -0.25])
