"""The JSON storage: the layout on the disk, several processes, crashes, damaged files."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from nakamura_misaki.adapters.secondary.json_note_repository import JsonNoteRepository
from nakamura_misaki.adapters.secondary.json_session_repository import JsonSessionRepository
from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository
from nakamura_misaki.adapters.secondary.legacy_layout import sessions_path
from nakamura_misaki.adapters.secondary.word_search import rank
from nakamura_misaki.domain.errors import AlreadyExists, StorageUnavailable
from nakamura_misaki.domain.note import Leg, LegSkipped, Note
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task
from unit.legacy_stores import SESSION_ID, note_entry, session_entry, tree, write

NOW = datetime(2026, 10, 7, 3, tzinfo=UTC)


def names(directory):
    return [path.name for path in directory.iterdir()]


def task(**fields):
    return Task(id=uuid4(), title="t", assignee_user_id="U1", creator_user_id="U1", **fields)


def note(content="決定", **fields):
    fields = {"category": "decisions", "created_at": NOW, "updated_at": NOW, **fields}
    return Note(id=uuid4(), user_id="U1", content=content, **fields)


async def test_files_are_the_legacy_layout_with_unescaped_text(tmp_path):
    notes = JsonNoteRepository(tmp_path)
    decided = await notes.save(note(metadata={"file": "計画.md"}))
    other = await notes.save(note(category="其他"))
    await JsonSessionRepository(tmp_path).create(
        Session(id="s", user_id="U1", created_at=NOW, last_active_at=NOW)
    )
    files = tree(tmp_path)
    assert set(files) == {
        "notes/decisions.json",
        f"notes/note_{other.id}.json",
        "sessions/user_U1_sessions.json",
    }
    assert b'"file": "\xe8\xa8\x88\xe7\x94\xbb.md"' in files["notes/decisions.json"]
    assert files["notes/decisions.json"].startswith(b'[\n  {\n    "user_id": "U1",')
    (entry,) = json.loads(files["notes/decisions.json"])
    assert entry["timestamp"] == "2026-10-07T03:00:00.000000"
    assert entry["id"] == str(decided.id)
    session = json.loads(files["sessions/user_U1_sessions.json"])["s"]
    assert session["created_at"] == "2026-10-07T12:00:00.000000"
    assert session["claude_options"] == {}


@pytest.mark.parametrize(
    "user_id",
    ["../../etc/passwd", "..", ".hidden", "a/b", "中村", "~", "U1\n", "中" * 255, "x" * 255, "%2E"],
)
async def test_user_id_of_any_text_is_a_safe_file_name(tmp_path, user_id):
    sessions = JsonSessionRepository(tmp_path / "inside")
    session = await sessions.create(Session(id="s", user_id=user_id))
    assert await sessions.list_by_user(user_id) == [session]
    (name,) = names(tmp_path / "inside/sessions")
    assert name.startswith("user_")
    assert name.endswith("_sessions.json")
    assert names(tmp_path) == ["inside"]


def test_no_two_users_share_a_file():
    users = ["a", "A", "a~", "%61", ".a", "%2Ea", "中" * 200, "中" * 199 + "国", "a/b", "a%2Fb"]
    assert len({sessions_path(user) for user in users}) == len(users)


async def test_arrays_are_never_trimmed_and_newest_is_last(tmp_path):
    notes = JsonNoteRepository(tmp_path)
    given = [note(f"n{n}", created_at=NOW + timedelta(seconds=n)) for n in range(250)]
    assert (await notes.save_many(given)).new == 250
    await notes.save(replace(given[3], content="edited", updated_at=NOW + timedelta(days=1)))
    stored = json.loads((tmp_path / "notes/decisions.json").read_text())
    assert len(stored) == 250
    assert stored[3]["content"] == "edited"
    assert stored[-1]["content"] == "n249"


async def test_legacy_directory_is_read_and_its_ids_are_settled_at_the_first_write(tmp_path):
    unreadable = {"content": "of nobody"}
    write(tmp_path, "notes/decisions.json", [note_entry(), unreadable, note_entry(weird=1)])
    write(tmp_path, "notes/old.json", [note_entry(category=None), note_entry()])
    write(tmp_path, "notes/one.json", {"user_id": "U1", "content": "single"})
    notes = JsonNoteRepository(tmp_path)
    before = [one async for one in notes.stream()]
    assert len(before) == 5
    edited = replace(before[-1], content="edited", updated_at=NOW + timedelta(days=9))
    await notes.save(edited)
    os.utime(tmp_path / "notes/one.json", (0, 0))
    after = [one async for one in notes.stream()]
    assert {one.id for one in after} == {one.id for one in before}
    assert [one for one in after if one.id != edited.id] == [
        one for one in before if one.id != edited.id
    ]
    stored = json.loads((tmp_path / "notes/decisions.json").read_text())
    assert stored[1] == unreadable
    assert stored[2]["weird"] == 1


async def test_note_that_changes_its_category_moves(tmp_path):
    notes = JsonNoteRepository(tmp_path)
    one = await notes.save(note())
    two = await notes.save(note("two"))
    moved = await notes.save(replace(one, category=None))
    assert await notes.get(one.id) == moved
    back = await notes.save(replace(two, category="todos"))
    assert [n async for n in notes.stream()] == sorted([moved, back], key=lambda n: n.id)
    assert json.loads((tmp_path / "notes/decisions.json").read_text()) == []


async def test_note_left_twice_by_a_crash_is_one_note(tmp_path):
    older = note("old")
    newer = replace(older, content="new", category="todos", updated_at=NOW + timedelta(seconds=1))
    for directory, one in (("a", older), ("b", newer)):
        await JsonNoteRepository(tmp_path / directory).save(one)
    (tmp_path / "b/notes/todos.json").rename(tmp_path / "a/notes/todos.json")
    notes = JsonNoteRepository(tmp_path / "a")
    assert [n async for n in notes.stream()] == [newer]
    await notes.save(replace(newer, content="newest"))
    contents = b"".join(tree(tmp_path / "a").values()).decode()
    assert contents.count(str(older.id)) == 1


async def test_file_that_is_no_array_is_not_overwritten_by_a_new_note(tmp_path):
    write(tmp_path, "notes/decisions.json", {"strange": True})
    notes = JsonNoteRepository(tmp_path)
    saved = await notes.save(note())
    assert await notes.get(saved.id) == saved
    assert json.loads((tmp_path / "notes/decisions.json").read_text())[0] == {"strange": True}


async def test_damaged_file_is_one_sentence_and_stays_as_it_is(tmp_path):
    for path in ("tasks.json", "notes/todos.json", "sessions/user_U1_sessions.json"):
        write(tmp_path, path, b'{"broken')
    before = tree(tmp_path)
    for operation in (
        JsonTaskRepository(tmp_path).create(task()),
        JsonTaskRepository(tmp_path).list_by_user("U1"),
        JsonNoteRepository(tmp_path).save(note()),
        JsonSessionRepository(tmp_path).create(Session(id="s", user_id="U1")),
    ):
        with pytest.raises(
            StorageUnavailable, match=r"can't be read: it is not valid JSON.*Repair"
        ):
            await operation
    assert tree(tmp_path) == before


async def test_entries_that_are_no_tasks_stay_where_they_are(tmp_path):
    write(tmp_path, "tasks.json", {"5": "strange"})
    tasks = JsonTaskRepository(tmp_path)
    created = await tasks.create(task())
    await tasks.create_many([task()])
    await tasks.delete(created.id)
    assert json.loads((tmp_path / "tasks.json").read_text())["5"] == "strange"
    assert len([one async for one in tasks.stream()]) == 1


async def test_directory_that_is_a_file_is_one_sentence(tmp_path):
    write(tmp_path, "file", b"")
    with pytest.raises(StorageUnavailable, match="can't be used"):
        await JsonTaskRepository(tmp_path / "file").create(task())


async def test_reading_makes_no_directory(tmp_path):
    assert [one async for one in JsonNoteRepository(tmp_path / "new").stream()] == []
    assert await JsonTaskRepository(tmp_path / "new").list_by_user("U1") == []
    assert names(tmp_path) == []


async def test_session_in_two_files_is_the_one_last_active(tmp_path):
    newer = session_entry(last_active="2025-10-08T09:00:00", title="newer")
    write(tmp_path, "sessions/a.json", newer)
    write(tmp_path, "sessions/user_U01ABC123_sessions.json", {SESSION_ID: session_entry()})
    sessions = JsonSessionRepository(tmp_path)
    assert (await sessions.get(SESSION_ID)).title == "newer"
    await sessions.update_last_active(SESSION_ID, NOW)
    assert list(tree(tmp_path)) == ["sessions/user_U01ABC123_sessions.json"]
    stored = await sessions.get(SESSION_ID)
    assert (stored.title, stored.last_active_at) == ("newer", NOW)


async def test_source_key_of_another_note_is_refused(tmp_path):
    notes = JsonNoteRepository(tmp_path)
    await notes.save(note(source_key="k"))
    with pytest.raises(AlreadyExists):
        await notes.save(note(source_key="k"))


async def test_search_says_that_only_words_were_looked_for(tmp_path):
    notes = JsonNoteRepository(tmp_path)
    await notes.save(note("決定: PostgreSQLを採用"))
    answer = await notes.search("postgresqlの決定は？")
    assert answer.legs == (Leg.WORDS,)
    assert answer.skipped == {Leg.VECTOR: LegSkipped.NOT_STORED}
    assert answer[0].legs == (Leg.WORDS,)


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("売上", 0),
        ("税", 1),
        ("ｐｇＶｅｃｔｏｒ", 2),
        ("サーバー", 3),
        ("ｻｰﾊﾞｰ", 3),
        ("16", 2),
        ("何を教えて", None),
    ],
)
def test_words_are_found_by_bigrams(query, best):
    texts = ["今月の売上", "消費税は十％", "PgVector 16を採用", "サーバーが落ちた"]
    ranked = rank(query, texts)
    assert ranked[:1] == ([] if best is None else [best])


WRITER = """
import asyncio, sys
from pathlib import Path
from uuid import uuid4
from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository
from nakamura_misaki.domain.task import Task

async def main():
    tasks = JsonTaskRepository(Path(sys.argv[1]))
    for number in range(int(sys.argv[2])):
        await tasks.create(
            Task(id=uuid4(), title="t" * 400, assignee_user_id="U1", creator_user_id="U1")
        )
        print(number, flush=True)

asyncio.run(main())
"""


def writer(directory, number):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(number)], stdout=subprocess.PIPE
    )


async def test_two_processes_lose_no_task(tmp_path):
    writers = [writer(tmp_path, 25) for _ in range(2)]
    for process in writers:
        assert await asyncio.to_thread(process.communicate) is not None
        assert process.returncode == 0
    assert len(await JsonTaskRepository(tmp_path).list_by_user("U1")) == 50


async def test_killed_writer_leaves_all_that_it_said_to_be_written(tmp_path):
    for _ in range(3):
        before = len(await JsonTaskRepository(tmp_path).list_by_user("U1"))
        process = writer(tmp_path, 10_000)
        process.stdout.readline()
        await asyncio.to_thread(time.sleep, int.from_bytes(os.urandom(1), "big") / 2000)
        process.send_signal(signal.SIGKILL)
        said = 1 + len(process.stdout.readlines())
        process.stdout.close()
        process.wait()
        after = len(await JsonTaskRepository(tmp_path).list_by_user("U1"))
        assert said <= after - before <= said + 1
