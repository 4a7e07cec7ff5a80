"""Use cases from end to end: services, repositories, a real server, an embedder over HTTP."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from nakamura_misaki.adapters.secondary.openai_embedder import OpenAIEmbedder
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.application.handoffs import HandoffService
from nakamura_misaki.application.notes import NoteService, embed_all_pending
from nakamura_misaki.application.tasks import TaskService
from nakamura_misaki.domain.errors import EmbeddingFailed, IllegalTransition, NotFound
from nakamura_misaki.domain.note import Leg, LegSkipped
from nakamura_misaki.domain.task import TaskStatus
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.di import new_id
from openai_server import Fault, OpenAIServer

MEANINGS = {"出費": "支出", "費用": "支出", "経費": "支出", "cost": "支出"}
MODEL = "text-embedding-3-small"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 10, 15, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tasks(manager: DatabaseManager, clock: Clock) -> TaskService:
    return TaskService(PostgreSQLTaskRepository(manager, clock=clock), new_id=new_id, clock=clock)


@pytest.fixture
def handoff_repository(manager: DatabaseManager, clock: Clock) -> PostgreSQLHandoffRepository:
    return PostgreSQLHandoffRepository(manager, clock=clock)


@pytest.fixture
def openai() -> Iterator[OpenAIServer]:
    with OpenAIServer(synonyms=MEANINGS) as server:
        yield server


@pytest.fixture
async def repository(
    manager: DatabaseManager, openai: OpenAIServer
) -> AsyncIterator[PostgreSQLNoteRepository]:
    embedder = OpenAIEmbedder(
        api_key=openai.key,
        model=MODEL,
        dimensions=256,
        base_url=openai.base_url,
        timeout=0.3,
        max_retries=0,
    )
    yield PostgreSQLNoteRepository(manager, embedder, query_timeout=1.0)
    await embedder.close()


@pytest.fixture
def notes(repository: PostgreSQLNoteRepository) -> NoteService:
    return NoteService(repository, new_id=new_id)


async def test_task_crud_workflow(tasks: TaskService, clock: Clock) -> None:
    due = clock.now + timedelta(hours=5)
    added = await tasks.add(
        title="見積もりを送る", assignee_user_id="U1", creator_user_id="U2", due_at=due
    )
    later = await tasks.add(title="来週の分", assignee_user_id="U1", creator_user_id="U2")
    assert await tasks.list_open("U1") == [added, later]
    assert await tasks.list_due_today("U1") == [added]
    assert await tasks.find_id(added.id.hex[-8:]) == added.id
    clock.now += timedelta(hours=1)
    started = await tasks.start(added.id)
    assert await tasks.list_for("U1", "in_progress") == [started]
    clock.now += timedelta(hours=1)
    done = await tasks.complete(added.id)
    assert (done.status, done.completed_at) == (TaskStatus.COMPLETED, clock.now)
    with pytest.raises(IllegalTransition):
        await tasks.start(added.id)
    assert await tasks.show(added.id) == done
    assert await tasks.list_due_today("U1") == []
    assert await tasks.list_open("U1") == [later]
    assert await tasks.delete(later.id) == later
    with pytest.raises(NotFound):
        await tasks.show(later.id)
    assert await tasks.list_for("U1") == [done]


async def test_handoff_crud_workflow(
    tasks: TaskService, handoff_repository: PostgreSQLHandoffRepository, clock: Clock
) -> None:
    handoffs = HandoffService(handoff_repository, new_id=new_id, clock=clock)
    task = await tasks.add(title="障害対応", assignee_user_id="U1", creator_user_id="U1")
    given = await handoffs.add(
        from_user_id="U1",
        to_user_id="U2",
        progress_note="再起動まで済み",
        handoff_at=clock.now + timedelta(minutes=30),
        task_id=task.id,
        next_steps="原因を調べる",
    )
    assert await handoff_repository.get(given.id) == given
    assert await handoff_repository.list_by_to_user("U2") == [given]
    assert await handoff_repository.list_pending_reminders() == []
    clock.now += timedelta(minutes=20)
    assert await handoff_repository.list_pending_reminders() == [given]
    assert await handoff_repository.mark_reminded(given.id)
    assert not await handoff_repository.mark_reminded(given.id)
    assert await handoff_repository.list_pending_reminders() == []
    clock.now += timedelta(minutes=15)
    assert await handoff_repository.mark_completed(given.id)
    stored = await handoff_repository.get(given.id)
    assert stored is not None
    assert (stored.reminded_at, stored.completed_at) == (
        clock.now - timedelta(minutes=15),
        clock.now,
    )
    await tasks.delete(task.id)
    assert await handoff_repository.get(given.id) is None


async def test_note_vector_search_workflow(
    notes: NoteService, repository: PostgreSQLNoteRepository
) -> None:
    """The question shares no word with the note that answers it, only the meaning."""
    wanted = await notes.add(user_id="U1", content="支出の上限は月十万円")
    await notes.add(user_id="U1", content="定例は毎週木曜の朝")
    await notes.add(user_id="U2", content="会議室の予約は秘書へ")
    found = await notes.search("cost", "U1", 1)
    assert [note.id for note in found] == [wanted.id]
    assert found[0].legs == (Leg.VECTOR,)
    assert found.legs == (Leg.VECTOR, Leg.WORDS)
    assert (await notes.search("費用", None, 1))[0].id == wanted.id
    assert (await notes.search("支出", None, 1))[0].legs == (Leg.VECTOR, Leg.WORDS)
    assert await repository.count_pending() == 0


FAULTS = {
    "500": Fault.failing(),
    "429": Fault.rate_limited(0.01),
    "out of quota": Fault.out_of_quota(),
    "unauthorized": Fault.unauthorized(),
    "cut off": Fault.cut_off(),
    "garbage": Fault.garbage(),
    "wrong dimension": Fault.wrong_dimension(),
    "not a number": Fault.not_a_number(),
    "missing": Fault.missing_item(),
    "late": Fault.late(1.0),
    "refused": Fault(status=400, code="invalid_request"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_notes_are_kept_and_found_while_the_embedder_fails(
    openai: OpenAIServer, notes: NoteService, repository: PostgreSQLNoteRepository, fault: Fault
) -> None:
    before = await notes.add(user_id="U1", content="支出の上限は月十万円")
    openai.always = fault
    saved = await notes.add(user_id="U1", content="支出の報告は月末まで")
    assert await notes.show(saved.id) == saved
    answer = await notes.search("支出の報告", "U1")
    assert [note.id for note in answer] == [saved.id, before.id]
    assert answer.legs == (Leg.WORDS,)
    assert answer.skipped == {Leg.VECTOR: LegSkipped.EMBEDDING_FAILED}
    assert await repository.count_pending() == 1
    with pytest.raises(EmbeddingFailed) as caught:
        await embed_all_pending(repository)
    assert openai.key is not None
    assert openai.key not in str(caught.value)
    assert "\n" not in str(caught.value)

    openai.always = None
    assert await embed_all_pending(repository) == 1
    assert await repository.count_pending() == 0
    found = await notes.search("cost", "U1")
    assert {note.id for note in found} == {saved.id, before.id}
    assert found.skipped == {}


async def test_text_that_the_model_refuses_stops_no_other(
    openai: OpenAIServer,
    notes: NoteService,
    repository: PostgreSQLNoteRepository,
    caplog: pytest.LogCaptureFixture,
) -> None:
    openai.always = Fault.failing()
    saved = [await notes.add(user_id="U1", content=f"支出 {n}") for n in range(9)]
    openai.always = None
    openai.refused = "支出 4"
    assert await embed_all_pending(repository, batch=4) == 8
    assert await repository.count_pending() == 1
    assert str(saved[4].id) in caplog.text
    embedded = {stored.note_id async for stored in repository.stream_embeddings()}
    assert embedded == {note.id for note in saved} - {saved[4].id}
    assert saved[4].id in {note.id for note in await notes.search("支出 4", "U1")}
    # A later run asks again, and again no other is kept from its vector.
    late = await notes.add(user_id="U1", content="支出 4 の続き")
    openai.refused = None
    assert await embed_all_pending(repository) == 2
    assert {late.id, saved[4].id} <= {s.note_id async for s in repository.stream_embeddings()}


async def test_refused_notes_at_the_front_do_not_hide_those_behind_them(
    openai: OpenAIServer, notes: NoteService, repository: PostgreSQLNoteRepository
) -> None:
    """As many refused texts as a batch holds, all with lower ids than a harmless one."""
    openai.always = Fault.failing()
    for n in range(4):
        await notes.add(user_id="U1", content=f"拒まれる {n}")
    behind = await notes.add(user_id="U1", content="後ろの一件")
    openai.always = None
    openai.refused = "拒まれる"
    await embed_all_pending(repository, batch=4)
    embedded: set[UUID] = {stored.note_id async for stored in repository.stream_embeddings()}
    assert embedded == {behind.id}
