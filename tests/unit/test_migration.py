"""Migration: what is read arrives, once, and what does not is named."""

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from nakamura_misaki.adapters.secondary.json_note_repository import JsonNoteRepository
from nakamura_misaki.adapters.secondary.legacy_export import ExportDirectory
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.application.export import export
from nakamura_misaki.application.legacy import Kind
from nakamura_misaki.application.migration import MigrationOptions, migrate
from nakamura_misaki.domain.errors import InvalidInput, StorageUnavailable
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import StoredEmbedding, WriteCount
from nakamura_misaki.domain.task import Task
from unit.legacy_stores import (
    SESSION_ID,
    json_stores,
    note_entry,
    session_entry,
    tree,
    write,
)

VERIFY = MigrationOptions(verify=True)
NOW = datetime(2026, 10, 7, 3, tzinfo=UTC)


def legacy_directory(root: Path) -> Path:
    write(root, "notes/decisions.json", [note_entry(), note_entry(), note_entry("other")])
    write(root, "notes/todos.json", [note_entry("todo", category="todos", extra=1)])
    write(root, "notes/single.json", {"session_id": "s", "user_id": "U1", "content": "undated"})
    write(root, "sessions/user_U01ABC123_sessions.json", {SESSION_ID: session_entry()})
    return root


async def everything(stores):
    return (
        [note async for note in stores.notes.stream()],
        [session async for session in stores.sessions.stream()],
        [task async for task in stores.tasks.stream()],
        [handoff async for handoff in stores.handoffs.stream()],
    )


async def test_everything_arrives_and_is_verified(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert report.ok
    assert report.verified is True
    assert report.files == 4
    assert report.counts == {Kind.SESSIONS: WriteCount(1), Kind.NOTES: WriteCount(5)}
    assert report.entries == {
        Kind.SESSIONS: 1,
        Kind.TASKS: 0,
        Kind.NOTES: 5,
        Kind.HANDOFFS: 0,
        Kind.EMBEDDINGS: 0,
    }
    notes, sessions, _, _ = await everything(stores)
    assert sorted(note.content for note in notes) == sorted(
        [note_entry()["content"]] * 2 + ["other", "todo", "undated"]
    )
    assert [session.id for session in sessions] == [SESSION_ID]


async def test_second_run_changes_nothing(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(source), stores)
    before = tree(tmp_path / "store")
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert report.ok
    assert report.total == WriteCount(known=6)
    assert tree(tmp_path / "store") == before


async def test_other_place_time_and_a_trimmed_array_change_nothing(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(source), stores)
    before = tree(tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    source = source.rename(tmp_path / "elsewhere/moved")
    (source / "notes").rename(source / ".nakamura_notes")
    write(source, ".nakamura_notes/decisions.json", [note_entry(), note_entry("other")])
    os.utime(source / ".nakamura_notes/single.json", (2e9, 2e9))
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert report.ok
    assert report.total == WriteCount(known=5)
    assert tree(tmp_path / "store") == before


async def test_new_entries_of_a_known_file_are_added(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(source), stores)
    write(source, "notes/decisions.json", [note_entry(), note_entry(), note_entry()])
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert report.counts[Kind.NOTES] == WriteCount(new=1, known=4)


async def test_touched_file_without_a_time_does_not_undo_an_edit(tmp_path):
    note_id = uuid4()
    entry = {"id": str(note_id), "session_id": "s", "user_id": "U1", "content": "first"}
    file = write(tmp_path, "source/a.json", entry)
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(tmp_path / "source"), stores)
    stored = await stores.notes.get(note_id)
    edited = replace(stored, content="edited", updated_at=stored.updated_at + timedelta(seconds=9))
    await stores.notes.save(edited)
    os.utime(file, (4e9, 4e9))
    report = await migrate(LegacyDirectory(tmp_path / "source"), stores, VERIFY)
    assert report.ok
    assert report.changed == 1
    assert report.counts[Kind.NOTES] == WriteCount(known=1)
    assert await stores.notes.get(note_id) == edited
    write(tmp_path, "source/a.json", {**entry, "content": "second"})
    os.utime(file, (5e9, 5e9))
    await migrate(LegacyDirectory(tmp_path / "source"), stores)
    assert (await stores.notes.get(note_id)).content == "second"


async def test_session_in_two_files_is_the_newer_one_in_any_order(tmp_path):
    older = {SESSION_ID: session_entry(title="older")}
    newer = {SESSION_ID: session_entry(title="newer", last_active="2025-10-08T00:00:00")}
    for name, first, second in (("ab", older, newer), ("ba", newer, older)):
        write(tmp_path, f"{name}/a/user_U1_sessions.json", first)
        write(tmp_path, f"{name}/b/user_U1_sessions.json", second)
        stores = json_stores(tmp_path / f"store-{name}")
        report = await migrate(LegacyDirectory(tmp_path / name), stores, VERIFY)
        assert report.ok
        assert (await stores.sessions.get(SESSION_ID)).title == "newer"


async def test_bad_entries_are_named_and_the_others_arrive(tmp_path):
    source = legacy_directory(tmp_path / "source")
    write(source, "notes/errors.json", [note_entry(content=""), note_entry("fine")])
    write(source, "notes/broken.json", b'{"user')
    write(source, "notes/.DS_Store", b"")
    stores = json_stores(tmp_path / "store")
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert not report.ok
    assert report.verified is True
    assert report.total.new == 7
    assert report.files == 6
    assert [ignored.path for ignored in report.ignored] == ["notes/.DS_Store"]
    assert [(r.path, r.entry) for r in report.rejections] == [
        ("notes/broken.json", None),
        ("notes/errors.json", 0),
    ]


async def test_entry_that_the_store_refuses_stands_alone(tmp_path):
    class Refusing(JsonNoteRepository):
        async def save_many(self, notes, embeddings=None):
            notes = list(notes)
            if any("refused" in note.content for note in notes):
                raise InvalidInput("the store does not like it.")
            return await super().save_many(notes, embeddings)

    entries = [note_entry(f"note {number}") for number in range(40)]
    entries[7]["content"] = entries[31]["content"] = "refused"
    write(tmp_path, "source/decisions.json", entries)
    stores = replace(json_stores(tmp_path / "store"), notes=Refusing(tmp_path / "store"))
    report = await migrate(LegacyDirectory(tmp_path / "source"), stores, VERIFY)
    assert report.counts[Kind.NOTES].new == 38
    assert [(r.entry, r.reason) for r in report.rejections] == [
        (7, "the store does not like it."),
        (31, "the store does not like it."),
    ]
    assert report.verified is True


async def test_store_that_fails_stops_the_run(tmp_path):
    source = legacy_directory(tmp_path / "source")
    write(tmp_path, "store/notes/todos.json", b"[broken")
    with pytest.raises(StorageUnavailable):
        await migrate(LegacyDirectory(source), json_stores(tmp_path / "store"))
    with pytest.raises(InvalidInput, match="there is no directory"):
        await migrate(LegacyDirectory(tmp_path / "nowhere"), json_stores(tmp_path / "store"))


async def test_verification_names_what_differs(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(source), stores)
    notes, (session,), _, _ = await everything(stores)
    todo = next(note for note in notes if note.content == "todo")
    await stores.notes.save(replace(todo, content="tampered with"))
    other = json_stores(tmp_path / "other")
    await other.notes.save_many([n for n in notes if n.id != todo.id])
    await other.notes.save(replace(todo, content="tampered with"))
    await other.sessions.create(replace(session, title="tampered with"))
    report = await migrate(LegacyDirectory(source), other, VERIFY)
    assert not report.ok
    assert report.verified is False
    assert [(m.path, m.entry) for m in report.mismatches] == [
        ("notes/todos.json", 0),
        ("sessions/user_U01ABC123_sessions.json", SESSION_ID),
    ]


async def test_verification_takes_a_wrong_time_for_a_mismatch(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    for note in (n for file in LegacyDirectory(source).scan() for n in file.entries):
        if isinstance(note, Note) and note.content == "todo":
            early = note.created_at - timedelta(hours=9)
            await stores.notes.save(replace(note, created_at=early))
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert [(m.path, m.entry) for m in report.mismatches] == [("notes/todos.json", 0)]


async def test_entries_changed_in_the_store_since_are_no_mismatch(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(source), stores)
    notes, _, _, _ = await everything(stores)
    for note in notes:
        await stores.notes.save(
            replace(note, content="edited", updated_at=note.updated_at + timedelta(days=1))
        )
    await stores.sessions.update_last_active(SESSION_ID, NOW)
    before = tree(tmp_path / "store")
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert report.ok
    assert report.changed == 6
    assert tree(tmp_path / "store") == before


async def test_dry_run_says_what_a_run_would_do_and_writes_nothing(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(source), stores)
    write(source, "notes/errors.json", [note_entry("new"), note_entry("")])
    newer = session_entry(last_active="2026-01-01T00:00:00")
    write(source, "sessions/user_U01ABC123_sessions.json", {SESSION_ID: newer})
    write(source, "sessions/user_U2_sessions.json", {"n": session_entry(session_id="n")})
    before = tree(tmp_path)
    options = MigrationOptions(dry_run=True, verify=True, backup=str(tmp_path / "b.tar.gz"))
    dry = await migrate(LegacyDirectory(source), stores, options)
    assert tree(tmp_path) == before
    assert (dry.dry_run, dry.verified, dry.backup) == (True, None, None)
    real = await migrate(LegacyDirectory(source), stores)
    assert dry.counts == real.counts
    assert real.counts[Kind.SESSIONS] == WriteCount(new=1, updated=1)
    assert dry.rejections == real.rejections
    blind = await migrate(LegacyDirectory(source), None, MigrationOptions(dry_run=True))
    assert (blind.entries, blind.counts) == (real.entries, {})


async def test_run_without_a_store_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="needs a store"):
        await migrate(LegacyDirectory(tmp_path), None)


async def test_progress_comes_to_its_end(tmp_path):
    source = legacy_directory(tmp_path / "source")
    heard = []
    await migrate(
        LegacyDirectory(source), json_stores(tmp_path / "s"), VERIFY, progress=heard.append
    )
    assert [(p.phase, p.done, p.total) for p in heard if p.done == 4][-1] == ("verify", 4, 4)
    assert heard[0].phase == "import"


async def test_handoff_of_an_unknown_task_is_rejected_and_others_arrive(tmp_path):
    stores = json_stores(tmp_path / "store")
    task = Task(id=uuid4(), title="t", assignee_user_id="U1", creator_user_id="U1")
    await stores.tasks.create(task)
    for task_id in (task.id, None):
        await stores.handoffs.create(
            Handoff(
                id=UUID(int=1 + (task_id is None)),
                from_user_id="U1",
                to_user_id="U2",
                progress_note="p",
                handoff_at=NOW,
                task_id=task_id,
            )
        )
    await export(stores, ExportDirectory(tmp_path / "export"))
    (tmp_path / "export/tasks.json").unlink()
    target = json_stores(tmp_path / "target")
    report = await migrate(LegacyDirectory(tmp_path / "export"), target, VERIFY)
    assert [(r.path, r.entry) for r in report.rejections] == [("handoffs.json", str(UUID(int=1)))]
    assert [h.id for h in (await everything(target))[3]] == [UUID(int=2)]


async def test_rollback_and_return_lose_nothing(tmp_path):
    stores = json_stores(tmp_path / "store", with_vectors=True)
    notes = [Note(id=uuid4(), user_id="U1", content=f"note {n}", created_at=NOW) for n in range(3)]
    for note in notes:
        await stores.notes.save(note)
        await stores.embeddings.store_embeddings([StoredEmbedding(note.id, "m", [1.0])])
    task = Task(id=uuid4(), title="t", assignee_user_id="U1", creator_user_id="U1")
    await stores.tasks.create(task)
    place = tmp_path / "export"
    await export(stores, ExportDirectory(place))

    rolled_back = json_stores(place)
    later = NOW + timedelta(days=9999)
    edited = replace(notes[0], content="edited", updated_at=later)
    await rolled_back.notes.save(edited)
    added = await rolled_back.notes.save(Note(id=uuid4(), user_id="U1", content="added"))
    done = task.complete(later)
    await rolled_back.tasks.update(done)

    for target, vectors in (
        (stores, 3),
        (json_stores(tmp_path / "new", with_vectors=True), 2),
    ):
        report = await migrate(LegacyDirectory(place), target, VERIFY)
        assert report.ok
        assert report.verified
        assert await target.notes.get(edited.id) == edited
        assert await target.notes.get(added.id) == added
        assert await target.tasks.get(task.id) == done
        # A vector of the text before the edit must not come to the edited note.
        assert len(target.embeddings.vectors) == vectors
        assert report.vectors_left_out == 1


async def test_vectors_that_the_store_cannot_keep_are_counted(tmp_path):
    stores = json_stores(tmp_path / "store", with_vectors=True)
    note = await stores.notes.save(Note(id=uuid4(), user_id="U1", content="c"))
    await stores.embeddings.store_embeddings([StoredEmbedding(note.id, "m", [1.0])])
    await export(stores, ExportDirectory(tmp_path / "export"))
    report = await migrate(
        LegacyDirectory(tmp_path / "export"), json_stores(tmp_path / "s"), VERIFY
    )
    assert report.ok
    assert report.vectors_left_out == 1


async def test_big_directory_is_written_in_batches(tmp_path):
    class Counting(JsonNoteRepository):
        sizes: list[int] = []  # noqa: RUF012  (of the one instance)

        async def save_many(self, notes, embeddings=None):
            notes = list(notes)
            self.sizes.append(len(notes))
            return WriteCount(new=len(notes))

    for number in range(2500):
        write(tmp_path, f"source/{number:05}.json", {"user_id": "U1", "content": f"n{number}"})
    stores = replace(json_stores(tmp_path / "store"), notes=Counting(tmp_path / "store"))
    report = await migrate(LegacyDirectory(tmp_path / "source"), stores)
    assert Counting.sizes == [2000, 500]
    assert report.total.new == 2500


MIGRATE = """
import asyncio, sys
from pathlib import Path
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.application import batches
from nakamura_misaki.application.migration import migrate
from unit.legacy_stores import json_stores

batches.MAX_ENTRIES = 20
asyncio.run(migrate(LegacyDirectory(sys.argv[1]), json_stores(Path(sys.argv[2])),
                    progress=lambda p: print(p.done, flush=True)))
"""


def start_migration(source, store):
    return subprocess.Popen(
        [sys.executable, "-c", MIGRATE, source, store],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )


async def test_killed_migration_is_completed_by_the_next(tmp_path):
    source = legacy_directory(tmp_path / "source")
    for number in range(60):
        entry = {"user_id": "U1", "content": f"n{number // 2}", "category": "todos"}
        write(source, f"many/{number:03}.json", entry)
    undisturbed = json_stores(tmp_path / "undisturbed")
    await migrate(LegacyDirectory(source), undisturbed)
    for attempt in range(4):
        process = start_migration(source, tmp_path / "store")
        for _ in range(1 + attempt % 3):
            process.stdout.readline()
        await asyncio.to_thread(time.sleep, int.from_bytes(os.urandom(1), "big") / 10_000)
        process.kill()
        process.stdout.close()
        process.wait()
    stores = json_stores(tmp_path / "store")
    report = await migrate(LegacyDirectory(source), stores, VERIFY)
    assert report.ok
    assert await everything(stores) == await everything(undisturbed)
