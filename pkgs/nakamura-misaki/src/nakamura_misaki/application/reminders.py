"""Reminding of handoffs: claim, send, mark.

A sender claims one handoff at a time, so it never holds more than it is sending.
A claim ends by itself after LEASE: what a process that died had claimed is taken
up by another. What takes longer than its part of the lease is given up before
another may claim it, and a process that slept through its claim sends nothing.

So a reminder comes once, except within one window: the message has reached the
receiver's side, and the sender learns or stores nothing more of it, because it
dies, the answer is lost, or the database stays away. The next sender sees that it
is not the first and looks whether the message is there (``was_sent``). Only where
that can't be known does it come a second time: to at most as many receivers as
the sender had messages under way (``concurrency``) at each such interruption.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias
from uuid import UUID

from nakamura_misaki.domain.errors import NakamuraMisakiError, StorageUnavailable
from nakamura_misaki.domain.handoff import REMINDER_LEAD, Handoff
from nakamura_misaki.domain.repositories import HandoffRepository, ReminderClaim
from nakamura_misaki.domain.rules import utc_now

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)
"""How long a sender may take before another takes it for dead."""

CONCURRENCY = 4
"""How many messages one sender has under way."""

GRACE = timedelta(seconds=8)
"""How long a run that is cancelled may take to finish what is under way."""

FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
PERMANENT_PAUSE = timedelta(days=1)
"""After how long a failed reminder is tried again: FIRST_PAUSE, doubled with each attempt."""

CLOCK_SKEW = timedelta(minutes=5)
"""By how much this machine's clock may be ahead of the receiver's side."""

_MARK_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to store that a message went out: a database that restarts is back by then."""


class DeliveryFailed(NakamuraMisakiError):
    """The message could not be delivered, or perhaps was, and nobody knows.

    ``retry_after`` is what the receiver's side asks for. ``is_permanent``: it will
    fail for this handoff the next time, too. ``is_general``: it would fail for any
    other now.
    """

    exit_code = 9

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        is_permanent: bool = False,
        is_general: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_permanent = is_permanent
        self.is_general = is_general


class Notifier(Protocol):
    """Sends a person a message."""

    async def remind(self, handoff: Handoff) -> None:
        """Tell the receiver of the handoff.

        Raises DeliveryFailed, or ConfigurationError if a setting keeps all
        messages back. Sends the message at most once.
        """
        ...

    async def was_sent(self, handoff: Handoff, since: datetime) -> bool | None:
        """Whether the receiver was told after ``since``; None if that can't be known."""
        ...

    async def close(self) -> None:
        """Release what the notifier holds, such as connections."""
        ...


class Outcome(StrEnum):
    SENT = "sent"
    ALREADY_SENT = "already_sent"
    """An earlier sender had sent it, and could not say so."""
    FAILED = "failed"


OnReminder: TypeAlias = Callable[[Outcome, float | None], None]
"""Hears how a reminder ended and, if it was sent now, how many seconds after it was due."""


@dataclass(frozen=True, slots=True)
class FailedReminder:
    """A reminder that was not delivered, and why, in one sentence."""

    handoff: Handoff
    reason: str


@dataclass(frozen=True, slots=True)
class ReminderReport:
    """What one run did. What failed and was sent later in the same run has not failed."""

    sent: int
    already_sent: int
    failed: Sequence[FailedReminder]
    was_stopped: bool = False
    """Whether more may be due: the run was stopped, or broke off because all would have failed."""


class ReminderService:
    """Reminds the receivers of due handoffs. Several may run at once, in any process."""

    def __init__(
        self,
        handoffs: HandoffRepository,
        notifier: Notifier,
        *,
        clock: Callable[[], datetime] = utc_now,
        lead: timedelta = REMINDER_LEAD,
        lease: timedelta = LEASE,
        concurrency: int = CONCURRENCY,
        grace: timedelta = GRACE,
        on_reminder: OnReminder = lambda outcome, lag: None,
    ) -> None:
        self._handoffs = handoffs
        self._notifier = notifier
        self._clock = clock
        self._lead = lead
        self._lease = lease
        self._concurrency = concurrency
        self._grace = grace
        self._on_reminder = on_reminder
        self._is_stopping = False

    async def due(self) -> list[Handoff]:
        """Whose receivers are to be reminded now, also those that another sender is busy with."""
        return await self._handoffs.list_pending_reminders()

    async def run(self, limit: int | None = None) -> ReminderReport:
        """Send what is due, at most ``limit`` messages; what became of it.

        A message that fails is tried again by a later run and holds up no other.
        Raises ConfigurationError and StorageUnavailable once what was under way
        is finished. Cancelled, it first finishes that, too, within ``grace``.
        """
        run = _Run(limit)
        senders = [asyncio.create_task(self._send_all(run)) for _ in range(self._concurrency)]
        try:
            await asyncio.wait(senders)
        except asyncio.CancelledError:
            run.is_stopped = True
            if not self._is_stopping:
                await asyncio.wait(senders, timeout=self._grace.total_seconds())
            raise
        finally:
            for sender in senders:
                sender.cancel()
            endings = await asyncio.gather(*senders, return_exceptions=True)
        for ending in endings:
            if isinstance(ending, BaseException):
                raise ending
        return ReminderReport(
            run.sent,
            run.already_sent,
            tuple(run.failed.values()),
            run.is_stopped or self._is_stopping,
        )

    def stop(self) -> None:
        """Let the runs end once what is under way is finished; none begins to send any more."""
        self._is_stopping = True

    async def _send_all(self, run: "_Run") -> None:
        try:
            while not self._is_stopping and run.take_place():
                held_until = self._clock() + self._lease
                claims = await self._handoffs.claim_reminders(1, self._lease)
                if not claims:
                    return
                await self._deliver(claims[0], held_until, run)
        except BaseException:
            run.is_stopped = True
            raise

    async def _deliver(self, claim: ReminderClaim, held_until: datetime, run: "_Run") -> None:
        handoff = claim.handoff
        try:
            outcome = await self._sent(claim, held_until)
        except DeliveryFailed as failure:
            await self._fail(claim, held_until, run, failure)
        except NakamuraMisakiError as error:
            await self._fail(claim, held_until, run, DeliveryFailed(str(error)))
            raise
        except Exception as error:
            # A handoff that can't be told of must not keep back all that come after it.
            logger.exception("the reminder of handoff %s failed", handoff.id)
            unforeseen = DeliveryFailed(f"an unforeseen {type(error).__name__} ended it.")
            await self._fail(claim, held_until, run, unforeseen)
        else:
            if outcome is None:
                return
            await self._mark(handoff)
            run.failed.pop(handoff.id, None)
            run.sent += outcome is Outcome.SENT
            run.already_sent += outcome is Outcome.ALREADY_SENT
            self._on_reminder(outcome, self._lag(handoff) if outcome is Outcome.SENT else None)

    async def _fail(
        self, claim: ReminderClaim, held_until: datetime, run: "_Run", failure: DeliveryFailed
    ) -> None:
        handoff = claim.handoff
        run.failed[handoff.id] = FailedReminder(handoff, str(failure))
        run.is_stopped = run.is_stopped or failure.is_general
        self._on_reminder(Outcome.FAILED, None)
        now = self._clock()
        if now < held_until:  # or else it is another's by now
            await self._handoffs.postpone_reminder(handoff.id, now + _pause(claim.attempt, failure))

    async def _sent(self, claim: ReminderClaim, held_until: datetime) -> Outcome | None:
        """How the message went out; None if the claim is not long enough any more to send it.

        A quarter of the lease is for looking whether it went out before, one is left
        for what else may hold this up, one is for sending it and one for storing that
        it was sent.
        """
        handoff, quarter = claim.handoff, self._lease / 4
        if claim.attempt > 1:
            since = _earlier(self._first_due(handoff), CLOCK_SKEW)
            try:
                async with asyncio.timeout(quarter.total_seconds()):
                    was_sent = await self._notifier.was_sent(handoff, since)
            except TimeoutError:
                was_sent = None
            if was_sent:
                return Outcome.ALREADY_SENT
        if self._clock() > held_until - 2 * quarter:
            return None
        try:
            async with asyncio.timeout(quarter.total_seconds()):
                await self._notifier.remind(handoff)
        except TimeoutError:
            raise DeliveryFailed(
                f"the message was not taken within {quarter.total_seconds():.0f} s.",
                is_general=True,
            ) from None
        return Outcome.SENT

    async def _mark(self, handoff: Handoff) -> None:
        for pause in _MARK_PAUSES:
            try:
                await self._handoffs.mark_reminded(handoff.id)
            except StorageUnavailable:
                await asyncio.sleep(pause)
            else:
                return
        await self._handoffs.mark_reminded(handoff.id)

    def _first_due(self, handoff: Handoff) -> datetime:
        """When the reminder could first have been sent."""
        return max(handoff.created_at, _earlier(handoff.handoff_at, self._lead))

    def _lag(self, handoff: Handoff) -> float:
        return max(0.0, (self._clock() - self._first_due(handoff)).total_seconds())


@dataclass(slots=True)
class _Run:
    """What the senders of one run share."""

    limit: int | None
    taken: int = 0
    sent: int = 0
    already_sent: int = 0
    failed: dict[UUID, FailedReminder] = field(default_factory=dict)
    is_stopped: bool = False

    def take_place(self) -> bool:
        """Whether one more may be claimed, which then counts."""
        if self.is_stopped or (self.limit is not None and self.taken >= self.limit):
            return False
        self.taken += 1
        return True


def _pause(attempt: int, failure: DeliveryFailed) -> timedelta:
    if failure.is_permanent:
        return PERMANENT_PAUSE
    if failure.retry_after is not None:
        return max(failure.retry_after, FIRST_PAUSE)
    doublings = 1 << min(attempt, 16)
    return min(LONGEST_PAUSE, FIRST_PAUSE * doublings)


def _earlier(at: datetime, by: timedelta) -> datetime:
    try:
        return at - by
    except OverflowError:  # the first days of the calendar
        return at
