"""Events from outside in a JSON file: what ``STORAGE_BACKEND=json`` runs on."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_entries import (
    JsonEntries,
    certain_time_of,
    time_of,
    time_text,
)
from nakamura_misaki.adapters.secondary.legacy_layout import INBOX_FILE
from nakamura_misaki.application.inbox import (
    GIVEN_UP,
    LEASE,
    MAX_ATTEMPTS,
    Event,
    storable,
)
from nakamura_misaki.domain.rules import utc_now

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is known of an event; ``body`` is None once it is handled."""

    body: Mapping[str, Any] | None
    entity_id: UUID
    received_at: datetime
    claimed_until: datetime
    attempts: int = 1
    handled_at: datetime | None = None

    def handled(self, at: datetime) -> "_Stored":
        return replace(self, body=None, handled_at=at)

    def released(self, until: datetime, was_tried: bool) -> "_Stored":
        attempts = self.attempts if was_tried else max(self.attempts - 1, 0)
        return replace(self, claimed_until=until, attempts=attempts)


class JsonEventInbox:
    """The port ``EventInbox`` over ``inbox_events.json``."""

    def __init__(self, directory: Path, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._entries = JsonEntries(directory, INBOX_FILE, restore=_stored, describe=_described)
        self._clock = clock

    async def receive(self, event: Event, lease: timedelta = LEASE) -> bool:
        stored = _Stored(
            storable(event.body), event.entity_id, event.received_at, self._clock() + lease
        )
        # Of two at once the second finds the very object of the first or another, never its own.
        return await self._entries.change(
            lambda known: known.setdefault(event.id, stored) is stored
        )

    async def finish(self, event_id: str) -> None:
        now = self._clock()
        await self._replace(event_id, lambda stored: stored.handled(now))

    async def release(self, event_id: str, until: datetime, *, was_tried: bool = True) -> None:
        await self._replace(event_id, lambda stored: stored.released(until, was_tried))

    async def take_up(self, limit: int, lease: timedelta = LEASE) -> list[Event]:
        now = self._clock()

        def take_up(known: dict[str, _Stored]) -> list[Event]:
            due = [
                (stored.received_at, event_id)
                for event_id, stored in known.items()
                if stored.handled_at is None and stored.claimed_until <= now
            ]
            taken: list[Event] = []
            for _, event_id in sorted(due):
                if len(taken) == limit:
                    break
                stored = known[event_id]
                if stored.attempts >= MAX_ATTEMPTS:
                    _logger.error(GIVEN_UP, event_id, stored.attempts)
                    known[event_id] = stored.handled(now)
                    continue
                attempt = stored.attempts + 1
                known[event_id] = replace(stored, claimed_until=now + lease, attempts=attempt)
                assert stored.body is not None  # until it is handled
                taken.append(
                    Event(event_id, stored.body, stored.entity_id, stored.received_at, attempt)
                )
            return taken

        return await self._entries.change(take_up)

    async def forget(self, before: datetime) -> int:
        def forget(known: dict[str, _Stored]) -> int:
            old = [
                event_id
                for event_id, stored in known.items()
                if stored.handled_at is not None and stored.received_at < before
            ]
            for event_id in old:
                del known[event_id]
            return len(old)

        return await self._entries.change(forget)

    async def _replace(self, event_id: str, new: Callable[[_Stored], _Stored]) -> None:
        def put(known: dict[str, _Stored]) -> None:
            stored = known.get(event_id)
            if stored is not None and stored.handled_at is None:
                known[event_id] = new(stored)

        await self._entries.change(put)


def _described(stored: _Stored) -> dict[str, Any]:
    return {
        "body": stored.body,
        "entity_id": str(stored.entity_id),
        "received_at": time_text(stored.received_at),
        "claimed_until": time_text(stored.claimed_until),
        "attempts": stored.attempts,
        "handled_at": time_text(stored.handled_at),
    }


def _stored(_: str, entry: Any) -> _Stored:
    return _Stored(
        entry["body"],
        UUID(entry["entity_id"]),
        certain_time_of(entry["received_at"]),
        certain_time_of(entry["claimed_until"]),
        entry["attempts"],
        time_of(entry["handled_at"]),
    )
