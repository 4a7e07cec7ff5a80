"""Working on what was received: each event once, in the background, and none is lost.

An event is held for ``LEASE`` by whoever works on it. Its work may take no longer
than ``TIME_LIMIT``, so that nobody else takes it up meanwhile. What fails for a
passing reason is given back and tried again later, by any process; what a process
left behind when it died is taken up by ``take_up``.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias
from weakref import WeakValueDictionary

from nakamura_misaki.adapters.primary.slack.delivery import SlackRefused, SlackUnavailable
from nakamura_misaki.adapters.primary.slack.incoming import Incoming, from_body
from nakamura_misaki.application.inbox import LEASE, MAX_ATTEMPTS, Event, EventInbox
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.domain.errors import (
    ConfigurationError,
    NakamuraMisakiError,
    StorageUnavailable,
)
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.infrastructure.logging import request_id

_logger = logging.getLogger(__name__)

TIME_LIMIT = timedelta(seconds=75)
"""How long the work on one event may take, Slack's rate limits waited for included."""

MOST_AT_ONCE = 16
TAKE_UP_EVERY = timedelta(seconds=30)
_TAKEN_AT_ONCE = 50
_GIVING_BACK = 2.0
_FIRST_PAUSE = timedelta(seconds=15)

Work: TypeAlias = Callable[[Event, Incoming], Awaitable[None]]
OnEvent: TypeAlias = Callable[[str, str], None]
"""Hears of each event its kind and its outcome, for the metrics."""


def reference(event: Event) -> str:
    """By what an event is named to people, and in every record made while it is worked on."""
    return short_id(event.entity_id)


class Worker:
    """Does the work on events; ``work`` is what there is to do."""

    def __init__(self, inbox: EventInbox, work: Work, on_event: OnEvent) -> None:
        self._inbox = inbox
        self._work = work
        self._on_event = on_event
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take up what was left, now and every TAKE_UP_EVERY."""
        self._loop = asyncio.create_task(self._take_up_for_ever(), name="slack-take-up")

    def begin(self, event: Event, incoming: Incoming) -> None:
        """Work on an event that was received, and is held since now."""
        task = asyncio.create_task(self._run(event, incoming, time.monotonic()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109  (what is over then is given back)
        """Take up no more, finish what is under way, give back what takes longer than ``timeout`` s."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait({self._loop})
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_GIVING_BACK)

    async def take_up(self) -> int:
        """Work on what nobody works on any more; how many events. Raises StorageUnavailable."""
        events = await self._inbox.take_up(_TAKEN_AT_ONCE)
        for event in events:
            try:
                incoming = from_body(event.body)
            except (KeyError, TypeError):
                _logger.error("the event %s can't be read; it is dropped", event.id)
                await self._inbox.finish(event.id)
                continue
            self.begin(event, incoming)
        return len(events)

    async def _take_up_for_ever(self) -> None:
        while True:
            try:
                taken = await self.take_up()
                if taken:
                    _logger.info("took up %d events that were left", taken)
            except NakamuraMisakiError as error:
                _logger.warning("what was left in the inbox can't be taken up now: %s", error)
            except Exception:
                _logger.exception("what was left in the inbox can't be taken up")
            await asyncio.sleep(TAKE_UP_EVERY.total_seconds())

    async def _run(self, event: Event, incoming: Incoming, held_since: float) -> None:
        request_id.set(reference(event))
        was_tried = False
        try:
            # What one person asks is answered one after the other: first the note is
            # kept, then the question is searched for.
            turn = self._turns.setdefault(incoming.user, asyncio.Lock())
            async with turn, self._slots:
                left = (LEASE - TIME_LIMIT).total_seconds() - (time.monotonic() - held_since)
                if left > 0:
                    was_tried = True
                    outcome = await self._done(event, incoming)
                else:
                    # It waited so long that another may soon take it for abandoned.
                    outcome = await self._give_back(event, timedelta(), was_tried=False)
        except asyncio.CancelledError:
            outcome = await self._give_back(event, timedelta(), was_tried=was_tried)
            self._on_event(incoming.kind, outcome)
            raise
        self._on_event(incoming.kind, outcome)

    async def _done(self, event: Event, incoming: Incoming) -> str:
        try:
            async with asyncio.timeout(TIME_LIMIT.total_seconds()):
                await self._work(event, incoming)
            await self._inbox.finish(event.id)
        except (
            StorageUnavailable,
            SlackUnavailable,
            ConfigurationError,  # a token that Slack does not take now
            TimeoutError,
        ) as error:
            why = str(error) or "it took too long"
            _logger.warning("attempt %d at %s failed: %s", event.attempt, event.id, why)
            return await self._give_back(event, _FIRST_PAUSE * 4 ** (event.attempt - 1))
        except SlackRefused as error:
            _logger.warning("%s could not be answered: %s", event.id, error)
            await self._finish_anyway(event)
            return "failed"
        except Exception:
            _logger.exception("%s could not be answered", event.id)
            await self._finish_anyway(event)
            return "failed"
        return "answered"

    async def _give_back(self, event: Event, pause: timedelta, *, was_tried: bool = True) -> str:
        if was_tried and event.attempt >= MAX_ATTEMPTS:
            _logger.error("%s is given up after %d attempts", event.id, event.attempt)
            await self._finish_anyway(event)
            return "given_up"
        try:
            await self._inbox.release(event.id, utc_now() + pause, was_tried=was_tried)
        except NakamuraMisakiError as error:
            # The lease ends by itself, and then it is taken up.
            _logger.warning("%s could not be given back: %s", event.id, error)
        return "postponed"

    async def _finish_anyway(self, event: Event) -> None:
        try:
            await self._inbox.finish(event.id)
        except NakamuraMisakiError as error:
            _logger.warning("%s could not be marked as handled: %s", event.id, error)
