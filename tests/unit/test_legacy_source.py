"""Scanning a legacy directory: every layout, and everything that goes wrong in real ones."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.application.legacy import Kind
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.session import Session
from unit.legacy_stores import SESSION_ID, note_entry, scan, session_entry, write
from unit.legacy_strategies import JSON


def test_all_layouts_are_read_wherever_they_lie(tmp_path):
    write(tmp_path, "data/notes/decisions.json", [note_entry(), note_entry("two")])
    write(tmp_path, "data/notes/n1.json", {"session_id": "s", "user_id": "U1", "content": "three"})
    write(tmp_path, "U1/.nakamura_notes/todos.json", [note_entry("four", category=None)])
    write(tmp_path, "data/sessions/user_U1_sessions.json", {SESSION_ID: session_entry()})
    write(tmp_path, "data/sessions/single.json", session_entry(session_id="alone"))
    write(tmp_path, "renamed.json", {"by-key": session_entry(session_id="by-key")})
    write(tmp_path, "empty/user_U2_sessions.json", {})
    write(tmp_path, "empty/errors.json", [])
    entries, rejections, ignored = scan(tmp_path)
    assert (rejections, ignored) == ([], [])
    notes = [entry for entry in entries if isinstance(entry, Note)]
    sessions = [entry for entry in entries if isinstance(entry, Session)]
    assert [note.content for note in notes] == ["four", note_entry()["content"], "two", "three"]
    assert notes[0].category == "todos"
    assert {session.id for session in sessions} == {SESSION_ID, "alone", "by-key"}


BROKEN = {
    "truncated.json": (b'[{"user_id": "U1", "content": "abc', "not valid JSON"),
    "empty.json": (b"", "empty"),
    "blank.json": (b" \n", "empty"),
    "latin.json": ('{"user_id": "U1", "content": "é"}'.encode("latin-1"), "not UTF-8"),
    "utf16.json": ('{"user_id": "U1"}'.encode("utf-16"), "not UTF-8"),
    "number.json": (b"5", "unknown layout"),
    "text.json": (b'"text"', "unknown layout"),
    "object.json": (b'{"a": 1}', "unknown layout"),
    "nothing.json": (b"{}", "unknown layout"),
    "deep.json": (b"[" * 100_000, "nested too deeply|not valid JSON"),
    "deep_object.json": (
        b'{"user_id": "U1", "content": "c", "x": ' + b"[" * 400 + b"]" * 400 + b"}",
        "nested",
    ),
    "digits.json": (b'{"user_id": "U1", "content": "c", "n": ' + b"9" * 5000 + b"}", "too long"),
    "nan.json": (b'{"user_id": "U1", "content": "c", "n": NaN}', "JSON has no word"),
    "surrogate.json": (rb'{"user_id": "U1", "content": "\ud800"}', "surrogate"),
    "nul.json": (rb'{"user_id": "U1", "content": "a\u0000b"}', "NUL"),
    "nobody.json": (b'{"content": "c"}', "user_id is missing"),
    "silent.json": (b'{"user_id": "U1", "session_id": "s"}', "content is missing"),
    "user_U1_sessions.json": (b'{"key": {"session_id": "key"}}', "user_id is missing"),
    "tasks.json": (b'{"5": {"title": "t"}}', "must be a UUID"),
    "handoffs.json": (b'{"5": 5}', "must be an object"),
    "nakamura-misaki-export.json": (
        b'{"format": "nakamura-misaki-export", "version": 2}',
        "format version 2",
    ),
    "embeddings.jsonl": (b'{"note_id": 5}\n', "is missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_reported_and_stops_nothing(tmp_path, name):
    data, reason = BROKEN[name]
    write(tmp_path, f"m/{name}", data)
    write(tmp_path, "a/learnings.json", [note_entry()])
    write(tmp_path, "z/learnings.json", [note_entry()])
    entries, rejections, _ = scan(tmp_path)
    assert len(entries) == 2
    assert [rejection.path for rejection in rejections] == [f"m/{name}"]
    assert re.search(reason, rejections[0].reason)


def test_one_bad_entry_of_a_hundred_is_named_and_the_others_read(tmp_path):
    good = [note_entry(f"note {number}") for number in range(100)]
    good[41]["content"] = ""
    write(tmp_path, "decisions.json", good)
    write(tmp_path, "user_U1_sessions.json", {"a": session_entry(), "b": 5, "c": session_entry()})
    entries, rejections, _ = scan(tmp_path)
    assert len(entries) == 99 + 2
    assert [(r.path, r.entry) for r in rejections] == [
        ("decisions.json", 41),
        ("user_U1_sessions.json", "b"),
    ]


def test_byte_order_mark_is_read(tmp_path):
    write(tmp_path, "decisions.json", b"\xef\xbb\xbf" + json.dumps([note_entry()]).encode())
    assert len(scan(tmp_path)[0]) == 1


def test_integers_of_any_size_keep_every_digit(tmp_path):
    digits = 123456789012345678901234567890
    write(tmp_path, "decisions.json", [note_entry(metadata={"n": digits, "deep": [-digits]})])
    (note,) = scan(tmp_path)[0]
    assert note.metadata == {"n": digits, "deep": [-digits]}


def test_stray_files_are_ignored_and_listed(tmp_path):
    for name in (".DS_Store", "decisions.json.tmp", "readme.md", "._todos.json", "x.jsonl"):
        write(tmp_path, name, b"\x00\x01")
    os.mkfifo(tmp_path / "pipe.json")
    entries, rejections, ignored = scan(tmp_path)
    assert (entries, rejections) == ([], [])
    assert sorted(ignored) == [
        ".DS_Store",
        "._todos.json",
        "decisions.json.tmp",
        "pipe.json",
        "readme.md",
        "x.jsonl",
    ]


def test_symbolic_links_are_not_followed(tmp_path):
    write(tmp_path, "outside/todos.json", [note_entry()])
    write(tmp_path, "root/a/todos.json", [note_entry()])
    (tmp_path / "root/a/loop").symlink_to(tmp_path / "root")
    (tmp_path / "root/again.json").symlink_to("a/todos.json")
    (tmp_path / "root/out").symlink_to(tmp_path / "outside")
    (tmp_path / "root/out.json").symlink_to(tmp_path / "outside/todos.json")
    (tmp_path / "root/broken.json").symlink_to("nowhere")
    (tmp_path / "root/self.json").symlink_to("self.json")
    (tmp_path / "link").symlink_to("root")
    entries, rejections, ignored = scan(tmp_path / "link")
    assert len(entries) == 1
    assert sorted(ignored) == ["a/loop", "again.json"]
    assert {(r.path, r.reason.split(";")[0]) for r in rejections} == {
        ("out", "a symbolic link that leads out of the directory"),
        ("out.json", "a symbolic link that leads out of the directory"),
        ("broken.json", "a symbolic link that leads nowhere."),
        ("self.json", "a symbolic link that leads nowhere."),
    }


def test_unreadable_file_and_directory_are_reported():
    # Not in tmp_path: the user without rights must be able to come as far as here.
    root = Path(tempfile.mkdtemp())
    try:
        root.chmod(0o755)
        write(root, "a.json", {"user_id": "U1", "content": "c"})
        write(root, "b/c.json", {"user_id": "U1", "content": "c"})
        write(root, "d.json", {"user_id": "U1", "content": "c"})
        (root / "a.json").chmod(0)
        (root / "b").chmod(0)
        is_root = os.geteuid() == 0
        if is_root:  # root may read everything
            os.seteuid(65534)
        try:
            entries, rejections, _ = scan(root)
        finally:
            if is_root:
                os.seteuid(0)
            (root / "b").chmod(0o700)
        assert len(entries) == 1
        assert [(r.path, r.reason) for r in rejections] == [
            ("a.json", "can't be read: Permission denied."),
            ("b", "can't be listed: Permission denied."),
        ]
    finally:
        shutil.rmtree(root)


def test_name_that_is_no_utf8_is_read_and_shown_escaped(tmp_path):
    write(tmp_path, os.fsdecode(b"\xff.json"), {"user_id": "U1", "content": ""})
    assert scan(tmp_path)[1][0].path == "\\xff.json"


def test_source_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InvalidInput, match="there is no directory"):
        scan(tmp_path / "nowhere")
    write(tmp_path, "file", b"")
    with pytest.raises(InvalidInput, match="is not a directory"):
        LegacyDirectory(tmp_path / "file").count_files()


def test_content_decides_what_a_single_file_is(tmp_path):
    write(tmp_path, "a.json", {"user_id": "U1", "content": "c", "last_active": "whatever"})
    write(tmp_path, "tasks.json", {"user_id": "U1", "content": "a note of this name"})
    kinds = {file.path: file.kind for file in LegacyDirectory(tmp_path).scan()}
    assert kinds == {"a.json": Kind.NOTES, "tasks.json": Kind.NOTES}


def test_order_is_fixed_with_handoffs_and_vectors_last(tmp_path):
    for name in ("embeddings.jsonl", "handoffs.json", "a/handoffs.json", "z/z.json", "tasks.json"):
        write(tmp_path, name, b"{}")
    paths = [file.path for file in LegacyDirectory(tmp_path).scan()]
    assert paths == [
        "tasks.json",
        "z/z.json",
        "a/handoffs.json",
        "handoffs.json",
        "embeddings.jsonl",
    ]


def test_long_file_of_vectors_comes_in_parts(tmp_path):
    line = {"note_id": "0199bc3c-6c02-7319-a8fc-55ef1c0219f5", "model": "m", "vector": [0.1]}
    data = "".join(json.dumps(line | {"model": f"m{n}"}) + "\n" for n in range(600))
    write(tmp_path, "embeddings.jsonl", data.encode() + b"{broken\n")
    parts = list(LegacyDirectory(tmp_path).scan())
    assert [part.continued for part in parts] == [False, True, True]
    assert sum(len(part.entries) for part in parts) == 600
    assert [(r.entry, r.path) for r in parts[-1].rejections] == [(600, "embeddings.jsonl")]


def test_task_field_without_a_place_is_reported(tmp_path):
    key = "0199bc3c-6c02-7319-a8fc-55ef1c0219f5"
    task = {
        "title": "t",
        "assignee_user_id": "U1",
        "creator_user_id": "U1",
        "created_at": "2025-10-07T01:15:00Z",
        "updated_at": "2025-10-07T01:15:00Z",
        "priority": 1,
    }
    write(tmp_path, "tasks.json", {key: task})
    entries, rejections, _ = scan(tmp_path)
    assert entries[0].title == "t"
    assert rejections[0][:2] == ("tasks.json", key)
    assert "priority" in rejections[0].reason


_NAMES = st.sampled_from(
    [
        "decisions.json",
        "n.json",
        "user_U1_sessions.json",
        "tasks.json",
        "handoffs.json",
        "embeddings.jsonl",
        "nakamura-misaki-export.json",
    ]
)
_FIELDS = st.sampled_from(
    [
        "user_id",
        "content",
        "session_id",
        "id",
        "timestamp",
        "created_at",
        "updated_at",
        "metadata",
        "category",
        "last_active",
        "title",
        "message_count",
        "note_id",
        "vector",
        "model",
        "x",
    ]
)
_VALUES = (
    JSON
    | st.text()
    | st.sampled_from(
        ["2025-10-07", "9999-12-31T23:59:59-23:59", "0199bc3c6c027319a8fc55ef1c0219f5"]
    )
    | st.floats()
    | st.integers(-(2**80), 2**80)
)
_ENTRIES = st.dictionaries(_FIELDS, _VALUES, max_size=6)
_DOCUMENTS = (
    _ENTRIES
    | st.lists(_ENTRIES | JSON, max_size=3)
    | st.dictionaries(st.text(), _ENTRIES, max_size=3)
)


def _scan_one(name, data):
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), name, data)
        return scan(Path(root))


@given(name=_NAMES, data=st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(name, data):
    _scan_one(name, data)


@given(name=_NAMES, document=_DOCUMENTS)
def test_every_entry_is_read_or_rejected(name, document):
    data = json.dumps(document).encode()
    entries, rejections, _ = _scan_one(name, data)
    if isinstance(document, list) and name != "embeddings.jsonl":
        assert len(entries) + len(rejections) == len(document)
    elif document:
        assert entries or rejections or name == "nakamura-misaki-export.json"
