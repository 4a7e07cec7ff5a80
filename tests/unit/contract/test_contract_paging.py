"""Lists in pages: whatever the backend, each entry once, in the order of the whole list."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import pytest

from nakamura_misaki.domain.errors import IllegalTransition, InvalidInput
from nakamura_misaki.domain.repositories import Place
from nakamura_misaki.domain.task import TaskStatus
from repository_backend import NOON, Backend, handoff, note, session, task

T = TypeVar("T")
STEPS = [timedelta(microseconds=n) for n in (0, 0, 0, 1, 2, 2, 3)]
"""Times with many equal ones among them, a microsecond apart."""


async def in_pages(
    fetch: Callable[[Place[Any] | None], Awaitable[list[T]]], place: Callable[[T], Place[Any]]
) -> list[T]:
    """All pages after one another; ``fetch`` gives the page behind a place."""
    found: list[T] = []
    after = None
    while page := await fetch(after):
        found += page
        after = place(page[-1])
    return found


def scattered_id(random: Random) -> UUID:
    """An id whose order tells nothing of the order of creation."""
    return UUID(int=random.getrandbits(128), version=4)


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_tasks_in_pages_are_the_whole_list(backend: Backend, limit: int) -> None:
    random = Random(limit)
    dues = [*(NOON + step for step in STEPS), None, None, None]
    statuses = ["pending", "in_progress", "cancelled"]
    await backend.tasks.create_many(
        task(id=scattered_id(random), due_at=due, status=random.choice(statuses))
        for due in dues
        for _ in range(2)
    )
    await backend.tasks.create(task("another's", assignee_user_id="U9"))
    for status, only_open in ((None, False), (None, True), ("pending", False), ("cancelled", True)):
        whole = await backend.tasks.list_by_user("U1", status, only_open=only_open)
        paged = await in_pages(
            lambda after, status=status, only_open=only_open: backend.tasks.list_by_user(
                "U1", status, only_open=only_open, limit=limit, after=after
            ),
            lambda each: Place(each.due_at, each.id),
        )
        assert paged == whole
    everything = await backend.tasks.list_by_user("U1")
    assert [each.due_at is None for each in everything] == [False] * 14 + [True] * 6
    assert await backend.tasks.list_by_user("U1", only_open=True) == [
        each for each in everything if each.status != "cancelled"
    ]
    assert await backend.tasks.list_by_user("U1", "cancelled", only_open=True) == []


async def test_tasks_due_today_in_pages_are_the_whole_list(backend: Backend) -> None:
    random = Random(1)
    await backend.tasks.create_many(
        task(id=scattered_id(random), due_at=NOON + step, status=status)
        for step in (*STEPS, timedelta(days=-1), timedelta(days=1))
        for status in ("pending", "in_progress", "cancelled")
    )
    for status, count in ((None, 14), (TaskStatus.PENDING, 7), ("cancelled", 0)):
        whole = await backend.tasks.list_due_today("U1", status)
        assert len(whole) == count
        paged = await in_pages(
            lambda after, status=status: backend.tasks.list_due_today(
                "U1", status, limit=4, after=after
            ),
            lambda each: Place(each.due_at, each.id),
        )
        assert paged == whole


@pytest.mark.parametrize("completed", [None, True, False])
async def test_handoffs_in_pages_are_the_whole_list(
    backend: Backend, completed: bool | None
) -> None:
    random = Random(2)
    await backend.handoffs.create_many(
        handoff(id=scattered_id(random), handoff_at=NOON + step, completed_at=done)
        for step in STEPS
        for done in (None, NOON)
    )
    whole = await backend.handoffs.list_by_to_user("U2", completed=completed)
    assert len(whole) == (14 if completed is None else 7)
    assert completed is None or all((each.completed_at is not None) is completed for each in whole)
    paged = await in_pages(
        lambda after: backend.handoffs.list_by_to_user(
            "U2", completed=completed, limit=4, after=after
        ),
        lambda each: Place(each.handoff_at, each.id),
    )
    assert paged == whole


async def test_notes_in_pages_are_the_whole_list(backend: Backend) -> None:
    random = Random(3)
    await backend.notes.save_many(
        note(
            "x", id=scattered_id(random), created_at=NOON + step, category=category, session_id="s"
        )
        for step in STEPS
        for category in ("errors", None)
    )
    theirs = await backend.notes.save(note("y", user_id="U9", session_id="s", created_at=NOON))
    for category, count in ((None, 14), ("errors", 7), ("todos", 0)):
        whole = await backend.notes.list_by_user("U1", category)
        assert len(whole) == count
        paged = await in_pages(
            lambda after, category=category: backend.notes.list_by_user(
                "U1", category, 4, after=after
            ),
            lambda each: Place(each.created_at, each.id),
        )
        assert paged == whole
    for user_id in (None, "U1", "U9"):
        whole = await backend.notes.list_by_session("s", user_id=user_id)
        assert (theirs in whole) is (user_id != "U1")
        paged = await in_pages(
            lambda after, user_id=user_id: backend.notes.list_by_session(
                "s", user_id=user_id, limit=4, after=after
            ),
            lambda each: Place(each.created_at, each.id),
        )
        assert paged == whole


async def test_sessions_in_pages_are_the_whole_list(backend: Backend) -> None:
    await backend.sessions.create_many(
        session(f"s{n}", last_active_at=NOON + step) for n, step in enumerate(STEPS * 2)
    )
    whole = await backend.sessions.list_by_user("U1")
    assert len(whole) == 14
    paged = await in_pages(
        lambda after: backend.sessions.list_by_user("U1", limit=4, after=after),
        lambda each: Place(each.last_active_at, each.id),
    )
    assert paged == whole


@pytest.mark.parametrize("limit", [0, 1001, True])
async def test_limit_that_is_none_is_refused(backend: Backend, limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        await backend.tasks.list_by_user("U1", limit=limit)
    with pytest.raises(InvalidInput, match="limit"):
        await backend.tasks.list_due_today("U1", limit=limit)
    with pytest.raises(InvalidInput, match="limit"):
        await backend.handoffs.list_by_to_user("U1", limit=limit)
    with pytest.raises(InvalidInput, match="limit"):
        await backend.notes.list_by_session("s", limit=limit)
    with pytest.raises(InvalidInput, match="limit"):
        await backend.sessions.list_by_user("U1", limit=limit)


async def test_task_that_was_changed_since_it_was_read_is_not_overwritten(
    backend: Backend,
) -> None:
    seen = await backend.tasks.create(task())
    first = replace(seen, title="first", updated_at=seen.updated_at + timedelta(seconds=1))
    assert await backend.tasks.update(first, seen=seen) == first
    second = replace(seen, due_at=NOON, updated_at=seen.updated_at + timedelta(seconds=2))
    with pytest.raises(IllegalTransition, match="meanwhile"):
        await backend.tasks.update(second, seen=seen)
    assert await backend.tasks.get(seen.id) == first
