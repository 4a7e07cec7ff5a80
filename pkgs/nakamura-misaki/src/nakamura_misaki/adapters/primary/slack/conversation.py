"""From what a person wrote to what the assistant answers."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from nakamura_misaki.adapters.primary.slack import intents
from nakamura_misaki.adapters.primary.slack.answers import Answers
from nakamura_misaki.adapters.primary.slack.answers_notes import found_notes, note_saved
from nakamura_misaki.adapters.primary.slack.blocks import Answer, sentence
from nakamura_misaki.adapters.primary.slack.entries import CantBecome, Entries, Troubled
from nakamura_misaki.adapters.primary.slack.incoming import Command, Message, Shortcut
from nakamura_misaki.adapters.primary.slack.intents import Intent, Language, Span
from nakamura_misaki.adapters.primary.slack.reading import read_message
from nakamura_misaki.adapters.primary.slack.reading_markup import plain_text, to_content
from nakamura_misaki.adapters.primary.slack.wording import Trouble, Wording
from nakamura_misaki.adapters.primary.slack.wording_en import English
from nakamura_misaki.adapters.primary.slack.wording_ja import Japanese
from nakamura_misaki.adapters.primary.slack.work import reference
from nakamura_misaki.application.inbox import Event
from nakamura_misaki.application.time_expressions import FoundTime
from nakamura_misaki.domain.errors import InvalidInput, StorageUnavailable
from nakamura_misaki.domain.rules import MAX_ID_CHARACTERS, MAX_TITLE_CHARACTERS
from nakamura_misaki.domain.task import Task

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di import App

_logger = logging.getLogger(__name__)

FOUND_AT_MOST = 5
HANDOFF_HOUR = 9
"""When a handoff takes place for which only a day was named."""

_LATE_AT_MOST = timedelta(days=1)
_QUESTION = 2000
_WORDS: dict[Language, Wording] = {"ja": Japanese(), "en": English()}


def words_of(language: Language) -> Wording:
    return _WORDS[language]


class Conversation:
    """Answers what people write, with the application's use cases."""

    def __init__(self, app: "App") -> None:
        self._app = app

    @property
    def zone(self) -> ZoneInfo:
        return self._app.settings.time_zone

    async def answer(
        self, event: Event, incoming: Message | Command | Shortcut, self_id: str
    ) -> Answer:
        """The answer, after what was asked for was done.

        Raises StorageUnavailable, when all of it is to be tried again; of every
        other failure the answer tells.
        """
        now = said_at(event, incoming).astimezone(self.zone)
        if isinstance(incoming, Shortcut):
            language: Language = read_message(incoming.text, now).language
            answers = Answers(words_of(language), now)
            return await told(answers, event, lambda: self._save(event, incoming, answers))
        reading = read_message(incoming.text, now, self_id=self_id)
        answers = Answers(words_of(reading.language), now)
        entries = Entries(self._app.own, event, incoming.user)
        source = {"channel": incoming.channel}
        if isinstance(incoming, Message):
            source["ts"] = incoming.ts
        return await told(
            answers,
            event,
            lambda: self._carry_out(reading.intent, entries, answers, incoming.user, source),
        )

    async def tasks_of(self, user: str, now: datetime, span: Span) -> list[Task]:
        """The user's open tasks of a span of time, in which ``now`` is."""
        tasks = await self._app.own.tasks.list_open(user)
        if span is Span.ALL:
            return tasks
        first, last = _days(now.date(), span)
        return [
            task
            for task in tasks
            if task.due_at is not None and first <= task.due_at.astimezone(self.zone).date() <= last
        ]

    async def _carry_out(
        self, intent: Intent, entries: Entries, answers: Answers, user: str, source: dict[str, str]
    ) -> Answer:
        match intent:
            case intents.Ask(question) if question.strip():
                asked = question[:_QUESTION]
                found = await self._app.own.notes.search(asked, user, FOUND_AT_MOST)
                return found_notes(answers, asked, found)
            case intents.AddNote(content, category):
                if category is not None and len(category) > MAX_ID_CHARACTERS:
                    raise Troubled(Trouble.CATEGORY_TOO_LONG)
                note = await entries.add_note(content=content, category=category, source=source)
                return note_saved(answers, note)
            case intents.AddTask(title, due, assignee):
                if len(title) > MAX_TITLE_CHARACTERS:
                    raise Troubled(Trouble.TITLE_TOO_LONG)
                due_at = None if due is None else _until(due)
                task = await entries.add_task(title=title, assignee=assignee, due_at=due_at)
                return answers.task_added(task, user)
            case intents.ListTasks(span):
                tasks = await self.tasks_of(user, answers.now, span)
                return answers.tasks(tasks, user, span)
            case intents.ChangeTask(id_text, action):
                task = await entries.change(await entries.task(id_text), action)
                return answers.task_changed(task, action)
            case intents.DeleteTask(id_text):
                return answers.confirm_deletion(await entries.task(id_text), user)
            case intents.AddHandoff():
                return await self._add_handoff(intent, entries, answers, user)
            case intents.ListHandoffs():
                return answers.handoffs(await self._app.own.handoffs.list_to(user), user)
            case intents.CompleteHandoff(id_text):
                handoff = await entries.complete_handoff(await entries.handoff(id_text))
                return answers.handoff_completed(handoff)
            case intents.Incomplete():
                return sentence(answers.words.incomplete(intent))
        return answers.help()

    async def _add_handoff(
        self, intent: intents.AddHandoff, entries: Entries, answers: Answers, user: str
    ) -> Answer:
        if intent.to_user_id == user:
            raise Troubled(Trouble.SAME_PERSON)
        task = None if intent.task_id_text is None else await entries.task(intent.task_id_text)
        handoff = await entries.add_handoff(
            to_user=intent.to_user_id,
            progress_note=intent.progress_note,
            at=_from(intent.at, answers.now),
            task_id=None if task is None else task.id,
            next_steps=intent.next_steps,
        )
        lead = timedelta(minutes=self._app.settings.reminder_lead_minutes)
        return answers.handoff_added(handoff, task, lead)

    async def _save(self, event: Event, shortcut: Shortcut, answers: Answers) -> Answer:
        content = to_content(plain_text(shortcut.text))
        if not content.strip():
            raise Troubled(Trouble.NOTHING_TO_SAVE)
        source = {"channel": shortcut.channel, "ts": shortcut.ts, "author": shortcut.author}
        entries = Entries(self._app.own, event, shortcut.user)
        return note_saved(answers, await entries.add_note(content=content, source=source))


async def told(answers: Answers, event: Event, work: Callable[[], Awaitable[Answer]]) -> Answer:
    """The work's answer, or one that tells why there is none. Raises StorageUnavailable."""
    words = answers.words
    try:
        return await work()
    except Troubled as error:
        return sentence(words.trouble(error.trouble, error.detail))
    except CantBecome as error:
        return sentence(words.cant_become(error.status, error.action))
    except StorageUnavailable:
        raise
    except InvalidInput as error:
        _logger.info("%s asks for what can't be: %s", event.id, error)
        return sentence(words.trouble(Trouble.INVALID))
    except Exception:
        _logger.exception("%s met an error", event.id)
        return sentence(words.trouble(Trouble.UNEXPECTED, reference(event)))


def said_at(event: Event, incoming: object) -> datetime:
    """When it was written: 明日 means the day after that, however late the event came."""
    if isinstance(incoming, Message):
        try:
            written = datetime.fromtimestamp(float(incoming.ts), UTC)
        except (ValueError, OverflowError, OSError):
            return event.received_at
        if timedelta() <= event.received_at - written <= _LATE_AT_MOST:
            return written
    return event.received_at


def _until(due: FoundTime) -> datetime:
    """A day that is named without a time of day lasts until its end."""
    return due.at if due.has_time else due.at.replace(hour=23, minute=59)


def _from(at: FoundTime, now: datetime) -> datetime:
    """A day that is named without a time of day begins with the working day; today, at once."""
    if at.has_time:
        return at.at
    begins = at.at.replace(hour=HANDOFF_HOUR)
    return max(begins, now) if begins.date() == now.date() else begins


def _days(today: date, span: Span) -> tuple[date, date]:
    """The first and the last day of the span. What is overdue belongs to today."""
    if span is Span.TOMORROW:
        return today + timedelta(days=1), today + timedelta(days=1)
    if span is Span.WEEK:
        return today, today + timedelta(days=6 - today.weekday())
    return date.min, today
