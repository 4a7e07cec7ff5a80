"""The use cases on real repositories: what they add to the ports."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.application.handoffs import HandoffService
from nakamura_misaki.application.notes import NoteService, embed_all_pending
from nakamura_misaki.application.sessions import SessionService
from nakamura_misaki.application.tasks import TaskService
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import (
    EmbeddingFailed,
    IllegalTransition,
    InvalidInput,
    NotFound,
)
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import TaskStatus
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

NOW = datetime(2026, 10, 15, 6, 0, tzinfo=UTC)
MISSING = UUID(int=99)


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def numbered_ids() -> Iterator[UUID]:
    return (UUID(int=number) for number in count(1))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tasks(manager: DatabaseManager, clock: Clock) -> TaskService:
    ids = numbered_ids()
    return TaskService(PostgreSQLTaskRepository(manager), new_id=lambda: next(ids), clock=clock)


@pytest.fixture
def handoffs(manager: DatabaseManager, clock: Clock) -> HandoffService:
    ids = numbered_ids()
    return HandoffService(
        PostgreSQLHandoffRepository(manager), new_id=lambda: next(ids), clock=clock
    )


async def test_task_service_stamps_each_step_with_its_clock(
    tasks: TaskService, clock: Clock
) -> None:
    added = await tasks.add(title="t", assignee_user_id="U1", creator_user_id="U2")
    assert (added.id, added.created_at, added.status) == (UUID(int=1), NOW, TaskStatus.PENDING)
    clock.now += timedelta(hours=1)
    assert (await tasks.start(added.id)).updated_at == clock.now
    clock.now += timedelta(hours=1)
    done = await tasks.complete(added.id)
    assert done.completed_at == done.updated_at == clock.now
    assert await tasks.show(added.id) == done
    with pytest.raises(IllegalTransition):
        await tasks.reopen(added.id)


async def test_task_service_lists_open_tasks_only_when_asked(tasks: TaskService) -> None:
    first, second, third = [
        await tasks.add(title=title, assignee_user_id="U1", creator_user_id="U1")
        for title in ("a", "b", "c")
    ]
    await tasks.start(first.id)
    await tasks.complete(second.id)
    await tasks.cancel(third.id)
    assert [task.id for task in await tasks.list_open("U1")] == [first.id]
    assert len(await tasks.list_for("U1")) == 3
    assert [task.id for task in await tasks.list_for("U1", "cancelled")] == [third.id]
    with pytest.raises(InvalidInput, match="no task status"):
        await tasks.list_for("U1", "open")


@pytest.mark.parametrize("step", ["show", "start", "reopen", "complete", "cancel", "delete"])
async def test_task_service_finds_no_task_that_is_not_there(tasks: TaskService, step: str) -> None:
    with pytest.raises(NotFound, match=str(MISSING)):
        await getattr(tasks, step)(MISSING)


async def test_task_service_deletes_and_gives_back_what_it_was(tasks: TaskService) -> None:
    added = await tasks.add(title="t", assignee_user_id="U1", creator_user_id="U1")
    assert await tasks.delete(added.id) == added
    with pytest.raises(NotFound):
        await tasks.show(added.id)


async def test_find_id_takes_either_end_of_an_id_in_any_spelling(tasks: TaskService) -> None:
    added = await tasks.add(title="t", assignee_user_id="U1", creator_user_id="U1")
    for text in ("00000001", " 0001 ", "00000000-0000", str(added.id).upper()):
        assert await tasks.find_id(text) == added.id
    assert await tasks.find_id(str(MISSING)) == MISSING
    with pytest.raises(NotFound):
        await tasks.find_id("ffff")
    for text in ("", "001", "g001", "０００１", "0" * 33):
        with pytest.raises(InvalidInput):
            await tasks.find_id(text)


async def test_find_id_names_a_few_of_many_candidates(tasks: TaskService) -> None:
    for _ in range(7):
        await tasks.add(title="t", assignee_user_id="U1", creator_user_id="U1")
    with pytest.raises(
        InvalidInput, match=r"stands for several tasks, such as .*; give more digits"
    ):
        await tasks.find_id("0000")


async def test_handoff_service_completes_once_and_hides_what_is_completed(
    handoffs: HandoffService,
) -> None:
    added = await handoffs.add(
        from_user_id="U1", to_user_id="U2", progress_note="p", handoff_at=NOW
    )
    assert added.created_at == NOW
    assert await handoffs.list_to("U2") == [added]
    assert (await handoffs.complete(added.id)).completed_at is not None
    assert await handoffs.list_to("U2") == []
    assert len(await handoffs.list_to("U2", completed=True)) == 1
    with pytest.raises(InvalidInput, match="completed before"):
        await handoffs.complete(added.id)
    with pytest.raises(NotFound):
        await handoffs.complete(MISSING)


async def test_handoff_service_refuses_a_task_that_is_not_there(handoffs: HandoffService) -> None:
    with pytest.raises(NotFound):
        await handoffs.add(
            from_user_id="U1", to_user_id="U2", progress_note="p", handoff_at=NOW, task_id=MISSING
        )


class FailsFrom(HashingEmbedder):
    """An embedder whose server goes down after so many requests."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.left = requests

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        if not self.left:
            raise EmbeddingFailed("the embedding server is down.")
        self.left -= 1
        return await super().embed(texts)


async def test_note_service_keeps_a_note_whose_vector_failed_and_catches_up(
    manager: DatabaseManager, clock: Clock
) -> None:
    embedder = FailsFrom(0)
    repository = PostgreSQLNoteRepository(manager, embedder)
    ids = numbered_ids()
    notes = NoteService(repository, new_id=lambda: next(ids), clock=clock)
    for number in range(5):
        await notes.add(user_id="U1", content=f"売上の記録 {number}")
    answer = await notes.search("売上", "U1")
    assert len(answer) == 5
    assert answer.skipped

    heard: list[tuple[int, int]] = []
    embedder.left = 2
    with pytest.raises(EmbeddingFailed):
        await embed_all_pending(repository, lambda *told: heard.append(told), batch=2)
    assert heard == [(0, 5), (2, 5), (4, 5)]
    embedder.left = 9
    assert await embed_all_pending(repository, batch=2) == 1
    assert await embed_all_pending(repository) == 0
    assert not (await notes.search("売上", "U1")).skipped


async def test_note_service_shows_lists_and_bounds(manager: DatabaseManager) -> None:
    ids = numbered_ids()
    notes = NoteService(PostgreSQLNoteRepository(manager, None), new_id=lambda: next(ids))
    added = await notes.add(user_id="U1", content="c", category="todos", session_id="s")
    assert await notes.show(added.id) == added
    assert await notes.find_id("0001") == added.id
    assert await notes.list_for("U1", "todos") == await notes.list_of_session("s") == [added]
    with pytest.raises(NotFound):
        await notes.show(MISSING)
    for limit in (0, -1, 1001):
        with pytest.raises(InvalidInput, match="limit"):
            await notes.list_for("U1", limit=limit)


async def test_session_service_prunes_and_shows(manager: DatabaseManager) -> None:
    repository = PostgreSQLSessionRepository(manager)
    sessions = SessionService(repository)
    recent = Session(id="recent", user_id="U1")
    long_ago = datetime.now(UTC) - timedelta(days=31)
    await repository.create(recent)
    await repository.create(Session(id="old", user_id="U1", last_active_at=long_ago))
    assert await sessions.prune() == 1
    assert await sessions.list_for("U1") == [await sessions.show("recent")]
    with pytest.raises(NotFound):
        await sessions.show("old")
    with pytest.raises(InvalidInput):
        await sessions.prune(0)
