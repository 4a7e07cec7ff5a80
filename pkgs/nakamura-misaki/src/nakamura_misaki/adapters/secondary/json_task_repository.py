"""Tasks in a JSON file: what ``STORAGE_BACKEND=json`` runs on."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_paging import page
from nakamura_misaki.adapters.secondary.json_store import JsonStore, ids_with
from nakamura_misaki.adapters.secondary.legacy_layout import HANDOFFS_FILE, TASKS_FILE
from nakamura_misaki.adapters.secondary.legacy_times import LOCAL_ZONE
from nakamura_misaki.adapters.secondary.legacy_work import read_task, task_entry
from nakamura_misaki.domain.errors import (
    AlreadyExists,
    IllegalTransition,
    InvalidInput,
    NotFound,
)
from nakamura_misaki.domain.repositories import Place, WriteCount
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.domain.task import Task, TaskStatus

_OPEN = (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)


class JsonTaskRepository:
    """The port ``TaskRepository`` over ``tasks.json``."""

    def __init__(
        self,
        directory: Path,
        *,
        time_zone: tzinfo = LOCAL_ZONE,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = JsonStore(directory)
        self._time_zone = time_zone
        self._clock = clock

    async def create(self, task: Task) -> Task:
        def create() -> Task:
            entries = self._entries()
            if str(task.id) in entries:
                raise AlreadyExists(f"There is a task {task.id} already.")
            self._save(entries, task)
            return task

        return await self._store.write(create)

    async def get(self, task_id: UUID) -> Task | None:
        return await self._store.read(lambda: _find(self._entries(), task_id))

    async def update(self, task: Task, *, seen: Task | None = None) -> Task:
        def update() -> Task:
            entries = self._entries()
            stored = _find(entries, task.id)
            if stored is None:
                raise NotFound(f"There is no task {task.id}.")
            if stored.status != task.status and stored.status not in task.status.predecessors():
                raise IllegalTransition(
                    f"a task that is {stored.status} can't become {task.status}."
                )
            if seen is not None and stored.updated_at != seen.updated_at:
                raise IllegalTransition("The task was changed by somebody else meanwhile.")
            self._save(entries, task)
            return task

        return await self._store.write(update)

    async def delete(self, task_id: UUID) -> None:
        def delete() -> None:
            entries = self._entries()
            key = str(task_id)
            if key not in entries:
                return
            handoffs, _ = self._store.load_object(HANDOFFS_FILE)
            kept = {
                handoff_id: entry
                for handoff_id, entry in handoffs.items()
                if not isinstance(entry, dict) or entry.get("task_id") != key
            }
            # The handoffs first: they can be without a task, but not with one that is gone.
            if len(kept) < len(handoffs):
                self._store.save(HANDOFFS_FILE, kept)
            del entries[key]
            self._store.save(TASKS_FILE, entries)

        await self._store.write(delete)

    async def list_by_user(
        self,
        user_id: str,
        status: str | None = None,
        *,
        only_open: bool = False,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        wanted = None if status is None else TaskStatus.parse(status)
        tasks = [
            task
            for task in await self._by_due_time()
            if task.assignee_user_id == user_id
            and wanted in (None, task.status)
            and (not only_open or task.status in _OPEN)
        ]
        return page(tasks, limit, after and (lambda task: _order(task) > _ordered(after)))

    async def list_due_today(
        self,
        user_id: str,
        status: str | None = None,
        *,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        today = self._clock().astimezone(self._time_zone).date()
        tasks = [
            task
            for task in await self.list_by_user(user_id, status, only_open=True)
            if task.due_at is not None and task.due_at.astimezone(self._time_zone).date() == today
        ]
        return page(tasks, limit, after and (lambda task: _order(task) > _ordered(after)))

    async def create_many(self, tasks: Iterable[Task]) -> WriteCount:
        given = list(tasks)

        def create_many() -> WriteCount:
            entries = self._entries()
            stored = {task.id: task for task in _tasks(entries)}
            new, updated = set[UUID](), set[UUID]()
            for task in given:
                known = stored.get(task.id)
                if known is None:
                    new.add(task.id)
                elif task.updated_at <= known.updated_at:
                    continue
                elif task.id not in new:
                    updated.add(task.id)
                stored[task.id] = task
            for task_id in new | updated:
                entries[str(task_id)] = task_entry(stored[task_id])
            if new or updated:
                self._store.save(TASKS_FILE, dict(sorted(entries.items())))
            return WriteCount(len(new), len(updated), len(given) - len(new) - len(updated))

        return await self._store.write(create_many)

    async def find_ids(self, digits: str) -> list[UUID]:
        return ids_with(digits, [task.id for task in await self._all()])

    async def stream(self) -> AsyncIterator[Task]:
        for task in sorted(await self._all(), key=lambda task: task.id):
            yield task

    async def _all(self) -> list[Task]:
        return await self._store.read(lambda: _tasks(self._entries()))

    async def _by_due_time(self) -> list[Task]:
        return sorted(await self._all(), key=_order)

    def _entries(self) -> dict[str, Any]:
        return self._store.load_object(TASKS_FILE)[0]

    def _save(self, entries: dict[str, Any], task: Task) -> None:
        entries[str(task.id)] = task_entry(task)
        self._store.save(TASKS_FILE, entries)


def _order(task: Task) -> tuple[bool, datetime, UUID]:
    return _ordered(Place(task.due_at, task.id))


def _ordered(place: Place[UUID]) -> tuple[bool, datetime, UUID]:
    return place.time is None, place.time or datetime.max.replace(tzinfo=UTC), place.id


def _find(entries: dict[str, Any], task_id: UUID) -> Task | None:
    key = str(task_id)
    return read_task(entries[key], key) if key in entries else None


def _tasks(entries: dict[str, Any]) -> list[Task]:
    """The entries that are tasks; others are left alone where they stand."""
    tasks = []
    for key, entry in entries.items():
        try:
            tasks.append(read_task(entry, key))
        except InvalidInput:
            continue
    return tasks
