"""What every repository must do, whatever it stores in: one suite for all backends."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.json_handoff_repository import JsonHandoffRepository
from nakamura_misaki.adapters.secondary.json_note_repository import JsonNoteRepository
from nakamura_misaki.adapters.secondary.json_session_repository import JsonSessionRepository
from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.errors import AlreadyExists, IllegalTransition, InvalidInput, NotFound
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import FoundNote, Note
from nakamura_misaki.domain.repositories import (
    HandoffRepository,
    NoteRepository,
    SessionRepository,
    TaskRepository,
    WriteCount,
)
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task, TaskStatus
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

TOKYO = ZoneInfo("Asia/Tokyo")
NOON = datetime(2026, 10, 7, 12, 0, tzinfo=TOKYO)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Backend:
    tasks: TaskRepository
    handoffs: HandoffRepository
    notes: NoteRepository
    sessions: SessionRepository
    clock: Clock
    tasks_in: Callable[[ZoneInfo], TaskRepository]


@pytest.fixture(params=["postgresql", "json"])
async def backend(
    request: pytest.FixtureRequest, embedder: HashingEmbedder, tmp_path: Path
) -> AsyncIterator[Backend]:
    clock = Clock()
    if request.param == "json":
        yield Backend(
            JsonTaskRepository(tmp_path, clock=clock),
            JsonHandoffRepository(tmp_path, clock=clock),
            JsonNoteRepository(tmp_path),
            JsonSessionRepository(tmp_path, clock=clock),
            clock,
            lambda zone: JsonTaskRepository(tmp_path, clock=clock, time_zone=zone),
        )
        return
    manager: DatabaseManager = DatabaseManager(request.getfixturevalue("database_url"))
    yield Backend(
        PostgreSQLTaskRepository(manager, clock=clock),
        PostgreSQLHandoffRepository(manager, clock=clock),
        PostgreSQLNoteRepository(manager, embedder),
        PostgreSQLSessionRepository(manager, clock=clock),
        clock,
        lambda zone: PostgreSQLTaskRepository(manager, clock=clock, time_zone=zone),
    )
    in_use = manager.pool_status().in_use
    await manager.close()
    assert in_use == 0


def task(title: str = "API統合テスト", **fields: object) -> Task:
    values = {"id": uuid4(), "assignee_user_id": "U1", "creator_user_id": "U2", **fields}
    return Task(title=title, **values)  # type: ignore[arg-type]  # any fields


def handoff(**fields: object) -> Handoff:
    values = {
        "id": uuid4(),
        "from_user_id": "U1",
        "to_user_id": "U2",
        "progress_note": "半分まで終わった",
        "handoff_at": NOON,
        **fields,
    }
    return Handoff(**values)  # type: ignore[arg-type]  # any fields


def note(content: str, **fields: object) -> Note:
    return Note(**{"id": uuid4(), "user_id": "U1", "content": content, **fields})  # type: ignore[arg-type]  # any fields


def session(id_: str = "sess_1", **fields: object) -> Session:
    return Session(**{"id": id_, "user_id": "U1", **fields})  # type: ignore[arg-type]  # any fields


# Tasks


async def test_created_task_is_got_back_as_it_was(backend: Backend) -> None:
    created = task(description="三つ'の\"引用; DROP TABLE tasks;--", due_at=NOON)
    assert await backend.tasks.create(created) == created
    assert await backend.tasks.get(created.id) == created


async def test_task_that_is_not_there_is_none(backend: Backend) -> None:
    assert await backend.tasks.get(uuid4()) is None


async def test_task_id_is_taken_once(backend: Backend) -> None:
    created = await backend.tasks.create(task())
    with pytest.raises(AlreadyExists):
        await backend.tasks.create(replace(created, title="another"))
    assert await backend.tasks.get(created.id) == created


async def test_updated_task_keeps_every_value(backend: Backend) -> None:
    created = await backend.tasks.create(task())
    changed = replace(created.start(), title="新しい題", description="説明", due_at=NOON)
    assert await backend.tasks.update(changed) == changed
    assert await backend.tasks.get(created.id) == changed


async def test_task_that_is_not_there_can_not_be_updated(backend: Backend) -> None:
    with pytest.raises(NotFound):
        await backend.tasks.update(task())


async def test_update_that_comes_late_is_refused(backend: Backend) -> None:
    created = await backend.tasks.create(task())
    cancelled = await backend.tasks.update(created.cancel())
    with pytest.raises(IllegalTransition):
        await backend.tasks.update(created.start())
    assert await backend.tasks.get(created.id) == cancelled


async def test_deleted_task_is_gone_with_its_handoffs(backend: Backend) -> None:
    created = await backend.tasks.create(task())
    given = await backend.handoffs.create(handoff(task_id=created.id))
    other = await backend.handoffs.create(handoff())
    await backend.tasks.delete(created.id)
    await backend.tasks.delete(created.id)
    assert await backend.tasks.get(created.id) is None
    assert await backend.handoffs.get(given.id) is None
    assert await backend.handoffs.get(other.id) == other


async def test_tasks_are_listed_by_due_date_undated_last(backend: Backend) -> None:
    undated = await backend.tasks.create(task("undated"))
    late = await backend.tasks.create(task("late", due_at=NOON + timedelta(days=2)))
    soon = await backend.tasks.create(task("soon", due_at=NOON))
    await backend.tasks.create(task("another's", assignee_user_id="U9", due_at=NOON))
    assert await backend.tasks.list_by_user("U1") == [soon, late, undated]


async def test_tasks_are_listed_by_status(backend: Backend) -> None:
    pending = await backend.tasks.create(task("pending"))
    started = await backend.tasks.update((await backend.tasks.create(task("started"))).start())
    assert await backend.tasks.list_by_user("U1", "in_progress") == [started]
    assert await backend.tasks.list_by_user("U1", TaskStatus.PENDING) == [pending]
    with pytest.raises(InvalidInput, match="no task status"):
        await backend.tasks.list_by_user("U1", "done")


async def test_due_today_is_the_calendar_day_of_the_zone(backend: Backend) -> None:
    midnight = datetime(2026, 10, 7, tzinfo=TOKYO)
    first = await backend.tasks.create(task("first", due_at=midnight))
    last = await backend.tasks.create(
        task("last", due_at=midnight + timedelta(hours=23, minutes=59))
    )
    await backend.tasks.create(task("yesterday", due_at=midnight - timedelta(microseconds=1)))
    await backend.tasks.create(task("tomorrow", due_at=midnight + timedelta(days=1)))
    await backend.tasks.create(task("done", due_at=NOON, status="completed", completed_at=NOON))
    backend.clock.now = datetime(2026, 10, 6, 23, 30, tzinfo=UTC)  # the 7th in Tokyo
    assert await backend.tasks.list_due_today("U1") == [first, last]


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25)])
async def test_due_today_knows_summer_time(
    backend: Backend, day: tuple[int, int, int], hours: int
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(*day, tzinfo=berlin).astimezone(UTC)
    last = await backend.tasks.create(
        task("last", due_at=start + timedelta(hours=hours, seconds=-1))
    )
    await backend.tasks.create(task("tomorrow", due_at=start + timedelta(hours=hours)))
    backend.clock.now = start + timedelta(hours=12)
    assert await backend.tasks_in(berlin).list_due_today("U1") == [last]


async def test_many_tasks_are_created_once(backend: Backend) -> None:
    many = [task(f"task {n}") for n in range(50)]
    assert await backend.tasks.create_many(many) == WriteCount(new=50)
    newer = replace(many[0], title="changed", updated_at=many[0].updated_at + timedelta(seconds=1))
    assert await backend.tasks.create_many([newer, *many, newer]) == WriteCount(0, 1, 51)
    assert {t.id: t for t in await backend.tasks.list_by_user("U1")}[newer.id] == newer
    assert await backend.tasks.create_many([]) == WriteCount()


async def test_tasks_stream_in_the_order_of_ids(backend: Backend) -> None:
    many = [task(f"task {n}") for n in range(1005)]
    await backend.tasks.create_many(many)
    assert [t async for t in backend.tasks.stream()] == sorted(many, key=lambda t: t.id)


# Handoffs


async def test_created_handoff_is_got_back_as_it_was(backend: Backend) -> None:
    created = handoff(next_steps="レビューを頼む")
    assert await backend.handoffs.create(created) == created
    assert await backend.handoffs.get(created.id) == created
    assert await backend.handoffs.get(uuid4()) is None
    with pytest.raises(AlreadyExists):
        await backend.handoffs.create(created)


async def test_handoff_of_no_task_is_refused(backend: Backend) -> None:
    with pytest.raises(NotFound):
        await backend.handoffs.create(handoff(task_id=uuid4()))


async def test_handoffs_are_listed_for_their_receiver(backend: Backend) -> None:
    second = await backend.handoffs.create(handoff(handoff_at=NOON + timedelta(hours=1)))
    first = await backend.handoffs.create(handoff())
    await backend.handoffs.create(handoff(from_user_id="U2", to_user_id="U1"))
    assert await backend.handoffs.list_by_to_user("U2") == [first, second]


async def test_reminders_are_pending_within_the_lead_time(backend: Backend) -> None:
    due = await backend.handoffs.create(handoff(handoff_at=NOON + timedelta(minutes=10)))
    overdue = await backend.handoffs.create(handoff(handoff_at=NOON - timedelta(days=1)))
    await backend.handoffs.create(handoff(handoff_at=NOON + timedelta(minutes=10, seconds=1)))
    await backend.handoffs.create(handoff(completed_at=NOON))
    assert await backend.handoffs.list_pending_reminders() == [overdue, due]


async def test_handoff_is_reminded_of_once(backend: Backend) -> None:
    created = await backend.handoffs.create(handoff())
    assert await backend.handoffs.mark_reminded(created.id) is True
    assert await backend.handoffs.mark_reminded(created.id) is False
    assert await backend.handoffs.mark_reminded(uuid4()) is False
    assert await backend.handoffs.list_pending_reminders() == []
    assert await backend.handoffs.get(created.id) == replace(created, reminded_at=NOON)


async def test_handoff_is_completed_once(backend: Backend) -> None:
    created = await backend.handoffs.create(handoff())
    assert await backend.handoffs.mark_completed(created.id) is True
    assert await backend.handoffs.mark_completed(created.id) is False
    assert await backend.handoffs.get(created.id) == replace(created, completed_at=NOON)


async def test_many_handoffs_are_created_once(backend: Backend) -> None:
    many = [handoff() for _ in range(3)]
    assert await backend.handoffs.create_many(many) == WriteCount(new=3)
    reminded = replace(many[0], reminded_at=NOON)
    assert await backend.handoffs.create_many([reminded, *many[1:]]) == WriteCount(0, 1, 2)
    assert await backend.handoffs.create_many(many) == WriteCount(known=3)
    assert [h async for h in backend.handoffs.stream()] == sorted(
        [reminded, *many[1:]], key=lambda h: h.id
    )


# Notes


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


# Sessions


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
