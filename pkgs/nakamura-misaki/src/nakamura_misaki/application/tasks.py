"""What a team does with tasks."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from nakamura_misaki.application.lookup import find_id
from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.domain.repositories import TaskRepository
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.domain.task import Task, TaskStatus


def is_open(task: Task) -> bool:
    """Whether the task is still to be done."""
    return task.status in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)


class TaskService:
    """Use cases of tasks. Every method may raise StorageUnavailable."""

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

    async def list_for(self, user_id: str, status: str | None = None) -> list[Task]:
        """The user's tasks, earliest due first. Raises InvalidInput for an unknown status."""
        if status is not None:
            TaskStatus.parse(status)
        return await self._tasks.list_by_user(user_id, status)

    async def list_open(self, user_id: str) -> list[Task]:
        """The user's tasks that are still to be done, earliest due first."""
        return [task for task in await self._tasks.list_by_user(user_id) if is_open(task)]

    async def list_due_today(self, user_id: str) -> list[Task]:
        """The user's open tasks that are due today in the team's time zone."""
        return await self._tasks.list_due_today(user_id)

    async def find_id(self, text: str) -> UUID:
        """The id that the text stands for. Raises InvalidInput or NotFound."""
        return await find_id(text, self._tasks, "task")

    async def show(self, task_id: UUID) -> Task:
        """The task. Raises NotFound."""
        task = await self._tasks.get(task_id)
        if task is None:
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

    async def delete(self, task_id: UUID) -> Task:
        """Delete the task and its handoffs; gives back what it was. Raises NotFound."""
        task = await self.show(task_id)
        await self._tasks.delete(task_id)
        return task
