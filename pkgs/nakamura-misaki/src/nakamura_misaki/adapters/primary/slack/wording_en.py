"""The answers' words in English."""

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from nakamura_misaki.adapters.primary.slack.blocks import cut
from nakamura_misaki.adapters.primary.slack.intents import (
    Incomplete,
    Language,
    Missing,
    Span,
    TaskAction,
)
from nakamura_misaki.adapters.primary.slack.wording import EXAMPLES_EN, Match, Trouble
from nakamura_misaki.domain.note import LegSkipped
from nakamura_misaki.domain.rules import MAX_TITLE_CHARACTERS
from nakamura_misaki.domain.task import TaskStatus

_CATEGORIES = {"code_changes": "code change", "decisions": "decision", "errors": "error", "learnings": "learning", "todos": "to do"}  # fmt: skip
_CHANGED = {
    TaskAction.START: "Task started",
    TaskAction.COMPLETE: "Task completed",
    TaskAction.REOPEN: "Task put back to pending",
    TaskAction.CANCEL: "Task cancelled",
}
_MISSING = {
    Missing.TITLE: "The task has no title.",
    Missing.CONTENT: "There is nothing in it to keep.",
    Missing.PERSON: "I can't tell for whom this is; mention the person with @name.",
    Missing.TIME: "There is no time in it.",
    Missing.ID: "I can't tell which one you mean; give its id.",
}
_TROUBLES = {
    Trouble.NO_TASK: 'There is no task {detail}; "tasks" lists yours with their ids.',
    Trouble.NO_HANDOFF: 'There is no handoff {detail}; "handoffs" lists yours with their ids.',
    Trouble.SEVERAL_TASKS: "{detail} stands for several tasks; give more digits of the id.",
    Trouble.SEVERAL_HANDOFFS: "{detail} stands for several handoffs; give more digits of the id.",
    Trouble.NOT_YOUR_TASK: "Only its assignee and whoever created it can change task {detail}.",
    Trouble.NOT_YOUR_HANDOFF: "Only its giver and its receiver can complete handoff {detail}.",
    Trouble.TITLE_TOO_LONG: f"The title is too long; make it at most {MAX_TITLE_CHARACTERS} characters.",
    Trouble.CATEGORY_TOO_LONG: "The category is too long; make it at most 255 characters.",
    Trouble.SAME_PERSON: "You can't hand something over to yourself; mention somebody else.",
    Trouble.HANDOFF_COMPLETED: "Handoff {detail} was completed before.",
    Trouble.NOTHING_TO_SAVE: "There are no words in this message, so it can't become a note.",
    Trouble.NOT_YOUR_QUESTION: "Only the person who asked for the deletion can press this.",
    Trouble.TOO_LATE: 'This question has expired; write "delete task {detail}" again.',
    Trouble.INVALID: 'This can\'t be stored as it is; "help" shows how to write it.',
    Trouble.UNEXPECTED: (
        "Sorry, that went wrong; try again, and if it goes on, tell the operator this number: {detail}"
    ),
}

_SPANS = {Span.TODAY: "today", Span.TOMORROW: "tomorrow", Span.WEEK: "this week"}


class English:
    """``Wording`` in English."""

    language: Language = "en"
    statuses: ClassVar[Mapping[TaskStatus, str]] = {
        TaskStatus.PENDING: "pending",
        TaskStatus.IN_PROGRESS: "in progress",
        TaskStatus.COMPLETED: "completed",
        TaskStatus.CANCELLED: "cancelled",
    }
    matches: ClassVar[Mapping[Match, str]] = {
        Match.GOOD: "good match",
        Match.WORDS: "shares some words",
        Match.NEAR: "may be related",
    }
    skipped: ClassVar[Mapping[LegSkipped, str]] = {
        LegSkipped.EMBEDDING_FAILED: (
            "Searching by meaning does not work right now, so I looked for the words only; it may work again soon."
        ),
        LegSkipped.MODEL_REPLACED: (
            "Searching by meaning is being changed over, so I looked for the words only; it works again once the operator has adapted the settings."
        ),
        LegSkipped.NO_EMBEDDER: "Searching by meaning is not set up, so I looked for the words only.",
        LegSkipped.NOT_STORED: "This storage can't search by meaning, so I looked for the words only.",
    }
    labels: ClassVar[Mapping[TaskAction, str]] = {
        TaskAction.START: "Start",
        TaskAction.COMPLETE: "Done",
        TaskAction.REOPEN: "Reopen",
        TaskAction.CANCEL: "Cancel",
    }
    delete = "Delete"
    keep = "Keep it"
    due = "due"
    overdue = "overdue"
    no_due = "no due time"
    assignee = "Assignee"
    receiver = "To"
    giver = "From"
    at = "At"
    next_steps = "Next"
    task = "Task"
    note_saved = "Noted"
    task_added = "Task added"
    task_deleted = "Task deleted"
    task_kept = "The task stays"
    handoff_added = "Handoff added"
    handoff_completed = "Handoff completed"
    is_past = "This time is past; if you meant another, add it again with the date."
    ask_otherwise = (
        "I search your own notes. Try one short word (such as: migration), or another word for the"
        ' same thing. What you write down with "note: ..." is found from then on.'
    )
    only_near = "No note has these words; these may be related:"
    no_handoffs = "Nothing is handed over to you."
    help = (
        (
            "Find and keep notes",
            (
                ("Just ask, and I search your notes", "what did we decide about the database?"),
                ("Keep a note", "note: we move the database to PostgreSQL 16"),
                ("With a category", "note [decisions]: we release on Friday"),
            ),
        ),
        (
            "Tasks",
            (
                ("Add one", "task: write the report due: tomorrow 3pm"),
                ("For somebody else", "task: write the minutes for: @sato due: next Monday"),
                ("See them", "what are my tasks today? / tasks"),
                ("Change one", "start task 7c3dace1 / task 7c3dace1 done / delete task 7c3dace1"),
            ),
        ),
        (
            "Handoffs",
            (
                (
                    "Hand over",
                    'hand off "the API tests are 80% done" to @sato tomorrow at 9am next: check the rest',
                ),
                ("See them", "handoffs"),
                ("Finish one", "handoff 7c3dace1 done"),
            ),
        ),
    )

    def category(self, name: str) -> str:
        return _CATEGORIES.get(name, name)

    def found(self, notes: int) -> str:
        return f"I found {_count(notes, 'note')}"

    def not_found(self, question: str) -> str:
        return f"No note of yours answers “{cut(question, 200)}”."

    def changed(self, action: TaskAction) -> str:
        return _CHANGED[action]

    def tasks(self, count: int, span: Span) -> str:
        when = "" if span is Span.ALL else f" for {_SPANS[span]}"
        return f"{_count(count, 'task')}{when}"

    def no_tasks(self, span: Span) -> str:
        if span is Span.ALL:
            return "You have no open tasks."
        return f"No task of yours is due {_SPANS[span]}."

    def handoffs(self, count: int) -> str:
        return f"{_count(count, 'handoff')} to you"

    def more(self, count: int) -> str:
        return f"{count:,} more"

    def confirm_deletion(self, title: str) -> str:
        return f"Delete the task “{cut(title, 200)}”? Its handoffs go, too."

    def reminder(self, lead: timedelta) -> str:
        minutes = int(lead.total_seconds() // 60)
        when = f"{_count(minutes, 'minute')} before" if minutes else "at that time"
        return f"I will remind the receiver {when}."

    def cant_become(self, status: TaskStatus, action: TaskAction) -> str:
        return f"This task is {self.statuses[status]}, so it can't be changed with “{self.labels[action]}”."

    def incomplete(self, incomplete: Incomplete) -> str:
        shown = cut(incomplete.detail, 60)
        example = EXAMPLES_EN[incomplete.command]
        match incomplete.what:
            case Missing.UNREADABLE_TIME:
                return f"I can't read “{shown}” as a time. For example: {example}"
            case Missing.BAD_ID:
                return f"“{shown}” is no id; give the eight characters that the list shows. For example: {example}"
        return f"{_MISSING[incomplete.what]} For example: {example}"

    def trouble(self, trouble: Trouble, detail: str = "") -> str:
        return _TROUBLES[trouble].format(detail=detail)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
