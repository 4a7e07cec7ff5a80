"""What a message to the assistant asks for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from nakamura_misaki.application.time_expressions import FoundTime

Language = Literal["ja", "en"]


class TaskAction(StrEnum):
    """What is to become of a task."""

    START = "start"
    COMPLETE = "complete"
    REOPEN = "reopen"
    CANCEL = "cancel"


class Command(StrEnum):
    """A command that something may be missing from."""

    ADD_NOTE = "add_note"
    ADD_TASK = "add_task"
    CHANGE_TASK = "change_task"
    DELETE_TASK = "delete_task"
    ADD_HANDOFF = "add_handoff"
    COMPLETE_HANDOFF = "complete_handoff"


class Missing(StrEnum):
    """What a command lacks: the closed vocabulary of Incomplete."""

    TITLE = "title"
    CONTENT = "content"
    PERSON = "person"
    TIME = "time"
    UNREADABLE_TIME = "unreadable_time"
    ID = "id"
    BAD_ID = "bad_id"


@dataclass(frozen=True, slots=True)
class Ask:
    """Words to search the asker's notes for."""

    question: str


@dataclass(frozen=True, slots=True)
class AddNote:
    """A note to keep, as written. A category that has no name of ours stays as written, too."""

    content: str
    category: str | None = None


@dataclass(frozen=True, slots=True)
class AddTask:
    """A task to add, on one line. No assignee: it is the writer's own.

    The places in ``due`` are those in the words it was read from.
    """

    title: str
    due: FoundTime | None = None
    assignee_user_id: str | None = None


class Span(StrEnum):
    """Which open tasks to list: all, or those due by the end of today (overdue ones too), on the
    day after, or from today to the end of the week (Sunday).
    """

    ALL = "all"
    TODAY = "today"
    TOMORROW = "tomorrow"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class ListTasks:
    """The writer's open tasks of a span of time."""

    span: Span = Span.ALL


@dataclass(frozen=True, slots=True)
class ChangeTask:
    """A task's next status. ``id_text`` is 4 to 32 hexadecimal digits or a UUID, in lower case."""

    id_text: str
    action: TaskAction


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """A task to delete, once that is confirmed."""

    id_text: str


@dataclass(frozen=True, slots=True)
class AddHandoff:
    """Work to hand over. The places in ``at`` are those in the words it was read from."""

    progress_note: str
    to_user_id: str
    at: FoundTime
    task_id_text: str | None = None
    next_steps: str = ""


@dataclass(frozen=True, slots=True)
class ListHandoffs:
    """What is handed over to the writer."""


@dataclass(frozen=True, slots=True)
class CompleteHandoff:
    """A handoff that took place."""

    id_text: str


@dataclass(frozen=True, slots=True)
class Help:
    """What the assistant understands."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A command, but for one thing. ``detail`` is what was written in its place, if anything."""

    command: Command
    what: Missing
    detail: str = ""


Intent = (
    Ask
    | AddNote
    | AddTask
    | ListTasks
    | ChangeTask
    | DeleteTask
    | AddHandoff
    | ListHandoffs
    | CompleteHandoff
    | Help
    | Incomplete
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message asks for, and the language to answer in."""

    intent: Intent
    language: Language
