"""Bad input by the command line: a sentence, an exit code that says whose fault, nothing changed."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from cli_driver import CommandLine
from database_server import Server
from integration.command import MODULE, Command
from integration.stores import rows_now
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.note import Note
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE

SQL = "x'); DROP TABLE notes CASCADE; -- \" $1 %s :x \\"
LONG = "あ" * 256
AT = "2026-10-15T10:00"
HANDOFF = ("handoff", "add", "x", "--to", "U02", "--at", AT)

REFUSED = [
    ("task", "add", ""),
    ("task", "add", "\u3000"),
    ("task", "add", "x" * 501),
    ("task", "add", "x", "--for", " "),
    ("task", "add", "x", "--for", LONG),
    ("task", "add", "x", "--due", "2026-02-30"),
    ("task", "add", "x", "--due", "2026-10-15T31:00"),
    ("task", "add", "x", "--due", SQL),
    ("task", "add", "x", "--due", "0001-01-01T00:00+09:00"),
    ("task", "add", "x", "--due", "10000-01-01"),
    ("task", "add", "x", "--due", "9999-12-31T23:59:59.999999Z"),
    (*HANDOFF[:6], "0001-01-01T00:00:00Z"),
    ("task", "list", "--status", SQL),
    ("task", "list", "--status", "Completed!"),
    ("task", "show", SQL),
    ("task", "start", "%"),
    ("task", "delete", "________"),
    ("handoff", "add", " ", *HANDOFF[3:]),
    (*HANDOFF, "--task", SQL),
    (*HANDOFF[:4], LONG, "--at", AT),
    (*HANDOFF[:6], SQL),
    (*HANDOFF[:6], "2026-10-15"),
    ("handoff", "done", SQL),
    ("note", "add", "\n"),
    ("note", "add", "x", "--category", " "),
    ("note", "add", "x", "--category", LONG),
    ("note", "add", "x", "--session", LONG),
    ("note", "add", "x", "--user", ""),
    ("note", "search", "x", "--limit", "-1"),
    ("note", "search", "x", "--limit", "1001"),
    ("note", "search", "x", "--limit", "9" * 40),
    ("note", "search", "x", "--limit", "٣.٥"),
    ("note", "search", "x", "--user", " "),
    ("note", "search", "\u3000\n"),
    ("note", "list", "--limit", "0"),
    ("note", "list", "--limit", "-1"),
    ("note", "list", "--limit", "ten"),
    ("note", "show", SQL),
    ("session", "prune", "--days", "-1"),
    ("session", "prune", "--days", "99999999999999999999"),
    ("session", "prune", "--days", "1.5"),
    ("migrate", "/dev/null"),
    ("migrate", SQL),
    ("export", "/proc/nowhere"),
    ("export", "/dev/null"),
]


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[str]:
    """A database with one entry of each kind, which no refused call may change."""
    name = server.create_database(template)
    server.run(
        "INSERT INTO tasks VALUES ('default', gen_random_uuid(), 't', '', 'U1', 'U1', 'pending',"
        " NULL, NULL, now(), now())",
        "INSERT INTO handoffs VALUES ('default', gen_random_uuid(), NULL, 'U1', 'U2', 'p', '',"
        " now(), NULL, NULL, now())",
        "INSERT INTO sessions VALUES ('default', 's', 'U1', '', NULL, 0, true, '{}',"
        " '2020-01-01T00:00Z', now())",
        "INSERT INTO notes (workspace_id, id, user_id, content, created_at, updated_at)"
        " VALUES ('default', gen_random_uuid(), 'U1', 'c', now(), now())",
        database=name,
    )
    yield name
    server.drop_database(name)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    server: Server,
    filled: str,
) -> CommandLine:
    return CommandLine(monkeypatch, capsys, tmp_path, server.url(filled, RUNTIME_ROLE))


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda words: " ".join(words)[:60])
def test_refused_call_says_one_sentence_and_changes_nothing(
    cli: CommandLine, server: Server, filled: str, arguments: tuple[str, ...]
) -> None:
    before = rows_now(server.url(filled))
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err
    first, *hint = outcome.err.splitlines()
    assert first.startswith("Error: ")
    assert first.endswith((".", "?"))
    assert len(first) < 700
    assert all(line.endswith("--help shows how it is used.") for line in hint)
    assert rows_now(server.url(filled)) == before


def test_sql_in_any_field_is_text_and_comes_back_as_it_went(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_url: str,
) -> None:
    cli = CommandLine(monkeypatch, capsys, tmp_path, database_url)
    cli.set(NAKAMURA_MISAKI_USER=SQL, WORKSPACE_ID=SQL)
    task = cli("task", "add", SQL, "--description", SQL, "--for", SQL, "--json").json
    assert {task[name] for name in ("title", "description", "assignee_user_id")} == {SQL}
    handed = cli(
        *("handoff", "add", SQL, "--to", f"{SQL}2", "--at", AT),
        *("--task", task["id"], "--next", SQL, "--json"),
    ).json
    assert {handed[name] for name in ("progress_note", "next_steps", "from_user_id")} == {SQL}
    note = cli("note", "add", SQL, "--category", SQL, "--session", SQL, "--json").json
    assert {note[name] for name in ("content", "category", "session_id", "user_id")} == {SQL}
    assert cli("task", "list", "--json").json == [task]
    assert cli("handoff", "list", "--user", f"{SQL}2", "--json").json == [handed]
    assert cli("note", "list", "--category", SQL, "--json").json == [note]
    assert cli("note", "list", "--session", SQL, "--json").json == [note]
    found = cli("note", "search", SQL, "--user", SQL, "--json").json
    assert [each["id"] for each in found["notes"]] == [note["id"]]
    assert cli("note", "search", "notes'--", "--json").json["notes"][0]["id"] == note["id"]
    assert cli("session", "list", "--json").json == []
    assert cli("migrate", SQL, "--json").code == 2
    assert (tmp_path / "out").exists() is False


def test_bytes_that_are_no_text_in_a_real_process(
    server: Server, filled: str, tmp_path: Path
) -> None:
    """What a shell passes on: an argument in Shift_JIS, ten megabytes, a NUL."""
    command = Command(tmp_path, DATABASE_URL=server.url(filled, RUNTIME_ROLE))
    before = rows_now(server.url(filled))
    for arguments, stdin, said in (
        (("task", "add", "見積もり".encode("shift_jis")), b"", "not UTF-8"),
        (("note", "add", "-"), "議".encode() * 3_500_000, "longer than"),
        (("note", "add", "-"), b"a\x00b", "NUL"),
    ):
        done = command(*arguments, stdin=stdin)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.startswith("Error: ")
    assert rows_now(server.url(filled)) == before


def test_argument_of_json_output_is_json_also_in_its_error(cli: CommandLine) -> None:
    outcome = cli("note", "search", "x", "--limit", "0", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert set(outcome.error) == {"error", "kind"}


async def test_whatever_is_not_blank_here_is_not_blank_to_the_database(
    manager: DatabaseManager,
) -> None:
    """The domain's notion of blank and the CHECK's: one that the domain lets through must fit."""
    blank_there = await manager.run(
        lambda c: c.fetchval(
            r"SELECT array_agg(i) FROM generate_series(1, 65535) AS i"
            r" WHERE i NOT BETWEEN 55296 AND 57343 AND chr(i) !~ '\S'"
        )
    )
    assert [hex(code) for code in blank_there if not chr(code).isspace()] == []


async def test_outermost_values_are_stored_and_come_back(manager: DatabaseManager) -> None:
    notes = PostgreSQLNoteRepository(manager, None)
    step = timedelta(microseconds=1)
    long = Note(id=uuid4(), user_id="U1", content="x", metadata={"n": [10**4297, -0.0, 5e-324]})
    early = Note(
        id=uuid4(), user_id="U1", content="x", created_at=datetime.min.replace(tzinfo=UTC) + step
    )
    late = Note(
        id=uuid4(), user_id="U1", content="x", created_at=datetime.max.replace(tzinfo=UTC) - step
    )
    for note in (long, early, late):
        await notes.save(note)
        assert await notes.get(note.id) == note
    wide = Note(
        id=uuid4(), user_id="日" * 255, content="x", session_id="本" * 255, source_key="語" * 255
    )
    await notes.save(wide)
    assert await notes.list_by_session("本" * 255) == [wide]


def test_database_that_refuses_a_rule_by_hand_is_no_traceback(server: Server, filled: str) -> None:
    """The CHECKs hold for whoever writes past the domain."""
    for statement in (
        "UPDATE tasks SET status = 'done'",
        "UPDATE tasks SET title = ' '",
        "UPDATE tasks SET status = 'completed'",
        "UPDATE handoffs SET to_user_id = from_user_id",
        "UPDATE handoffs SET progress_note = e'\\n'",
        "UPDATE notes SET content = ''",
        "UPDATE sessions SET message_count = -1",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            server.run(statement, database=filled)


def test_unknown_settings_of_a_real_process_are_one_sentence(tmp_path: Path) -> None:
    for settings, word in (
        ({"DATABASE_URL": "mysql://u@h/d"}, "DATABASE_URL"),
        ({"TIME_ZONE": "Mars/Olympus"}, "TIME_ZONE"),
        ({"WORKSPACE_ID": " "}, "WORKSPACE_ID"),
    ):
        command = Command(tmp_path, **settings)
        done = subprocess.run(
            [*MODULE, "task", "list"],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=command.environment,
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)
        assert word in done.stderr
    assert sys.executable in MODULE
