"""What every repository of tasks and handoffs must do, whatever it stores in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from nakamura_misaki.domain.errors import AlreadyExists, IllegalTransition, InvalidInput, NotFound
from nakamura_misaki.domain.repositories import (
    WriteCount,
)
from nakamura_misaki.domain.task import TaskStatus
from repository_backend import NOON, TOKYO, Backend, handoff, task


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
