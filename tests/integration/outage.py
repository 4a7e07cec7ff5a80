"""A database that is restarted beneath the service, and clients that go on meanwhile.

Each writer posts tasks, each under an Idempotency-Key of its own, and asks again
with the same key until it is told that the task is there, as a careful client does.
What the service said, and when, is kept.
"""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
import httpx

from embedded_home import family_of, kill_and_wait, postmaster_of
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.embedded_postmaster import is_alive

USER = "U0OUTAGE"
RETRY_PAUSE = 0.05
RECOVERY = 3.0
"""Seconds after the server answers again in which a request may still fail: those that began
before it did, with the pauses between their retries."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the service; ``began`` and ``ended`` in seconds of the monotonic clock."""

    status: int
    retry_after: str | None
    began: float
    ended: float
    error: str = ""


@dataclass(slots=True)
class Traffic:
    """Readers and writers on a service, and what they saw. ``acknowledged`` maps key to task id."""

    client: httpx.AsyncClient
    answers: list[Answer] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    asked_again: Counter[str] = field(default_factory=Counter)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def run(
        self, disturb: Callable[[], Awaitable[None]], *, readers: int, writers: int
    ) -> None:
        """Keep all of them busy until ``disturb`` has come to its end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(readers):
                group.create_task(self._read())
            for _ in range(writers):
                group.create_task(self._write())
            await disturb()
            self._stopping.set()

    async def wait_for_answers(self, count: int) -> None:
        """Until so many more requests have been answered with success."""
        before = self._successes()
        while self._successes() < before + count:  # noqa: ASYNC110  (there is no event for it)
            await asyncio.sleep(0.005)

    def _successes(self) -> int:
        return sum(answer.status < 300 for answer in self.answers)

    async def _read(self) -> None:
        while not self._stopping.is_set():
            await self._ask("GET", "/v1/tasks", params={"user_id": USER, "limit": 5})

    async def _write(self) -> None:
        while not self._stopping.is_set():
            key = f"outage-{next(self._numbers)}"
            task = {"title": key, "assignee_user_id": USER, "creator_user_id": USER}
            while True:
                made = await self._ask(
                    "POST", "/v1/tasks", json=task, headers={"Idempotency-Key": key}
                )
                if made is not None and made.status_code == 201:
                    self.acknowledged[key] = made.json()["id"]
                    break
                self.asked_again[key] += 1
                await asyncio.sleep(RETRY_PAUSE)

    async def _ask(self, method: str, path: str, **options: object) -> httpx.Response | None:
        began = time.monotonic()
        try:
            answer = await self.client.request(method, path, **options)
        except httpx.HTTPError as error:
            self.answers.append(Answer(0, None, began, time.monotonic(), repr(error)))
            return None
        self.answers.append(
            Answer(
                answer.status_code,
                answer.headers.get("retry-after"),
                began,
                time.monotonic(),
                answer.text if answer.status_code >= 400 else "",
            )
        )
        if answer.status_code >= 400:
            await asyncio.sleep(RETRY_PAUSE)
        return answer


@dataclass(frozen=True, slots=True)
class Outage:
    """When the server was away: from before it was told to go, to when it answered again."""

    began: float
    ended: float

    def explains(self, answer: Answer) -> bool:
        return answer.ended >= self.began and answer.began <= self.ended + RECOVERY


async def restart(server: EmbeddedServer, *, killed: bool, away: float = 0.0) -> Outage:
    """Stop the server fast, or kill it and all its children; start it again after ``away`` seconds."""
    began = time.monotonic()
    await asyncio.to_thread(_kill if killed else _stop, server)
    await asyncio.sleep(away)
    await asyncio.to_thread(server.start)
    return Outage(began, time.monotonic())


def _stop(server: EmbeddedServer) -> None:
    postmaster = postmaster_of(server)
    with suppress(ProcessLookupError):
        os.kill(postmaster, signal.SIGINT)  # "fast": sessions are ended, no new ones let in
    while is_alive(postmaster):
        time.sleep(0.001)


def _kill(server: EmbeddedServer) -> None:
    kill_and_wait(*family_of(postmaster_of(server)))


def failures_in(traffic: Traffic) -> list[Answer]:
    return [answer for answer in traffic.answers if answer.status not in (200, 201)]


def unexplained(failures: list[Answer], outages: list[Outage]) -> list[Answer]:
    """Those that are anything but a 503 with a Retry-After of whole seconds during an outage."""
    return [
        failure
        for failure in failures
        if failure.status != 503
        or not (failure.retry_after or "").isdecimal()
        or not any(outage.explains(failure) for outage in outages)
    ]


@dataclass(frozen=True, slots=True)
class Damage:
    """What the database holds in place of what was acknowledged, by Idempotency-Key."""

    lost: list[str]
    doubled: list[str]
    unasked: list[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.unasked)


async def damage(traffic: Traffic, look: asyncpg.Connection) -> Damage:
    """Compare every acknowledged task with what is stored."""
    rows = await look.fetch(
        "SELECT title, array_agg(id::text) AS ids FROM tasks"
        " WHERE assignee_user_id = $1 GROUP BY title",
        USER,
    )
    stored = {row["title"]: row["ids"] for row in rows}
    return Damage(
        lost=[key for key, id_ in traffic.acknowledged.items() if id_ not in stored.get(key, ())],
        doubled=[key for key, ids in stored.items() if len(ids) > 1],
        unasked=[key for key in stored if key not in traffic.acknowledged],
    )
