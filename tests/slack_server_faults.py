"""What can go wrong with an answer of ``slack_server``: scripted faults, and a real rate limit."""

import math
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one request. Seconds where a time is given.

    ``delay`` passes before the request is processed, ``answer_delay`` after it.
    ``cut`` ends the connection without an answer: ``before`` anything was done, or
    ``after`` everything was, so that the client can't know that it was.
    """

    status: int = 200
    error: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    answer_delay: float = 0.0
    cut: Literal["before", "after"] | None = None
    body: bytes | None = None

    @classmethod
    def none(cls) -> "Fault":
        """Nothing: for a request between two that fail."""
        return cls()

    @classmethod
    def rate_limited(cls, retry_after: int = 1) -> "Fault":
        """HTTP 429. Slack gives whole seconds, and its clients read nothing else."""
        return cls(429, "ratelimited", {"Retry-After": str(retry_after)})

    @classmethod
    def failing(cls, status: int = 500) -> "Fault":
        return cls(status, "internal_error")

    @classmethod
    def refused(cls, error: str) -> "Fault":
        """HTTP 200 with ``ok: false``, as Slack answers what it won't do."""
        return cls(error=error)

    @classmethod
    def late(cls, seconds: float) -> "Fault":
        """Nothing is done until the time has passed."""
        return cls(delay=seconds)

    @classmethod
    def late_answer(cls, seconds: float) -> "Fault":
        """All is done at once, and the answer comes when the time has passed."""
        return cls(answer_delay=seconds)

    @classmethod
    def cut_before(cls) -> "Fault":
        return cls(cut="before")

    @classmethod
    def cut_after(cls) -> "Fault":
        return cls(cut="after")

    @classmethod
    def garbage(cls, body: bytes = b'{"ok": true, "chan') -> "Fault":
        """Processed, and answered with something that isn't JSON."""
        return cls(body=body)


class RateLimit:
    """At most so many requests in any period, for each channel on its own."""

    def __init__(self, per_second: float) -> None:
        if per_second <= 0:
            raise ValueError(f"per_second must be positive, not {per_second}")
        self._most = max(1, int(per_second))
        self._period = self._most / per_second
        self._taken: dict[str, deque[float]] = defaultdict(deque)

    def take(self, channel: str) -> int | None:
        """None when the request may pass, or else after how many seconds one will."""
        now, taken = time.monotonic(), self._taken[channel]
        while taken and taken[0] <= now - self._period:
            taken.popleft()
        if len(taken) < self._most:
            taken.append(now)
            return None
        return max(1, math.ceil(taken[0] + self._period - now))


class Script:
    """Which fault each method's next requests take: the first scripted one, or else the standing one."""

    def __init__(self) -> None:
        self._next: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._limits: dict[str, RateLimit] = {}

    def add(self, method: str, *faults: Fault) -> None:
        self._next[method].extend(faults)

    def always(self, method: str, fault: Fault | None) -> None:
        if fault is None:
            self._always.pop(method, None)
        else:
            self._always[method] = fault

    def limit(self, method: str, per_second: float | None) -> None:
        if per_second is None:
            self._limits.pop(method, None)
        else:
            self._limits[method] = RateLimit(per_second)

    def take(self, method: str, channel: str) -> Fault:
        waiting = self._next[method]
        if waiting:
            return waiting.popleft()
        if method in self._always:
            return self._always[method]
        if method in self._limits and (seconds := self._limits[method].take(channel)) is not None:
            return Fault.rate_limited(seconds)
        return Fault()
