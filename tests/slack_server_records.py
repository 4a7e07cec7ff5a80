"""What ``slack_server`` keeps of what happened, and how a test waits for more of it.

Times ``at`` are seconds of ``time.monotonic()``: they are there to be compared.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Blocks = list[dict[str, Any]]


@dataclass(slots=True)
class Call:
    """One request to the Web API or to a response_url, recorded on arrival.

    ``arguments`` are decoded, whether they came as a form, as a query or as JSON;
    header names are in lower case. ``outcome`` is None until the request was dealt
    with, then ``ok``, Slack's error, ``http 503``, ``cut before`` or ``cut after``.
    """

    method: str
    token: str | None
    arguments: dict[str, Any]
    headers: Mapping[str, str]
    at: float = field(default_factory=time.monotonic)
    outcome: str | None = None


@dataclass(slots=True)
class Message:
    """A message of a conversation. ``user`` is who wrote it; ``bot_id`` says that an app did."""

    channel: str
    ts: str
    user: str
    text: str = ""
    blocks: Blocks = field(default_factory=list)
    attachments: Blocks = field(default_factory=list)
    thread_ts: str | None = None
    metadata: dict[str, Any] | None = None
    bot_id: str | None = None
    only_for: str | None = None
    edited_ts: str | None = None
    deleted: bool = False
    reactions: list[tuple[str, str]] = field(default_factory=list)
    at: float = field(default_factory=time.monotonic)

    @property
    def words(self) -> str:
        """All that a reader sees: the texts of the blocks where there are any, or else the text."""
        found = [text for _, text in texts(self.blocks)]
        return "\n".join(found) if found else self.text

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """The message's buttons by their action_id."""
        return {
            element["action_id"]: element
            for element in elements(self.blocks)
            if element.get("type") == "button" and "action_id" in element
        }


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement of an envelope; ``counted`` is False while the server ignores them."""

    envelope_id: str
    payload: dict[str, Any] | None
    connection: int
    counted: bool = True
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was sent over a socket, and over which of the connections (its number)."""

    envelope_id: str
    type: str
    payload: dict[str, Any]
    connection: int
    retry_attempt: int = 0
    retry_reason: str = ""
    at: float = field(default_factory=time.monotonic)

    @property
    def event_id(self) -> str | None:
        return self.payload.get("event_id")


class Changes:
    """Wakes whoever waits for a condition, in whichever thread or event loop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def happened(self) -> None:
        with self._changed:
            self._changed.notify_all()
            for loop, event in self._waiting:
                with contextlib.suppress(RuntimeError):  # a loop that was closed waits no longer
                    loop.call_soon_threadsafe(event.set)

    def wait(self, holds: Callable[[], bool], timeout: float) -> bool:
        """Whether the condition came to hold in so many seconds."""
        with self._changed:
            return self._changed.wait_for(holds, timeout)

    async def wait_async(self, holds: Callable[[], bool], timeout: float) -> bool:
        event = asyncio.Event()
        waiting = (asyncio.get_running_loop(), event)
        with self._changed:
            self._waiting.add(waiting)
        try:
            async with asyncio.timeout(timeout):
                while not holds():
                    await event.wait()
                    event.clear()
        except TimeoutError:
            return holds()
        finally:
            with self._changed:
                self._waiting.discard(waiting)
        return True


def elements(part: Any) -> Iterator[dict[str, Any]]:
    """Every object within blocks, from the outside in."""
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from elements(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from elements(inner)


def texts(part: Any) -> Iterator[tuple[str, str]]:
    """The type and the text of every text object within blocks."""
    for element in elements(part):
        if isinstance(text := element.get("text"), str):
            yield str(element.get("type")), text
