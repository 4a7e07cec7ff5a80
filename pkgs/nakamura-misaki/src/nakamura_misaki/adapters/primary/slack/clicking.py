"""From a pressed button to what stands in its message's place."""

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from nakamura_misaki.adapters.primary.slack import buttons
from nakamura_misaki.adapters.primary.slack.answers import Answers
from nakamura_misaki.adapters.primary.slack.blocks import Answer, sentence
from nakamura_misaki.adapters.primary.slack.buttons import Carried, read_carried, read_reminded
from nakamura_misaki.adapters.primary.slack.conversation import Conversation, told, words_of
from nakamura_misaki.adapters.primary.slack.entries import CantBecome, Entries, Troubled
from nakamura_misaki.adapters.primary.slack.incoming import Click
from nakamura_misaki.adapters.primary.slack.intents import TaskAction
from nakamura_misaki.adapters.primary.slack.reading import language_of
from nakamura_misaki.adapters.primary.slack.wording import Trouble
from nakamura_misaki.application.inbox import Event
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.infrastructure.di import Workspace

_CHANGES = {
    buttons.START_TASK: TaskAction.START,
    buttons.COMPLETE_TASK: TaskAction.COMPLETE,
}


class Pressed(NamedTuple):
    """What to show, and whether in place of the message with the button."""

    answer: Answer
    replaces: bool


class Clicking:
    """Carries out what buttons say."""

    def __init__(self, workspace: Workspace, conversation: Conversation) -> None:
        self._workspace = workspace
        self._conversation = conversation

    async def press(self, event: Event, click: Click) -> Pressed | None:
        """What becomes of it; None for a button that is none of ours. Raises StorageUnavailable."""
        if click.action == buttons.COMPLETE_HANDOFF and (reminded := read_reminded(click.value)):
            return await self._complete_reminded(event, click, reminded)
        carried = read_carried(click.value)
        if carried is None:
            return None
        now = event.received_at.astimezone(self._conversation.zone)
        answers = Answers(words_of(carried.language), now)
        entries = Entries(self._workspace, event, click.user)
        # A person who may not, or a list that is out of date, leaves the message as it is.
        replaces = False

        async def work() -> Answer:
            nonlocal replaces
            answer = await self._press(click, carried, entries, answers)
            replaces = True
            return answer

        return Pressed(await told(answers, event, work), replaces)

    async def _complete_reminded(self, event: Event, click: Click, handoff_id: UUID) -> Pressed:
        """In a reminder's place stands that the handoff is completed, by whomever."""
        handoff = await self._workspace.handoff_repository.get(handoff_id)
        written = "" if handoff is None else f"{handoff.progress_note}{handoff.next_steps}"
        answers = Answers(
            words_of("ja" if handoff is None else language_of(written)),
            event.received_at.astimezone(self._conversation.zone),
        )
        entries = Entries(self._workspace, event, click.user)
        replaces = False

        async def work() -> Answer:
            nonlocal replaces
            handoff = await entries.handoff(handoff_id.hex)
            await _complete(entries, handoff)
            replaces = True
            return answers.handoff_completed(handoff)

        return Pressed(await told(answers, event, work), replaces)

    async def _press(
        self, click: Click, carried: Carried, entries: Entries, answers: Answers
    ) -> Answer:
        match click.action:
            case buttons.START_TASK | buttons.COMPLETE_TASK:
                task = await entries.task(carried.entry_id.hex)
                # If that can't be, the list was out of date; the one that follows is not.
                with suppress(CantBecome):
                    await entries.change(task, _CHANGES[click.action])
                return await self.list_of(carried, answers)
            case buttons.COMPLETE_HANDOFF:
                await _complete(entries, await entries.handoff(carried.entry_id.hex))
                handoffs = await self._workspace.handoffs.list_to(carried.owner)
                return answers.handoffs(handoffs, carried.owner)
        if click.user != carried.owner:
            raise Troubled(Trouble.NOT_YOUR_QUESTION)
        return await self._confirm(click, carried, entries, answers)

    async def list_of(self, carried: Carried, answers: Answers) -> Answer:
        """The list of tasks that the button stood in, as it is now."""
        tasks = await self._conversation.tasks_of(carried.owner, answers.now, carried.span)
        return answers.tasks(tasks, carried.owner, carried.span)

    async def _confirm(
        self, click: Click, carried: Carried, entries: Entries, answers: Answers
    ) -> Answer:
        shown = carried.entry_id.hex[-8:]
        if _has_expired(carried, answers.now):
            return sentence(answers.words.trouble(Trouble.TOO_LATE, shown))
        try:
            task = await entries.task(carried.entry_id.hex)
        except Troubled as error:
            if error.trouble is not Trouble.NO_TASK:
                raise
            if click.action == buttons.DELETE_TASK:  # pressed twice, or by an earlier attempt
                return answers.task_deleted(shown)
            return sentence(answers.words.trouble(Trouble.NO_TASK, shown))
        if click.action != buttons.DELETE_TASK:
            return answers.task_kept(task.title)
        await self._workspace.task_repository.delete(task.id)
        return answers.task_deleted(task.title)


async def _complete(entries: Entries, handoff: Handoff) -> None:
    """Complete the handoff, unless it was before."""
    try:
        await entries.complete_handoff(handoff)
    except Troubled as error:
        if error.trouble is not Trouble.HANDOFF_COMPLETED:
            raise


def _has_expired(carried: Carried, now: datetime) -> bool:
    return now.timestamp() - carried.asked_at > buttons.CONFIRM_WITHIN.total_seconds()
