"""A task: something one person is to do, perhaps by a certain time."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from nakamura_misaki.domain.errors import IllegalTransition, InvalidInput
from nakamura_misaki.domain.rules import (
    MAX_TITLE_CHARACTERS,
    require_aware,
    require_line,
    require_text,
    utc_now,
)


class TaskStatus(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @classmethod
    def parse(cls, value: str) -> "TaskStatus":
        """The status of that name. Raises InvalidInput for any other text."""
        try:
            return cls(value)
        except ValueError:
            known = ", ".join(cls)
            raise InvalidInput(f"{value!r} is no task status; there are {known}.") from None

    def predecessors(self) -> frozenset["TaskStatus"]:
        """The statuses from which a task may come to this one."""
        return frozenset(old for old, new in _TRANSITIONS if new is self)


_TRANSITIONS = frozenset(
    {
        (TaskStatus.PENDING, TaskStatus.IN_PROGRESS),
        (TaskStatus.PENDING, TaskStatus.COMPLETED),
        (TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED),
        (TaskStatus.IN_PROGRESS, TaskStatus.PENDING),
        *((status, TaskStatus.CANCELLED) for status in TaskStatus if status != "cancelled"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task of one assignee. All datetimes are timezone-aware.

    ``completed_at`` is set exactly while the status is ``completed``. Raises
    InvalidInput when built from values that break a rule.
    """

    id: UUID
    title: str
    assignee_user_id: str
    creator_user_id: str
    description: str = ""
    status: TaskStatus = TaskStatus.PENDING
    due_at: datetime | None = None
    completed_at: datetime | None = None
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        if not isinstance(self.id, UUID):
            raise InvalidInput(f"a task's id must be a UUID, not {type(self.id).__name__}.")
        require_line(self.title, "a task's title", max_characters=MAX_TITLE_CHARACTERS)
        require_line(self.assignee_user_id, "a task's assignee")
        require_line(self.creator_user_id, "a task's creator")
        require_text(self.description, "a task's description")
        if type(self.status) is not TaskStatus:
            object.__setattr__(self, "status", TaskStatus.parse(self.status))
        require_aware(self.created_at, "a task's creation time")
        require_aware(self.updated_at, "a task's update time")
        if self.due_at is not None:
            require_aware(self.due_at, "a task's due time")
        if self.completed_at is not None:
            require_aware(self.completed_at, "a task's completion time")
        if (self.completed_at is not None) is not (self.status is TaskStatus.COMPLETED):
            raise InvalidInput("a task has a completion time exactly when it is completed.")

    def start(self, at: datetime | None = None) -> "Task":
        """The task in progress. Raises IllegalTransition unless it was pending."""
        return self._moved(TaskStatus.IN_PROGRESS, at)

    def reopen(self, at: datetime | None = None) -> "Task":
        """The task pending again. Raises IllegalTransition unless it was in progress."""
        return self._moved(TaskStatus.PENDING, at)

    def complete(self, at: datetime | None = None) -> "Task":
        """The task completed ``at`` (default: now). Raises IllegalTransition if it had ended."""
        return self._moved(TaskStatus.COMPLETED, at)

    def cancel(self, at: datetime | None = None) -> "Task":
        """The task cancelled. Raises IllegalTransition if it was cancelled before."""
        return self._moved(TaskStatus.CANCELLED, at)

    def _moved(self, status: TaskStatus, at: datetime | None) -> "Task":
        if (self.status, status) not in _TRANSITIONS:
            raise IllegalTransition(f"a task that is {self.status} can't become {status}.")
        now = at or utc_now()
        completed_at = now if status is TaskStatus.COMPLETED else None
        return replace(self, status=status, completed_at=completed_at, updated_at=now)
