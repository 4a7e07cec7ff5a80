"""What the answers need words for, and the words of a language."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from nakamura_misaki.adapters.primary.slack.intents import (
    Command,
    Incomplete,
    Language,
    Span,
    TaskAction,
)
from nakamura_misaki.domain.note import LegSkipped
from nakamura_misaki.domain.task import TaskStatus


class Match(StrEnum):
    """How well a note answers, as far as that can honestly be said.

    It holds most of the question's words, or some of them, or none and only its
    meaning is near: of all notes the nearest, which need not be near at all.
    """

    GOOD = "good"
    WORDS = "words"
    NEAR = "near"


class Trouble(StrEnum):
    """Why something asked for was not done: each is one sentence in each language."""

    NO_TASK = "no_task"
    NO_HANDOFF = "no_handoff"
    SEVERAL_TASKS = "several_tasks"
    SEVERAL_HANDOFFS = "several_handoffs"
    NOT_YOUR_TASK = "not_your_task"
    NOT_YOUR_HANDOFF = "not_your_handoff"
    TITLE_TOO_LONG = "title_too_long"
    CATEGORY_TOO_LONG = "category_too_long"
    SAME_PERSON = "same_person"
    HANDOFF_COMPLETED = "handoff_completed"
    NOTHING_TO_SAVE = "nothing_to_save"
    NOT_YOUR_QUESTION = "not_your_question"
    TOO_LATE = "too_late"
    INVALID = "invalid"
    UNEXPECTED = "unexpected"


class Wording(Protocol):
    """The words of one language. Whole sentences, so that a language can order them."""

    @property
    def language(self) -> Language: ...
    @property
    def statuses(self) -> Mapping[TaskStatus, str]: ...
    @property
    def matches(self) -> Mapping[Match, str]: ...
    @property
    def skipped(self) -> Mapping[LegSkipped, str]: ...
    @property
    def labels(self) -> Mapping[TaskAction, str]:
        """What the buttons say."""
        ...

    @property
    def delete(self) -> str: ...
    @property
    def keep(self) -> str: ...
    @property
    def due(self) -> str: ...
    @property
    def overdue(self) -> str: ...
    @property
    def no_due(self) -> str: ...
    @property
    def assignee(self) -> str: ...
    @property
    def receiver(self) -> str: ...
    @property
    def giver(self) -> str: ...
    @property
    def at(self) -> str: ...
    @property
    def next_steps(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def note_saved(self) -> str: ...
    @property
    def task_added(self) -> str: ...
    @property
    def task_deleted(self) -> str: ...
    @property
    def task_kept(self) -> str: ...
    @property
    def handoff_added(self) -> str: ...
    @property
    def handoff_completed(self) -> str: ...
    @property
    def is_past(self) -> str:
        """Said of a time that was given and lies in the past."""
        ...

    @property
    def ask_otherwise(self) -> str:
        """How to ask for what was not found."""
        ...

    @property
    def no_handoffs(self) -> str: ...
    @property
    def help(self) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
        """Headings, and under each what it does and how it is written."""
        ...

    def category(self, name: str) -> str: ...
    def found(self, notes: int) -> str: ...
    def not_found(self, question: str) -> str: ...
    @property
    def only_near(self) -> str:
        """Said where no note shares a word with the question."""
        ...

    def changed(self, action: TaskAction) -> str: ...
    def tasks(self, count: int, span: Span) -> str: ...
    def no_tasks(self, span: Span) -> str: ...
    def handoffs(self, count: int) -> str: ...
    def more(self, count: int) -> str: ...
    def confirm_deletion(self, title: str) -> str: ...
    def reminder(self, lead: timedelta) -> str: ...
    def cant_become(self, status: TaskStatus, action: TaskAction) -> str: ...
    def incomplete(self, incomplete: Incomplete) -> str: ...
    def trouble(self, trouble: Trouble, detail: str = "") -> str: ...


EXAMPLES_JA: Mapping[Command, str] = {
    Command.ADD_NOTE: "メモ: DB移行はPostgreSQL 16に決定",
    Command.ADD_TASK: "タスク登録: API統合テスト 期限: 明日15時",
    Command.CHANGE_TASK: "タスク 7c3dace1 を完了",
    Command.DELETE_TASK: "タスク 7c3dace1 を削除",
    Command.ADD_HANDOFF: "「APIテストは8割完了」を @佐藤 に明日9時から引き継ぎ",
    Command.COMPLETE_HANDOFF: "ハンドオフ 7c3dace1 完了",
}
EXAMPLES_EN: Mapping[Command, str] = {
    Command.ADD_NOTE: "note: we move the database to PostgreSQL 16",
    Command.ADD_TASK: "task: write the report due: tomorrow 3pm",
    Command.CHANGE_TASK: "task 7c3dace1 done",
    Command.DELETE_TASK: "delete task 7c3dace1",
    Command.ADD_HANDOFF: 'hand off "the API tests are 80% done" to @sato tomorrow at 9am',
    Command.COMPLETE_HANDOFF: "handoff 7c3dace1 done",
}
