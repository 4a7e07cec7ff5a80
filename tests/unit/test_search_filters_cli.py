"""``note search`` among some of the notes, and the passage in its JSON."""

from datetime import datetime
from uuid import UUID

import pytest

from cli_driver import CommandLine
from database_server import run_apart
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.note import Note
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

NOTES = (
    ("売上の集計 a", "decisions", "s1", "2026-10-01T00:00:00+09:00", {"status": "open", "n": 3}),
    ("売上の集計 b", "errors", "s1", "2026-10-01T23:59:00+09:00", {"status": "done"}),
    ("売上の集計 c", "decisions", None, "2026-10-02T00:00:00+09:00", {"n": "3"}),
)


@pytest.fixture
def team(cli: CommandLine, database_url: str) -> CommandLine:
    """The command line, where three notes of known times are stored."""

    async def save() -> None:
        manager = DatabaseManager(database_url)
        await PostgreSQLNoteRepository(manager, HashingEmbedder()).save_many(
            Note(
                id=UUID(int=place),
                user_id="U1",
                content=content,
                category=category,
                session_id=session,
                metadata=metadata,
                created_at=datetime.fromisoformat(at),
            )
            for place, (content, category, session, at, metadata) in enumerate(NOTES)
        )
        await manager.close()

    run_apart(save())
    return cli


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", "abc"),
        ("--category decisions", "ac"),
        ("--category decisions --category errors", "abc"),
        ("--session s1", "ab"),
        ("--since 2026-10-02", "c"),
        ("--until 2026-10-01", "ab"),
        ("--since 2026-10-01 --until 2026年10月1日", "ab"),
        ("--since 2026-10-01T00:01 --until 2026-10-02T00:00+09:00", "b"),
        ("--metadata status=open", "a"),
        ("--metadata n=3", "a"),
        ('--metadata n="3"', "c"),
        ("--metadata status=open --metadata n=4", ""),
        ("--category decisions --session s1 --since 2026-10-01 --metadata n=3", "a"),
    ],
)
def test_cli_note_search_among_some(team: CommandLine, options: str, found: str) -> None:
    answer = team("note", "search", "売上の集計", "--json", *options.split()).json
    assert "".join(sorted(note["content"][-1] for note in answer["notes"])) == found


def test_cli_note_search_refuses_filters_that_are_none(team: CommandLine) -> None:
    for options in (
        ("--since", "いつか"),
        ("--since", "2026-10-02", "--until", "2026-10-01"),
        ("--metadata", "status"),
        ("--metadata", "=1"),
        ("--category", " "),
    ):
        assert team("note", "search", "売上", *options).code == 2


def test_cli_note_search_refuses_words_for_a_time_to_come(team: CommandLine) -> None:
    """来週 and a weekday are the next ones, for tasks; no note can have been written then."""
    for option in ("--since", "--until"):
        refused = team("note", "search", "売上", option, "来週")
        assert refused.code == 2
        assert "yet to come" in refused.err
    for options in (("--until", "今日"), ("--until", "2999-12-31"), ("--since", "昨日")):
        assert team("note", "search", "売上", *options).code == 0


def test_cli_note_search_gives_the_passage_with_offsets(team: CommandLine) -> None:
    long = "前置き。" * 100 + "\nﾃﾞｰﾀﾍﾞｰｽの移行は金曜。" + "あとがき。" * 100
    team("note", "add", long)
    note = team("note", "search", "データベースの移行はいつ？", "--json", "--limit", "1").json[
        "notes"
    ][0]
    passage = note["passage"]
    assert note["content"][passage["start"] : passage["end"]] == passage["text"]
    assert passage["text"].startswith("ﾃﾞｰﾀﾍﾞｰｽの移行は金曜。")
    set_off = [note["content"][start:end] for start, end in passage["spans"]]
    assert set_off == ["ﾃﾞｰﾀﾍﾞｰｽの移行は"]
