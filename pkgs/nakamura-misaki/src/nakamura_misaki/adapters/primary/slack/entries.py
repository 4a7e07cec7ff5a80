"""The tasks and handoffs that a person may change, and the use cases as one event runs them.

Nobody reaches another's: a task can be changed by its assignee and its creator, a
handoff by its giver and its receiver. What an event creates gets the id and the time
that were reserved for it, so that an event worked on twice creates it once.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from nakamura_misaki.adapters.primary.slack.intents import TaskAction
from nakamura_misaki.adapters.primary.slack.wording import Trouble
from nakamura_misaki.application.handoffs import HandoffService
from nakamura_misaki.application.inbox import Event
from nakamura_misaki.application.notes import NoteService
from nakamura_misaki.application.tasks import TaskService
from nakamura_misaki.domain.errors import AlreadyExists, IllegalTransition, InvalidInput
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.task import Task, TaskStatus
from nakamura_misaki.infrastructure.di import Workspace

T = TypeVar("T", Task, Handoff)

_FULL_DIGITS = 32
_TARGETS = {
    TaskAction.START: TaskStatus.IN_PROGRESS,
    TaskAction.COMPLETE: TaskStatus.COMPLETED,
    TaskAction.REOPEN: TaskStatus.PENDING,
    TaskAction.CANCEL: TaskStatus.CANCELLED,
}


class Troubled(Exception):
    """What was asked for was not done, for a reason that the person can mend."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(trouble, detail)
        self.trouble = trouble
        self.detail = detail


class CantBecome(Exception):
    """The task's status does not allow it."""

    def __init__(self, status: TaskStatus, action: TaskAction) -> None:
        super().__init__(status, action)
        self.status = status
        self.action = action


class Entries:
    """One workspace's entries as ``user`` may see and change them, while ``event`` is worked on.

    Every method may raise StorageUnavailable; those that look for an entry raise Troubled.
    """

    def __init__(self, workspace: Workspace, event: Event, user: str) -> None:
        self._workspace = workspace
        self._event = event
        self._user = user

    @property
    def is_repeated(self) -> bool:
        """Whether an earlier attempt may have done all of it already."""
        return self._event.attempt > 1

    async def add_note(
        self, *, content: str, category: str | None = None, source: Mapping[str, str]
    ) -> Note:
        """A note of the user's; ``source`` says where in Slack it was written."""
        notes = NoteService(
            self._workspace.note_repository, new_id=self._id, clock=self._received_at
        )
        return await notes.add(
            user_id=self._user, content=content, category=category, metadata={"slack": dict(source)}
        )

    async def add_task(self, *, title: str, assignee: str | None, due_at: datetime | None) -> Task:
        tasks = TaskService(
            self._workspace.task_repository, new_id=self._id, clock=self._received_at
        )
        return await self._once(
            tasks.add(
                title=title,
                assignee_user_id=assignee or self._user,
                creator_user_id=self._user,
                due_at=due_at,
            ),
            self._workspace.task_repository.get,
        )

    async def add_handoff(
        self,
        *,
        to_user: str,
        progress_note: str,
        at: datetime,
        task_id: UUID | None,
        next_steps: str,
    ) -> Handoff:
        handoffs = HandoffService(
            self._workspace.handoff_repository, new_id=self._id, clock=self._received_at
        )
        return await self._once(
            handoffs.add(
                from_user_id=self._user,
                to_user_id=to_user,
                progress_note=progress_note,
                handoff_at=at,
                task_id=task_id,
                next_steps=next_steps,
            ),
            self._workspace.handoff_repository.get,
        )

    async def task(self, id_text: str) -> Task:
        """The task that the digits stand for, if the user may change it."""
        repository = self._workspace.task_repository
        return await self._only(
            id_text,
            await _ids(id_text, repository.find_ids),
            repository.get,
            lambda task: (task.assignee_user_id, task.creator_user_id),
            (Trouble.NO_TASK, Trouble.NOT_YOUR_TASK, Trouble.SEVERAL_TASKS),
        )

    async def handoff(self, id_text: str) -> Handoff:
        """The handoff that the digits stand for, if the user may complete it."""
        repository = self._workspace.handoff_repository
        return await self._only(
            id_text,
            await _ids(id_text, repository.find_ids),
            repository.get,
            lambda handoff: (handoff.from_user_id, handoff.to_user_id),
            (Trouble.NO_HANDOFF, Trouble.NOT_YOUR_HANDOFF, Trouble.SEVERAL_HANDOFFS),
        )

    async def change(self, task: Task, action: TaskAction) -> Task:
        """The task with its new status. Raises CantBecome."""
        if self.is_repeated and task.status is _TARGETS[action]:
            return task
        tasks = self._workspace.tasks
        change = {
            TaskAction.START: tasks.start,
            TaskAction.COMPLETE: tasks.complete,
            TaskAction.REOPEN: tasks.reopen,
            TaskAction.CANCEL: tasks.cancel,
        }[action]
        try:
            return await change(task.id)
        except IllegalTransition:
            present = await self._workspace.task_repository.get(task.id)
            raise CantBecome(task.status if present is None else present.status, action) from None

    async def complete_handoff(self, handoff: Handoff) -> Handoff:
        """The handoff, completed. Raises Troubled if it was before."""
        try:
            return await self._workspace.handoffs.complete(handoff.id)
        except InvalidInput:
            if self.is_repeated:
                return handoff
            raise Troubled(Trouble.HANDOFF_COMPLETED, handoff.id.hex[-8:]) from None

    def _id(self) -> UUID:
        return self._event.entity_id

    def _received_at(self) -> datetime:
        return self._event.received_at

    async def _once(self, creation: Awaitable[T], get: Callable[[UUID], Awaitable[T | None]]) -> T:
        try:
            return await creation
        except AlreadyExists:
            known = await get(self._event.entity_id)
            if known is None:
                raise
            return known

    async def _only(
        self,
        id_text: str,
        ids: Iterable[UUID],
        get: Callable[[UUID], Awaitable[T | None]],
        people: Callable[[T], tuple[str, str]],
        troubles: tuple[Trouble, Trouble, Trouble],
    ) -> T:
        none, not_yours, several = troubles
        found = [entry for entry in [await get(each) for each in ids] if entry is not None]
        yours = [entry for entry in found if self._user in people(entry)]
        if len(yours) == 1:
            return yours[0]
        if yours:
            raise Troubled(several, id_text)
        raise Troubled(not_yours if found else none, id_text)


async def _ids(id_text: str, find_ids: Callable[[str], Awaitable[list[UUID]]]) -> list[UUID]:
    digits = id_text.lower().replace("-", "")
    return [UUID(digits)] if len(digits) == _FULL_DIGITS else await find_ids(digits)
