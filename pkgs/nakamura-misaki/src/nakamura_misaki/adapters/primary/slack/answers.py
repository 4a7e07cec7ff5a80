"""What the assistant answers about tasks and handoffs, and in single sentences."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from nakamura_misaki.adapters.primary.slack import buttons
from nakamura_misaki.adapters.primary.slack.blocks import (
    Answer,
    Block,
    Bold,
    Code,
    Person,
    Piece,
    actions,
    answer,
    button,
    context,
    cut,
    header,
    plain,
    rich,
)
from nakamura_misaki.adapters.primary.slack.buttons import Carried
from nakamura_misaki.adapters.primary.slack.intents import Span, TaskAction
from nakamura_misaki.adapters.primary.slack.wording import Wording
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.application.tasks import is_open
from nakamura_misaki.application.time_expressions import describe_time
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.task import Task, TaskStatus

MOST_LISTED = 30
"""A message holds 50 blocks and about 12,000 characters of text
(https://github.com/slackapi/bolt-js/issues/2867)."""

_LISTED_TITLE = 150
_LISTED_NOTE = 200
_SHOWN_TEXT = 600


class Answers:
    """Answers in one language, as of ``now`` in the team's time zone."""

    def __init__(self, words: Wording, now: datetime) -> None:
        self.words = words
        self.now = now

    def time(self, at: datetime) -> str:
        return describe_time(at, self.now, self.words.language)

    def help(self) -> Answer:
        blocks: list[Block] = []
        for heading, entries in self.words.help:
            lines: list[list[Piece]] = [[Bold(heading)]]
            lines += [["• ", what, "  ", Code(example)] for what, example in entries]
            blocks.append(rich(*lines))
        return answer(self.words.help[0][0], *blocks)

    def task_added(self, task: Task, user: str) -> Answer:
        lines: list[list[Piece]] = [[Bold(cut(task.title, _SHOWN_TEXT))]]
        if task.due_at is not None:
            lines.append([f"{self.words.due}: ", Bold(self.time(task.due_at))])
        if task.assignee_user_id != user:
            lines.append([f"{self.words.assignee}: ", Person(task.assignee_user_id)])
        blocks = [plain(f"✅ {self.words.task_added}"), rich(*lines)]
        if task.due_at is not None and task.due_at < self.now:
            blocks.append(context(f"⚠️ {self.words.is_past}"))
        return answer(f"{self.words.task_added}: {task.title}", *blocks, self._id(task))

    def task_changed(self, task: Task, action: TaskAction) -> Answer:
        done = self.words.changed(action)
        return answer(
            f"{done}: {task.title}",
            plain(f"✅ {done}"),
            rich([Bold(cut(task.title, _SHOWN_TEXT))]),
            self._id(task),
        )

    def confirm_deletion(self, task: Task, user: str) -> Answer:
        question = self.words.confirm_deletion(task.title)
        carried = Carried(
            task.id, user, self.words.language, asked_at=int(self.now.timestamp())
        ).to_json()
        return answer(
            question,
            plain(question),
            actions(
                [
                    button(self.words.delete, buttons.DELETE_TASK, carried, style="danger"),
                    button(self.words.keep, buttons.KEEP_TASK, carried),
                ]
            ),
        )

    def task_deleted(self, title: str) -> Answer:
        return self._done(self.words.task_deleted, title)

    def task_kept(self, title: str) -> Answer:
        return self._done(self.words.task_kept, title)

    def tasks(self, tasks: Sequence[Task], owner: str, span: Span) -> Answer:
        """A list of open tasks, each with a button for what usually comes next."""
        if not tasks:
            text = self.words.no_tasks(span)
            return answer(text, plain(text))
        title = self.words.tasks(len(tasks), span)
        shown = [self._listed_task(task, owner, span) for task in tasks[:MOST_LISTED]]
        return answer(title, header(title), *shown, *self._more(len(tasks)))

    def handoff_added(self, handoff: Handoff, task: Task | None, lead: timedelta) -> Answer:
        lines: list[list[Piece]] = [
            [Bold(cut(handoff.progress_note, _SHOWN_TEXT))],
            [f"{self.words.receiver}: ", Person(handoff.to_user_id)],
            [f"{self.words.at}: ", Bold(self.time(handoff.handoff_at))],
        ]
        if handoff.next_steps:
            lines.append([f"{self.words.next_steps}: ", cut(handoff.next_steps, _SHOWN_TEXT)])
        if task is not None:
            lines.append([f"{self.words.task}: ", cut(task.title, _LISTED_TITLE)])
        is_past = handoff.handoff_at < self.now
        return answer(
            f"{self.words.handoff_added}: {handoff.progress_note}",
            plain(f"✅ {self.words.handoff_added}"),
            rich(*lines),
            context(f"⚠️ {self.words.is_past}" if is_past else self.words.reminder(lead)),
            self._id(handoff),
        )

    def handoff_completed(self, handoff: Handoff) -> Answer:
        return answer(
            f"{self.words.handoff_completed}: {handoff.progress_note}",
            plain(f"✅ {self.words.handoff_completed}"),
            rich([cut(handoff.progress_note, _SHOWN_TEXT)]),
            self._id(handoff),
        )

    def handoffs(self, handoffs: Sequence[Handoff], owner: str) -> Answer:
        """A list of open handoffs to a person, each with a button to complete it."""
        if not handoffs:
            return answer(self.words.no_handoffs, plain(self.words.no_handoffs))
        title = self.words.handoffs(len(handoffs))
        shown: list[Block] = []
        for handoff in handoffs[: MOST_LISTED // 2]:
            shown += self._listed_handoff(handoff, owner)
        return answer(title, header(title), *shown, *self._more(len(handoffs), MOST_LISTED // 2))

    def _done(self, done: str, title: str) -> Answer:
        return answer(f"{done}: {title}", plain(f"{done}: {cut(title, _SHOWN_TEXT)}"))

    def _id(self, entry: Task | Handoff) -> Block:
        return context(f"ID {short_id(entry.id)}")

    def _more(self, count: int, most: int = MOST_LISTED) -> list[Block]:
        return [context(self.words.more(count - most))] if count > most else []

    def _listed_task(self, task: Task, owner: str, span: Span) -> Block:
        about = [self.words.statuses[task.status], self._due(task), short_id(task.id)]
        text = f"{cut(task.title, _LISTED_TITLE)}\n{' ・ '.join(about)}"
        return plain(text, self._next_button(task, owner, span))

    def _next_button(self, task: Task, owner: str, span: Span) -> Block | None:
        if not is_open(task):
            return None
        carried = Carried(task.id, owner, self.words.language, span).to_json()
        if task.status is TaskStatus.PENDING:
            return button(self.words.labels[TaskAction.START], buttons.START_TASK, carried)
        label = self.words.labels[TaskAction.COMPLETE]
        return button(label, buttons.COMPLETE_TASK, carried, style="primary")

    def _due(self, task: Task) -> str:
        if task.due_at is None:
            return self.words.no_due
        is_late = task.due_at < self.now
        return f"{self.words.overdue if is_late else self.words.due} {self.time(task.due_at)}"

    def _listed_handoff(self, handoff: Handoff, owner: str) -> list[Block]:
        lines: list[list[Piece]] = [
            [Bold(self.time(handoff.handoff_at))],
            [f"{self.words.giver}: ", Person(handoff.from_user_id)],
            [cut(handoff.progress_note, _LISTED_NOTE)],
        ]
        if handoff.next_steps:
            lines.append([f"{self.words.next_steps}: ", cut(handoff.next_steps, _LISTED_NOTE)])
        carried = Carried(handoff.id, owner, self.words.language).to_json()
        label = self.words.labels[TaskAction.COMPLETE]
        return [
            rich(*lines),
            actions([button(f"{label} {short_id(handoff.id)}", buttons.COMPLETE_HANDOFF, carried)]),
        ]
