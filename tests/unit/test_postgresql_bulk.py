"""Bulk writes: what is new goes in fast, and what another writer does meanwhile is respected."""

import asyncio
import random
from array import array
from dataclasses import replace
from uuid import uuid4

import pytest

from database_server import connect
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import StoredEmbedding, WriteCount
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.domain.task import Task
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.vector_codec import encode_halfvec, encode_halfvecs


def some_tasks(number: int) -> list[Task]:
    return [
        Task(id=uuid4(), title=f"task {n}", assignee_user_id="U1", creator_user_id="U2")
        for n in range(number)
    ]


async def test_task_written_meanwhile_by_another_is_merged(
    manager: DatabaseManager, owner_url: str
) -> None:
    tasks = PostgreSQLTaskRepository(manager)
    known, *new = some_tasks(3)
    other = await connect(owner_url)
    begun = other.transaction()
    await begun.start()
    await other.execute(
        "INSERT INTO tasks (workspace_id, id, title, assignee_user_id, creator_user_id, status,"
        " created_at, updated_at) VALUES ('default', $1, 'first', 'U1', 'U2', 'pending', $2, $2)",
        known.id,
        known.updated_at,
    )
    writing = asyncio.create_task(tasks.create_many([known, *new]))
    looking = await connect(owner_url)
    while not await looking.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ):
        assert not writing.done()
        await asyncio.sleep(0.01)
    await begun.commit()
    assert await writing == WriteCount(new=2, updated=0, known=1)
    stored = await tasks.get(known.id)
    assert stored is not None
    assert stored.title == "first"
    await looking.close()
    await other.close()


async def test_writers_of_the_same_tasks_agree(manager: DatabaseManager) -> None:
    tasks = PostgreSQLTaskRepository(manager)
    same = some_tasks(300)
    counts = await asyncio.gather(*(tasks.create_many(same) for _ in range(4)))
    assert sum(count.new for count in counts) == 300
    assert sum(count.known for count in counts) == 900
    assert sorted(await tasks.list_by_user("U1"), key=lambda t: t.id) == sorted(
        same, key=lambda t: t.id
    )


async def test_some_known_and_some_new(manager: DatabaseManager) -> None:
    tasks = PostgreSQLTaskRepository(manager)
    old, stale, new = some_tasks(3)
    assert await tasks.create_many([old, stale]) == WriteCount(new=2)
    moved = stale.start()
    twice = replace(new, title="newest", updated_at=utc_now())
    assert await tasks.create_many([old, moved, new, twice]) == WriteCount(1, 1, 2)
    assert await tasks.get(stale.id) == moved
    assert await tasks.get(new.id) == twice


async def test_new_handoffs_of_unknown_tasks_stay_out(manager: DatabaseManager) -> None:
    handoffs = PostgreSQLHandoffRepository(manager)
    one, orphan = (
        Handoff(
            id=uuid4(),
            task_id=task_id,
            from_user_id="U1",
            to_user_id="U2",
            progress_note="half done",
            handoff_at=utc_now(),
        )
        for task_id in (None, uuid4())
    )
    assert (await handoffs.create_many([one, orphan])).new == 1
    assert await handoffs.list_by_to_user("U2") == [one]


async def test_stored_entities_equal_what_was_stored(manager: DatabaseManager) -> None:
    """Rows become entities without passing the rules again."""
    tasks = PostgreSQLTaskRepository(manager)
    pending = some_tasks(1)[0]
    for task in (pending, pending.start(), pending.start().complete(), pending.cancel()):
        task = replace(task, id=uuid4(), due_at=utc_now(), description="説明")
        await tasks.create(task)
        stored = await tasks.get(task.id)
        assert stored == task
        assert stored is not None
        assert type(stored.status) is type(task.status)
        assert hash(stored) == hash(task)


@pytest.mark.parametrize("dimensions", [1, 3, 1536])
def test_many_vectors_are_encoded_as_each_is(dimensions: int) -> None:
    numbers = random.Random(dimensions)
    lists = [[numbers.gauss(0, 0.1) for _ in range(dimensions)] for _ in range(20)]
    lists.append([0.0, -0.0, 1e-8, 65504.0, -65504.0, 6e-8, 0.1, 1 / 3][:dimensions])
    arrays = [array("f", vector) for vector in lists]
    assert encode_halfvecs(lists) == [encode_halfvec(vector) for vector in lists]
    assert encode_halfvecs(arrays) == [encode_halfvec(vector) for vector in arrays]
    assert encode_halfvec(encode_halfvec(arrays[0])) == encode_halfvec(arrays[0])


@pytest.mark.parametrize("wrong", [1e6, float("inf"), float("nan")])
async def test_number_that_no_half_can_hold_is_refused(
    manager: DatabaseManager, wrong: float
) -> None:
    notes = PostgreSQLNoteRepository(manager, None)
    note = await notes.save(Note(id=uuid4(), user_id="U1", content="one"))
    for vector in (array("f", [1.0, wrong]), [1.0, wrong]):
        with pytest.raises(InvalidInput):
            await notes.store_embeddings([StoredEmbedding(note.id, "model", vector)])
    assert [stored async for stored in notes.stream_embeddings()] == []


async def test_longest_vectors_are_staged(manager: DatabaseManager) -> None:
    notes = PostgreSQLNoteRepository(manager, None)
    note = await notes.save(Note(id=uuid4(), user_id="U1", content="one"))
    vector = array("f", [0.25] * 3900)
    assert await notes.store_embeddings([StoredEmbedding(note.id, "model", vector)]) == 1
    assert [stored.embedding async for stored in notes.stream_embeddings()] == [vector]
