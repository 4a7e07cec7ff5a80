"""What came in from outside, kept until it is dealt with: each event once, and none lost.

An event is stored before its sender is told that it arrived, so that a crash
loses none; a sender that repeats itself is recognised by the event's id, across
restarts and processes. Who works on an event holds it for a while; if that
process dies, another takes it up, with the same reserved id, so that what the
event creates is created once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

_SURROGATES = re.compile("[\ud800-\udfff]")

KEPT_FOR = timedelta(days=7)
"""How long the id of a handled event is known. Slack repeats an event three times within some
minutes (https://docs.slack.dev/apis/events-api/#retries)."""

LEASE = timedelta(minutes=2)
"""How long a process may work on an event before another takes it for dead."""

MAX_ATTEMPTS = 5
"""An event that was taken up so often and not finished is given up, and said so in the log."""

GIVEN_UP = "The event %s was given up after %d attempts; whoever sent it got no answer."
"""What the log says then, with the event's id and the number of its attempts."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event to be dealt with. ``entity_id`` and ``received_at`` are for what it creates.

    ``attempt`` is 1 the first time; more: an earlier process died over it, and
    may have answered.
    """

    id: str
    body: Mapping[str, Any]
    entity_id: UUID
    received_at: datetime
    attempt: int = 1


class EventInbox(Protocol):
    """Events of one workspace. Every method may raise StorageUnavailable."""

    async def receive(self, event: Event, lease: timedelta = LEASE) -> bool:
        """Store a new event, held by the caller for ``lease``; False if it is known."""
        ...

    async def finish(self, event_id: str) -> None:
        """The event is dealt with; its body is deleted, its id stays known."""
        ...

    async def release(self, event_id: str, until: datetime, *, was_tried: bool = True) -> None:
        """Give the event back, to be taken up by anybody after ``until``.

        If its work was not begun (``was_tried`` false), this attempt does not count.
        """
        ...

    async def take_up(self, limit: int, lease: timedelta = LEASE) -> list[Event]:
        """Hold unfinished events that nobody holds any more, oldest first; those now held."""
        ...

    async def forget(self, before: datetime) -> int:
        """Delete events handled and received before that; how many."""
        ...


def storable(value: Any) -> Any:
    """The JSON value without the characters that no ``jsonb`` holds: each becomes U+FFFD.

    A message is not to be lost for a NUL or half a surrogate pair in it.
    """
    match value:
        case str():
            text = value.replace("\x00", "\ufffd")
            return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
        case Mapping():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value
