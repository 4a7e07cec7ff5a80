"""What every repository of notes and sessions must do, whatever it stores in."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from nakamura_misaki.domain.errors import AlreadyExists, InvalidInput, NotFound
from nakamura_misaki.domain.note import FoundNote
from nakamura_misaki.domain.repositories import (
    WriteCount,
)
from repository_backend import NOON, Backend, note, session


async def test_saved_note_is_got_back_as_it_was(backend: Backend) -> None:
    saved = note(
        "決定: '; DROP TABLE notes; --\n二行目",
        session_id="sess_1",
        category="decisions",
        metadata={"file": "docs/計画.md", "数": [1, 2.5, None, {"a": "b"}], "large": 2**70},
        source_key="legacy:1",
        created_at=NOON,
    )
    assert await backend.notes.save(saved) == saved
    assert await backend.notes.get(saved.id) == saved
    assert await backend.notes.get(uuid4()) is None


async def test_saving_again_replaces_the_note(backend: Backend) -> None:
    saved = await backend.notes.save(note("古い本文"))
    changed = replace(saved, content="新しい文章", category="learnings")
    await backend.notes.save(changed)
    assert await backend.notes.get(saved.id) == changed
    assert [n.id for n in await backend.notes.search("新しい文章", "U1")] == [saved.id]


async def test_a_note_can_not_be_taken_from_its_user(backend: Backend) -> None:
    saved = await backend.notes.save(note("mine"))
    with pytest.raises(AlreadyExists):
        await backend.notes.save(replace(saved, user_id="U9", content="stolen"))
    assert await backend.notes.get(saved.id) == saved


async def test_source_key_is_taken_once(backend: Backend) -> None:
    await backend.notes.save(note("one", source_key="k"))
    with pytest.raises(AlreadyExists):
        await backend.notes.save(note("two", source_key="k"))
    assert await backend.notes.save_many([note("two", source_key="k")]) == WriteCount(known=1)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("DB移行の決定事項は？", "決定: DB移行はPostgreSQL 16で行う。理由: pgvectorが使える"),
        ("税", "消費税の端数は切り捨てる"),
        ("税は？", "消費税の端数は切り捨てる"),
        ("売上", "売上レポートは金曜に送る"),
        ("ＰｏｓｔｇｒｅＳＱＬ", "決定: DB移行はPostgreSQL 16で行う。理由: pgvectorが使える"),
        ("ﾚﾎﾟｰﾄ", "売上レポートは金曜に送る"),
        ("which timeout do we use", "The timeout of the payment API is 30 seconds"),
    ],
)
async def test_search_finds_the_note_that_answers(
    backend: Backend, question: str, answer: str
) -> None:
    texts = [
        "決定: DB移行はPostgreSQL 16で行う。理由: pgvectorが使える",
        "DBの接続エラーはプールを増やして直した",
        "決定: 会議は火曜の朝",
        "消費税の端数は切り捨てる",
        "売上レポートは金曜に送る",
        "The timeout of the payment API is 30 seconds",
        "Friday: release of the mobile app",
    ]
    for text in texts:
        await backend.notes.save(note(text))
    best = (await backend.notes.search(question, "U1", 3))[0]
    assert isinstance(best, FoundNote)
    assert best.content == answer
    assert best.score > 0
    assert best.legs


async def test_search_stays_with_its_user(backend: Backend) -> None:
    mine = await backend.notes.save(note("共通の話題"))
    theirs = await backend.notes.save(note("共通の話題", user_id="U9"))
    assert [n.id for n in await backend.notes.search("共通の話題", "U1")] == [mine.id]
    everybody = await backend.notes.search("共通の話題")
    assert {n.id for n in everybody} == {mine.id, theirs.id}


async def test_search_gives_at_most_the_limit_best_first(backend: Backend) -> None:
    for n in range(12):
        await backend.notes.save(note(f"議事録 その{n}"))
    found = await backend.notes.search("議事録", "U1", 5)
    scores = [n.score for n in found if isinstance(n, FoundNote)]
    assert len(found) == 5
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("limit", [0, -1, 1001, True, 2.5])
async def test_search_refuses_a_limit_that_is_none(backend: Backend, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        await backend.notes.search("x", "U1", limit)


@pytest.mark.parametrize("query", ["", "  \u3000", "a\x00b", "\ud800"])
async def test_search_refuses_what_is_no_question(backend: Backend, query: str) -> None:
    with pytest.raises(InvalidInput):
        await backend.notes.search(query, "U1")


async def test_notes_of_a_session_oldest_first(backend: Backend) -> None:
    late = await backend.notes.save(note("late", session_id="s", created_at=NOON))
    early = await backend.notes.save(
        note("early", session_id="s", created_at=NOON - timedelta(days=1))
    )
    await backend.notes.save(note("other", session_id="t"))
    assert await backend.notes.list_by_session("s") == [early, late]
    assert await backend.notes.list_by_session("none") == []


async def test_notes_of_a_user_newest_first(backend: Backend) -> None:
    old = await backend.notes.save(
        note("old", category="errors", created_at=NOON - timedelta(days=1))
    )
    new = await backend.notes.save(note("new", category="errors", created_at=NOON))
    decision = await backend.notes.save(
        note("decision", category="decisions", created_at=NOON - timedelta(days=2))
    )
    assert await backend.notes.list_by_user("U1") == [new, old, decision]
    assert await backend.notes.list_by_user("U1", "errors", 1) == [new]


async def test_many_notes_are_saved_once(backend: Backend) -> None:
    many = [note(f"note {n}", source_key=f"k{n}") for n in range(40)]
    assert await backend.notes.save_many(many) == WriteCount(new=40)
    newer = replace(
        many[0], content="edited elsewhere", updated_at=many[0].updated_at + timedelta(seconds=1)
    )
    assert await backend.notes.save_many([newer, *many]) == WriteCount(0, 1, 40)
    stored = [n async for n in backend.notes.stream()]
    assert stored == sorted([newer, *many[1:]], key=lambda n: n.id)


async def test_created_session_is_got_back_as_it_was(backend: Backend) -> None:
    created = session(
        title="Session 09/30",
        workspace_path="/srv/作業",
        message_count=14,
        is_active=False,
        metadata={"claude_options": {"a": [1]}},
        last_active_at=NOON,
        created_at=NOON - timedelta(days=3),
    )
    assert await backend.sessions.create(created) == created
    assert await backend.sessions.get(created.id) == created
    assert await backend.sessions.get("none") is None
    with pytest.raises(AlreadyExists):
        await backend.sessions.create(created)


async def test_session_is_touched(backend: Backend) -> None:
    created = await backend.sessions.create(session(last_active_at=NOON - timedelta(days=9)))
    await backend.sessions.update_last_active(created.id)
    assert await backend.sessions.get(created.id) == replace(created, last_active_at=NOON)
    with pytest.raises(NotFound):
        await backend.sessions.update_last_active("none")
    with pytest.raises(InvalidInput):
        await backend.sessions.update_last_active(created.id, datetime(2026, 1, 1))  # noqa: DTZ001  (what is refused)


async def test_inactive_sessions_are_deleted(backend: Backend) -> None:
    kept = await backend.sessions.create(session("kept", last_active_at=NOON - timedelta(days=30)))
    await backend.sessions.create(
        session("gone", last_active_at=NOON - timedelta(days=30, microseconds=1))
    )
    assert await backend.sessions.delete_inactive(30) == 1
    assert [s async for s in backend.sessions.stream()] == [kept]


@pytest.mark.parametrize("days", [0, -1, 10**9, True, 1.5])
async def test_inactive_days_are_a_positive_number(backend: Backend, days: int) -> None:
    with pytest.raises(InvalidInput):
        await backend.sessions.delete_inactive(days)


async def test_sessions_of_a_user_latest_first(backend: Backend) -> None:
    old = await backend.sessions.create(session("old", last_active_at=NOON - timedelta(days=1)))
    new = await backend.sessions.create(session("new", last_active_at=NOON))
    await backend.sessions.create(session("other", user_id="U9"))
    assert await backend.sessions.list_by_user("U1") == [new, old]


async def test_of_many_sessions_the_latest_wins(backend: Backend) -> None:
    early = session(last_active_at=NOON - timedelta(days=1), title="early")
    late = session(last_active_at=NOON, title="late")
    assert await backend.sessions.create_many([late, early]) == WriteCount(1, 0, 1)
    assert await backend.sessions.create_many([early]) == WriteCount(known=1)
    assert await backend.sessions.get("sess_1") == late
    later = replace(late, last_active_at=NOON + timedelta(days=1))
    assert await backend.sessions.create_many([later]) == WriteCount(updated=1)
    assert await backend.sessions.get("sess_1") == later
