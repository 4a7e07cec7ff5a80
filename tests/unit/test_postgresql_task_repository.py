"""Tasks in PostgreSQL: the plan's tests, and what only the database can show."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.errors import AlreadyExists, IllegalTransition
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.task import Task, TaskStatus
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

TOKYO = ZoneInfo("Asia/Tokyo")


def a_task(title: str = "API統合テスト", **fields: object) -> Task:
    values = {"id": uuid4(), "assignee_user_id": "U1", "creator_user_id": "U2", **fields}
    return Task(title=title, **values)


@pytest.fixture
def tasks(manager: DatabaseManager) -> PostgreSQLTaskRepository:
    return PostgreSQLTaskRepository(manager)


async def test_create_task(tasks: PostgreSQLTaskRepository, manager: DatabaseManager) -> None:
    task = await tasks.create(a_task())
    row = await manager.run(lambda c: c.fetchrow("SELECT * FROM tasks"))
    assert (row["workspace_id"], row["id"], row["title"]) == ("default", task.id, task.title)


async def test_get_task(tasks: PostgreSQLTaskRepository) -> None:
    task = await tasks.create(a_task())
    assert await tasks.get(task.id) == task


async def test_update_task(tasks: PostgreSQLTaskRepository) -> None:
    task = await tasks.create(a_task())
    done = await tasks.update(task.start().complete())
    stored = await tasks.get(task.id)
    assert stored == done
    assert stored.status is TaskStatus.COMPLETED
    assert stored.completed_at is not None


async def test_delete_task(tasks: PostgreSQLTaskRepository) -> None:
    task = await tasks.create(a_task())
    await tasks.delete(task.id)
    assert await tasks.get(task.id) is None


async def test_list_by_user(tasks: PostgreSQLTaskRepository) -> None:
    undated = await tasks.create(a_task())
    dated = await tasks.create(a_task(due_at=datetime(2026, 10, 7, tzinfo=TOKYO)))
    assert await tasks.list_by_user("U1", None) == [dated, undated]
    assert await tasks.list_by_user("U1", "completed") == []


async def test_list_due_today(manager: DatabaseManager) -> None:
    noon = datetime(2026, 10, 7, 12, tzinfo=TOKYO)
    tasks = PostgreSQLTaskRepository(manager, clock=lambda: noon)
    due = await tasks.create(a_task(due_at=noon + timedelta(hours=11)))
    await tasks.create(a_task(due_at=noon + timedelta(hours=12)))
    assert await tasks.list_due_today("U1") == [due]


async def test_two_writers_can_not_both_move_a_task(tasks: PostgreSQLTaskRepository) -> None:
    task = await tasks.create(a_task())
    results = await asyncio.gather(
        *(tasks.update(move()) for move in (task.cancel, task.start, task.complete) * 3),
        return_exceptions=True,
    )
    stored = await tasks.get(task.id)
    assert stored is not None
    unexpected = [r for r in results if not isinstance(r, Task | IllegalTransition)]
    assert unexpected == []
    assert stored in results


async def test_create_whose_answer_was_lost_is_not_taken_for_a_duplicate(
    tasks: PostgreSQLTaskRepository, manager: DatabaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = asyncpg.Connection.execute
    calls = 0

    async def commit_and_lose_the_answer(self: asyncpg.Connection, *args: object) -> object:
        nonlocal calls
        result = await execute(self, *args)
        if str(args[0]).startswith("INSERT INTO tasks"):
            calls += 1
            if calls == 1:
                raise ConnectionResetError("the network went away")
        return result

    monkeypatch.setattr(asyncpg.Connection, "execute", commit_and_lose_the_answer)
    task = a_task()
    assert await tasks.create(task) == task
    assert await tasks.get(task.id) == task
    with pytest.raises(AlreadyExists):
        await tasks.create(replace(task, title="another"))


async def test_reminder_marked_by_a_lost_attempt_is_this_callers(
    manager: DatabaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    handoffs = PostgreSQLHandoffRepository(manager)
    handoff = await handoffs.create(
        Handoff(
            id=uuid4(),
            from_user_id="U1",
            to_user_id="U2",
            progress_note="半分",
            handoff_at=datetime(2026, 10, 7, tzinfo=TOKYO),
        )
    )
    fetchval = asyncpg.Connection.fetchval
    lost = False

    async def commit_and_lose_the_answer(self: asyncpg.Connection, *args: object) -> object:
        nonlocal lost
        result = await fetchval(self, *args)
        if not lost and "UPDATE handoffs" in str(args[0]):
            lost = True
            raise ConnectionResetError("the network went away")
        return result

    monkeypatch.setattr(asyncpg.Connection, "fetchval", commit_and_lose_the_answer)
    assert await handoffs.mark_reminded(handoff.id) is True
    assert await handoffs.mark_reminded(handoff.id) is False


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "done"),
        ("title", "  "),
        ("completed_at", datetime(2026, 10, 7, tzinfo=TOKYO)),
    ],
)
async def test_the_database_holds_the_rules_too(
    tasks: PostgreSQLTaskRepository, manager: DatabaseManager, column: str, value: object
) -> None:
    task = await tasks.create(a_task())
    async with manager.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"UPDATE tasks SET {column} = $1", value)
    assert await tasks.get(task.id) == task


async def test_uuid_comes_back_as_a_uuid(tasks: PostgreSQLTaskRepository) -> None:
    task = await tasks.create(a_task())
    stored = await tasks.get(task.id)
    assert stored is not None
    assert isinstance(stored.id, UUID)
