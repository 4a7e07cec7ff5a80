"""Deleting what nobody needs any more."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from nakamura_misaki.application import idempotency, inbox
from nakamura_misaki.application.idempotency import IdempotencyStore
from nakamura_misaki.application.inbox import EventInbox
from nakamura_misaki.domain.repositories import SessionRepository
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.domain.session import INACTIVE_DAYS


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many of each were deleted."""

    sessions: int
    events: int
    keys: int


class Housekeeping:
    """Deletes sessions, handled events and keys of answered requests once they are old.

    Safe to run twice and by several processes at once.
    """

    def __init__(
        self,
        sessions: SessionRepository,
        events: EventInbox,
        keys: IdempotencyStore,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._sessions = sessions
        self._events = events
        self._keys = keys
        self._clock = clock

    async def prune(self, days: int = INACTIVE_DAYS) -> Pruned:
        """Delete sessions without activity for so many days, and what outlived its own time.

        Handled events and keys are known for ``inbox.KEPT_FOR`` and
        ``idempotency.KEPT_FOR``. Raises InvalidInput for less than one day.
        """
        now = self._clock()
        return Pruned(
            sessions=await self._sessions.delete_inactive(days),
            events=await self._events.forget(now - inbox.KEPT_FOR),
            keys=await self._keys.forget(now - idempotency.KEPT_FOR),
        )
