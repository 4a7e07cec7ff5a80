"""What a team does with tasks."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from nakamura_misaki.application.lookup import find_id
from nakamura_misaki.domain.errors import IllegalTransition, NotFound
from nakamura_misaki.domain.repositories import Place, TaskRepository
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.domain.task import Task, TaskStatus


def is_open(task: Task) -> bool:
    """Whether the task is still to be done."""
    return task.status in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)


def concerns(task: Task, user_id: str | None) -> bool:
    """Whether the task is that user's to see: who does it, or who made it. None: everybody."""
    return user_id in (None, task.assignee_user_id, task.creator_user_id)


class TaskChanges(TypedDict, total=False):
    """New values; what is left out stays as it is."""

    title: str
    description: str
    assignee_user_id: str
    due_at: datetime | None
    status: TaskStatus


_CHANGE_AGAIN = 12
"""How often a change is begun anew because somebody else's came in between."""

_CHANGE_PAUSE = 0.01
"""Seconds by which the random pause before that grows, so that many at once do not keep meeting."""


class TaskService:
    """Use cases of tasks. Every method may raise StorageUnavailable.

    Where ``as_user`` is given, a task that does not concern that user is not there.
    """

    def __init__(
        self,
        tasks: TaskRepository,
        *,
        new_id: Callable[[], UUID],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tasks = tasks
        self._new_id = new_id
        self._clock = clock

    async def add(
        self,
        *,
        title: str,
        assignee_user_id: str,
        creator_user_id: str,
        description: str = "",
        due_at: datetime | None = None,
    ) -> Task:
        """Create a pending task. Raises InvalidInput when a value breaks a rule."""
        now = self._clock()
        return await self._tasks.create(
            Task(
                id=self._new_id(),
                title=title,
                assignee_user_id=assignee_user_id,
                creator_user_id=creator_user_id,
                description=description,
                due_at=due_at,
                created_at=now,
                updated_at=now,
            )
        )

    async def list_for(
        self,
        user_id: str,
        status: str | None = None,
        *,
        only_open: bool = False,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        """The user's tasks, earliest due first, a page of them. Raises InvalidInput for an unknown status."""
        if status is not None:
            TaskStatus.parse(status)
        return await self._tasks.list_by_user(
            user_id, status, only_open=only_open, limit=limit, after=after
        )

    async def list_open(self, user_id: str) -> list[Task]:
        """The user's tasks that are still to be done, earliest due first."""
        return await self._tasks.list_by_user(user_id, only_open=True)

    async def list_due_today(
        self,
        user_id: str,
        status: str | None = None,
        *,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        """The user's open tasks that are due today in the team's time zone, a page of them."""
        return await self._tasks.list_due_today(user_id, status, limit=limit, after=after)

    async def find_id(self, text: str) -> UUID:
        """The id that the text stands for. Raises InvalidInput or NotFound."""
        return await find_id(text, self._tasks, "task")

    async def show(self, task_id: UUID, *, as_user: str | None = None) -> Task:
        """The task. Raises NotFound."""
        task = await self._tasks.get(task_id)
        if task is None or not concerns(task, as_user):
            raise NotFound(f"there is no task {task_id}.")
        return task

    async def start(self, task_id: UUID) -> Task:
        """Put the task in progress. Raises NotFound or IllegalTransition."""
        return await self._tasks.update((await self.show(task_id)).start(self._clock()))

    async def reopen(self, task_id: UUID) -> Task:
        """Put a task in progress back to pending. Raises NotFound or IllegalTransition."""
        return await self._tasks.update((await self.show(task_id)).reopen(self._clock()))

    async def complete(self, task_id: UUID) -> Task:
        """Complete the task now. Raises NotFound or IllegalTransition."""
        return await self._tasks.update((await self.show(task_id)).complete(self._clock()))

    async def cancel(self, task_id: UUID) -> Task:
        """Cancel the task. Raises NotFound or IllegalTransition."""
        return await self._tasks.update((await self.show(task_id)).cancel(self._clock()))

    async def change(
        self, task_id: UUID, changes: TaskChanges, *, as_user: str | None = None
    ) -> Task:
        """Change what is given and nothing else, also when others change the task at once.

        The status it has already is no change. Raises NotFound, InvalidInput,
        IllegalTransition.
        """
        from asyncio import sleep  # which takes as long to import as the rest of a command's help

        for attempt in range(1, _CHANGE_AGAIN):
            seen = await self.show(task_id, as_user=as_user)
            changed = _changed(seen, changes, self._clock())
            if changed is seen:
                return seen
            try:
                return await self._tasks.update(changed, seen=seen)
            except IllegalTransition:
                # Somebody was faster: whether it still may be is seen on what is there now.
                await sleep(random.uniform(0, attempt * _CHANGE_PAUSE))  # noqa: S311  (nobody gains from guessing it)
        seen = await self.show(task_id, as_user=as_user)
        return await self._tasks.update(_changed(seen, changes, self._clock()), seen=seen)

    async def delete(self, task_id: UUID, *, as_user: str | None = None) -> Task:
        """Delete the task and its handoffs; gives back what it was. Raises NotFound."""
        task = await self.show(task_id, as_user=as_user)
        await self._tasks.delete(task_id)
        return task


def _changed(task: Task, changes: TaskChanges, now: datetime) -> Task:
    """The task with the changes; itself if they change nothing. Raises InvalidInput, IllegalTransition."""
    values: dict[str, Any] = {
        name: value for name, value in changes.items() if getattr(task, name) != value
    }
    status = values.pop("status", None)
    if values:
        task = replace(task, **values, updated_at=now)
    match status:
        case TaskStatus.PENDING:
            return task.reopen(now)
        case TaskStatus.IN_PROGRESS:
            return task.start(now)
        case TaskStatus.COMPLETED:
            return task.complete(now)
        case TaskStatus.CANCELLED:
            return task.cancel(now)
    return task
