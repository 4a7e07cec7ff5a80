"""Legacy directories into a real PostgreSQL, out of it again, and back to the files."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from archives import unpack
from cli_driver import CommandLine
from database_server import Server
from integration.command import USER, Command
from integration.stores import rows
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.application.legacy import Kind, Stores
from nakamura_misaki.application.migration import MigrationOptions, migrate
from nakamura_misaki.domain.repositories import WriteCount
from unit.legacy_stores import SESSION_ID, note_entry, session_entry, tree, write

VERIFY = MigrationOptions(verify=True)


async def test_migrate_notes_from_file(
    stores: Stores, look: asyncpg.Connection, tmp_path: Path
) -> None:
    equal = note_entry()
    write(tmp_path, "notes/decisions.json", [equal, equal, note_entry("後から", tags=["税"])])
    single = {"session_id": "sess_123", "user_id": "U2", "content": "一件", "created_at": None}
    write(tmp_path, "notes/anything.json", {**single, "created_at": "2025-10-07T10:15:00+09:00"})
    report = await migrate(LegacyDirectory(tmp_path), stores, VERIFY)
    assert report.ok
    assert report.counts == {Kind.NOTES: WriteCount(new=4)}
    found = await look.fetch("SELECT * FROM notes ORDER BY created_at, source_key")
    assert [row["content"] for row in found].count(equal["content"]) == 2
    (first,) = [row for row in found if row["content"] == "後から"]
    assert first["created_at"] == datetime(2025, 10, 7, 1, 15, 0, 482193, tzinfo=UTC)
    assert (first["user_id"], first["category"], first["session_id"]) == (USER, "decisions", None)
    assert json.loads(first["metadata"]) == {
        "file": "docs/plan.md",
        "type": "modified",
        "legacy": {"tags": ["税"]},
    }
    (second,) = [row for row in found if row["user_id"] == "U2"]
    assert second["created_at"] == datetime(2025, 10, 7, 1, 15, tzinfo=UTC)
    assert second["session_id"] == "sess_123"


async def test_migrate_sessions_from_file(
    stores: Stores, look: asyncpg.Connection, tmp_path: Path
) -> None:
    entry = session_entry(claude_options={"model": "x"}, language="ja")
    write(tmp_path, f"sessions/user_{USER}_sessions.json", {SESSION_ID: entry})
    report = await migrate(LegacyDirectory(tmp_path), stores, VERIFY)
    assert report.ok
    (row,) = await look.fetch("SELECT * FROM sessions")
    assert (row["id"], row["user_id"], row["message_count"], row["is_active"]) == (
        SESSION_ID,
        USER,
        14,
        True,
    )
    # Written as the local time of Tokyo, nine hours before UTC.
    assert row["created_at"] == datetime(2025, 9, 30, 9, 22, 41, 120394, tzinfo=UTC)
    assert row["last_active_at"] == datetime(2025, 10, 7, 0, 3, 12, 4511, tzinfo=UTC)
    assert json.loads(row["metadata"]) == {"claude_options": {"model": "x"}, "language": "ja"}


async def test_migration_idempotent(
    stores: Stores, look: asyncpg.Connection, tmp_path: Path
) -> None:
    write(tmp_path, "notes/decisions.json", [note_entry(), note_entry()])
    write(tmp_path, "notes/undated.json", {"session_id": "s", "user_id": "U1", "content": "無日付"})
    write(tmp_path, "user_U1_sessions.json", {SESSION_ID: session_entry()})
    assert (await migrate(LegacyDirectory(tmp_path), stores)).total == WriteCount(new=4)
    before = await rows(look)
    for _ in range(2):
        report = await migrate(LegacyDirectory(tmp_path), stores, VERIFY)
        assert (report.ok, report.verified) == (True, True)
        assert report.total == WriteCount(known=4)
        assert await rows(look) == before


def malformed(root: Path) -> dict[tuple[str, Any], str]:
    """Everything that goes wrong in real directories; which of it is to be told, with a word why."""
    note = {"session_id": "s", "user_id": "U1", "content": "読める"}
    write(root, "notes/truncated.json", json.dumps(note).encode()[:-9])
    write(root, "notes/empty.json", b"")
    write(root, "notes/blank.json", b" \n\t")
    write(root, "notes/bom.json", b"\xef\xbb\xbf" + json.dumps(note).encode())
    write(root, "notes/utf16.json", json.dumps(note).encode("utf-16"))
    write(root, "notes/shift_jis.json", json.dumps(note, ensure_ascii=False).encode("shift_jis"))
    write(root, "notes/decisions.json.tmp", b'[{"user_id"')
    write(root, "notes/.DS_Store", b"\x00\x00\x00\x01Bud1")
    write(root, "notes/._decisions.json", b"\x00\x05\x16\x07")
    write(root, "notes/unknown.json", {"version": 3})
    write(root, "notes/number.json", 42)
    write(root, "notes/deep.json", b"[" * 100_000)
    write(root, "notes/deep_metadata.json", {**note, "metadata": json.loads("[" * 200 + "]" * 200)})
    write(root, "notes/huge_number.json", {**note, "metadata": {"n": 10**400}})
    write(root, "notes/nan.json", {**note, "metadata": {"n": float("nan")}})
    write(root, "notes/infinite.json", b'{"user_id": "U1", "content": "x", "n": 1e999}')
    write(root, "notes/megabytes.json", {**note, "content": "議事録" * 900_000 + "了"})
    write(root, "notes/too_long.json", {**note, "content": "x" * (8 * 1024 * 1024 + 1)})
    write(root, "notes/year_10000.json", {**note, "created_at": "10000-01-01T00:00:00"})
    write(root, "notes/zero_time.json", {**note, "created_at": "0001-01-01T00:00:00"})
    write(root, "notes/last_time.json", {**note, "created_at": "9999-12-31T23:59:59.999999"})
    write(root, "notes/year_1.json", {**note, "created_at": "0001-01-01T00:00:00+09:00"})
    entries = [
        note_entry("NUL\x00 here"),
        {k: v for k, v in note_entry().items() if k != "user_id"},
        note_entry(""),
        note_entry(" \n"),
        "a string",
        None,
        note_entry(user_id=7),
        note_entry(timestamp="yesterday"),
        note_entry("half \ud83d pair"),
        note_entry(metadata={"key\x00": 1}),
        note_entry(category="x" * 256),
        note_entry("残る", metadata=["no object"], weather={"sky": "晴"}, id="not-a-uuid"),
        note_entry("残る2", timestamp="2025-10-07T01:15:00Z", metadata=None, category=None),
    ]
    write(root, "notes/errors.json", json.dumps(entries).encode())
    (root / "notes/directory.json").mkdir()
    write(root, "notes/directory.json/inside.json", note)
    os.mkfifo(root / "notes/fifo.json")
    (root / "notes/dangling.json").symlink_to("nowhere")
    (root / "notes/loop.json").symlink_to("loop.json")
    (root / "notes/outside.json").symlink_to("/etc/hostname")
    older, newer = session_entry(title="古い"), session_entry(title="新しい")
    newer["last_active"] = "2025-10-08T09:00:00"
    write(
        root,
        "a/user_U1_sessions.json",
        {SESSION_ID: newer, "bad": {"user_id": "U1", "message_count": -1}},
    )
    write(
        root, "b/user_U1_sessions.json", {SESSION_ID: older, "no user": session_entry(user_id=None)}
    )
    array = "notes/errors.json"
    return {
        ("notes/truncated.json", None): "not valid JSON",
        ("notes/empty.json", None): "empty",
        ("notes/blank.json", None): "empty",
        ("notes/utf16.json", None): "UTF-8",
        ("notes/shift_jis.json", None): "UTF-8",
        ("notes/unknown.json", None): "unknown layout",
        ("notes/number.json", None): "unknown layout",
        ("notes/deep.json", None): "nested",
        ("notes/deep_metadata.json", None): "nested",
        ("notes/nan.json", None): "nan",
        ("notes/infinite.json", None): "inf",
        ("notes/too_long.json", None): "bytes long",
        ("notes/year_10000.json", None): "created_at",
        ("notes/year_1.json", None): "created_at",
        ("notes/zero_time.json", None): "beyond the years",
        ("notes/last_time.json", None): "beyond the years",
        (array, 0): "NUL",
        (array, 1): "user_id is missing",
        (array, 2): "blank",
        (array, 3): "blank",
        (array, 4): "object",
        (array, 5): "object",
        (array, 6): "must be text",
        (array, 7): "timestamp",
        (array, 8): "surrogate",
        (array, 9): "NUL",
        (array, 10): "255",
        ("notes/dangling.json", None): "leads nowhere",
        ("notes/loop.json", None): "leads nowhere",
        ("notes/outside.json", None): "leads out",
        ("a/user_U1_sessions.json", "bad"): "message count",
        ("b/user_U1_sessions.json", "no user"): "user_id is missing",
    }


async def test_every_malformed_case_is_told_and_nothing_readable_is_dropped(
    command: Command, look: asyncpg.Connection, tmp_path: Path
) -> None:
    expected = malformed(tmp_path / "data")
    before = tree(tmp_path / "data")
    report = command.json("migrate", "data", "--verify", code=1)
    told = {(each["path"], each["entry"]): each["reason"] for each in report["rejected"]}
    assert told.keys() == expected.keys()
    for where, word in expected.items():
        assert word in told[where], where
        assert "\n" not in told[where]
        assert len(told[where]) < 300
    assert {each["path"] for each in report["ignored"]} == {
        "notes/decisions.json.tmp",
        "notes/.DS_Store",
        "notes/._decisions.json",
        "notes/fifo.json",
    }
    assert report["verified"] is True
    assert tree(tmp_path / "data") == before
    contents = [row[0] for row in await look.fetch("SELECT content FROM notes")]
    assert sorted(contents) == sorted(["読める"] * 3 + ["残る", "残る2", "議事録" * 900_000 + "了"])
    (kept,) = await look.fetch("SELECT metadata FROM notes WHERE content = '残る'")
    assert json.loads(kept[0])["legacy"] == {
        "metadata": ["no object"],
        "weather": {"sky": "晴"},
        "id": "not-a-uuid",
    }
    assert await look.fetchval("SELECT metadata->'n' FROM notes WHERE metadata ? 'n'") == str(
        10**400
    )
    sessions = await look.fetch("SELECT id, title FROM sessions")
    assert [tuple(row) for row in sessions] == [(SESSION_ID, "新しい")]
    assert await look.fetchval("SELECT count(*) FROM note_embeddings") == 6


_AS_NOBODY = """
import os, sys
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
import encodings.idna
if os.geteuid() == 0:
    os.setgroups([]); os.setegid(65534); os.seteuid(65534)
for file in LegacyDirectory(sys.argv[1]).scan():
    print(file.path, len(file.entries), [r.reason for r in file.rejections])
"""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter, as none of pytest's own is."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_file_and_directory_that_may_not_be_read_are_told(open_directory: Path) -> None:
    root = open_directory
    write(root, "a.json", {"session_id": "s", "user_id": "U1", "content": "読める"})
    write(root, "closed/b.json", {"session_id": "s", "user_id": "U1", "content": "x"})
    write(root, "locked.json", {"session_id": "s", "user_id": "U1", "content": "x"}).chmod(0)
    (root / "closed").chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(root)],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        (root / "closed").chmod(0o700)
    assert done.stdout.splitlines() == [
        "a.json 1 []",
        """locked.json 0 ["can't be read: Permission denied."]""",
        """closed 0 ["can't be listed: Permission denied."]""",
    ]


def test_source_is_deleted_after_a_backup_and_a_verified_run_only(
    cli: CommandLine, server: Server, database: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    write(data, "notes/decisions.json", [note_entry(), note_entry("二つ目")])
    write(data, "notes/broken.json", b"[{")
    write(data, "user_U1_sessions.json", {SESSION_ID: session_entry()})
    before = tree(data)
    server.run(
        "INSERT INTO sessions (workspace_id, id, user_id, title, last_active_at, created_at)"
        f" VALUES ('default', '{SESSION_ID}', 'U1', '改竄', '2025-10-07T09:03:12.004511+09',"
        " '2025-09-30T18:22:41.120394+09')",
        database=database,
    )
    options = ("--delete-source", "--backup", "first.tar.gz")
    refused = cli("migrate", "data", *options, "--json").json
    assert (refused["verified"], refused["deleted_files"]) == (False, 0)
    assert [each["path"] for each in refused["mismatches"]] == ["user_U1_sessions.json"]
    assert tree(data) == before

    server.run("DELETE FROM sessions", database=database)
    done = cli("migrate", "data", *options[:2], "second.tar.gz", "--json").json
    assert (done["verified"], done["deleted_files"]) == (True, 2)
    assert set(tree(data)) == {"notes/broken.json"}
    unpack(tmp_path / "second.tar.gz", tmp_path / "restored")
    (restored,) = (tmp_path / "restored").rglob("user_U1_sessions.json")
    assert tree(restored.parent) == before
    again = cli("migrate", str(restored.parent), "--json").json
    assert (again["new"], again["known"]) == (0, 3)
    assert cli("migrate", "data", "--backup", "second.tar.gz").code == 2


async def test_two_notes_of_one_source_key_stop_no_other(
    stores: Stores, look: asyncpg.Connection, tmp_path: Path
) -> None:
    """As a copied file of an export has it: another id and text under the key of the first."""
    for number in range(5):
        note = {
            "id": f"0199aaaa-bbbb-7ccc-8ddd-{number:012}",
            "user_id": USER,
            "content": f"その{number}",
            "source_key": f"legacy:{max(1, number)}",
            "created_at": "2025-10-07T10:15:00+09:00",
            "updated_at": "2025-10-07T10:15:00+09:00",
        }
        write(tmp_path, f"notes/note_{number}.json", note)
    report = await migrate(LegacyDirectory(tmp_path), stores, VERIFY)
    assert report.counts == {Kind.NOTES: WriteCount(new=4, known=1)}
    assert len(await look.fetch("SELECT FROM notes")) == 4
    assert [mismatch.path for mismatch in report.mismatches] == ["notes/note_1.json"]
