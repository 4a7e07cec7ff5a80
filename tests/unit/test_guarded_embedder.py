"""The circuit breaker around an embedder, with a clock that the test turns."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from nakamura_misaki.adapters.secondary.guarded_embedder import GuardedEmbedder
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.openai_embedder import OpenAIEmbedder
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import EmbeddingFailed, EmbeddingRejected
from openai_server import Fault, OpenAIServer

AWAY = EmbeddingFailed("the server is away.")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """An embedder that fails as it is told, and waits while it is held."""

    def __init__(self) -> None:
        self.real = HashingEmbedder(16)
        self.model = self.real.model
        self.dimensions = self.real.dimensions
        self.error: Exception | None = None
        self.asked = 0
        self._is_asked = asyncio.Condition()
        self.open = asyncio.Event()
        self.open.set()
        self.is_closed = False

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        error, is_open = self.error, self.open
        async with self._is_asked:
            self.asked += 1
            self._is_asked.notify_all()
        await is_open.wait()
        if error is not None:
            raise error
        return await self.real.embed(texts)

    async def reaches(self, asked: int) -> None:
        async with self._is_asked:
            await self._is_asked.wait_for(lambda: self.asked >= asked)

    async def close(self) -> None:
        self.is_closed = True


class Heard:
    def __init__(self) -> None:
        self.embeddings: list[tuple[int, float, bool]] = []
        self.suspensions: list[bool] = []

    def embedded(self, texts: int, seconds: float, *, failed: bool) -> None:
        self.embeddings.append((texts, seconds, failed))

    def embedder_suspended(self, is_suspended: bool) -> None:
        self.suspensions.append(is_suspended)


class Stand:
    """The guard with all that surrounds it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.embedder = Scripted()
        self.heard = Heard()
        self.guard = GuardedEmbedder(self.embedder, self.heard, patience=3.0, clock=self.clock)

    async def fails(self, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(EmbeddingFailed):
                await self.guard.embed(["a"])

    async def is_asked(self) -> bool:
        """Whether the embedder itself hears of a request."""
        before = self.embedder.asked
        with suppress(EmbeddingFailed):
            await self.guard.embed(["a"])
        return self.embedder.asked > before

    async def give_up_after(self, seconds: float) -> None:
        """A request whose caller is gone after so long."""
        self.embedder.open.clear()
        asked = self.embedder.asked
        request = asyncio.create_task(self.guard.embed(["a"]))
        await self.embedder.reaches(asked + 1)
        self.clock.now += seconds
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        self.embedder.open.set()


@pytest.fixture
async def stand() -> Stand:
    return Stand()


async def test_vectors_pass_and_are_heard_of(stand: Stand) -> None:
    vectors = await stand.guard.embed(["a", "b"])

    assert vectors == await stand.embedder.real.embed(["a", "b"])
    assert stand.heard.embeddings == [(2, 0.0, False)]
    assert (stand.guard.model, stand.guard.dimensions) == ("hashing-v1@16", 16)
    await stand.guard.close()
    assert stand.embedder.is_closed


async def test_third_failure_in_a_row_suspends(stand: Stand) -> None:
    stand.embedder.error = AWAY
    await stand.fails(3)

    with pytest.raises(EmbeddingFailed, match="failed 3 times in a row"):
        await stand.guard.embed(["a"])
    assert stand.embedder.asked == 3
    assert stand.heard.suspensions == [True]
    # What was not asked for was no failure of the embedder's.
    assert stand.heard.embeddings == [(1, 0.0, True)] * 3


async def test_a_success_in_between_starts_the_count_anew(stand: Stand) -> None:
    for _ in range(3):
        stand.embedder.error = AWAY
        await stand.fails(2)
        stand.embedder.error = None
        assert await stand.is_asked()
    assert stand.heard.suspensions == []


async def test_texts_that_are_refused_are_a_sign_of_life(stand: Stand) -> None:
    stand.embedder.error = EmbeddingRejected("not these.")
    for _ in range(5):
        with pytest.raises(EmbeddingRejected):
            await stand.guard.embed(["a"])
    assert stand.embedder.asked == 5

    stand.embedder.error = AWAY
    await stand.fails(3)
    stand.clock.now += 5
    stand.embedder.error = EmbeddingRejected("not these.")
    with pytest.raises(EmbeddingRejected):
        await stand.guard.embed(["a"])
    assert stand.heard.suspensions == [True, False]


async def test_pause_doubles_up_to_a_minute_and_one_success_ends_it(stand: Stand) -> None:
    stand.embedder.error = AWAY
    await stand.fails(3)
    for pause in (5, 10, 20, 40, 60, 60):
        stand.clock.now += pause - 0.1
        assert not await stand.is_asked()
        stand.clock.now += 0.1
        assert await stand.is_asked()
    stand.clock.now += 60
    stand.embedder.error = None
    assert await stand.is_asked()
    assert await stand.is_asked()
    assert stand.heard.suspensions == [True, False]

    stand.embedder.error = AWAY
    await stand.fails(3)
    stand.clock.now += 5
    assert await stand.is_asked()


async def test_one_request_at_a_time_tries_after_a_pause(stand: Stand) -> None:
    stand.embedder.error = AWAY
    await stand.fails(3)
    stand.clock.now += 5
    stand.embedder.error = None
    stand.embedder.open.clear()
    trial = asyncio.create_task(stand.guard.embed(["a"]))
    await stand.embedder.reaches(4)

    await stand.fails(10)
    assert stand.embedder.asked == 4
    stand.embedder.open.set()
    assert len(await trial) == 1
    assert await stand.is_asked()


async def test_a_caller_who_waited_in_vain_counts_as_a_failure(stand: Stand) -> None:
    for _ in range(3):
        await stand.give_up_after(3.0)

    assert stand.heard.embeddings == [(1, 3.0, True)] * 3
    assert not await stand.is_asked()


async def test_a_caller_who_went_away_says_nothing(stand: Stand) -> None:
    for _ in range(5):
        await stand.give_up_after(2.9)
    assert stand.heard.embeddings == []

    stand.embedder.error = AWAY
    await stand.fails(3)
    stand.clock.now += 5
    await stand.give_up_after(1.0)
    # Neither tried nor failed: the next one tries.
    stand.embedder.error = None
    assert await stand.is_asked()


async def test_what_began_before_a_pause_does_not_lengthen_it(stand: Stand) -> None:
    stand.embedder.error = AWAY
    stand.embedder.open.clear()
    requests = [asyncio.create_task(stand.guard.embed(["a"])) for _ in range(8)]
    await stand.embedder.reaches(8)
    stand.embedder.open.set()
    await asyncio.gather(*requests, return_exceptions=True)

    assert stand.heard.suspensions == [True]
    stand.clock.now += 5
    stand.embedder.error = None
    assert await stand.is_asked()


async def test_late_success_of_an_earlier_request_ends_the_pause(stand: Stand) -> None:
    slow_answer = stand.embedder.open = asyncio.Event()
    slow = asyncio.create_task(stand.guard.embed(["a"]))
    await stand.embedder.reaches(1)
    stand.embedder.open = asyncio.Event()
    stand.embedder.open.set()
    stand.embedder.error = AWAY
    await stand.fails(3)
    assert not await stand.is_asked()

    slow_answer.set()
    await slow
    assert stand.heard.suspensions == [True, False]
    stand.embedder.error = None
    assert await stand.is_asked()


async def test_with_the_real_client_an_outage_costs_three_requests() -> None:
    heard = Heard()
    async with OpenAIServer() as server:
        server.always = Fault(status=503)
        embedder = OpenAIEmbedder(api_key=server.key, base_url=server.base_url, max_retries=0)
        guard = GuardedEmbedder(embedder, heard)
        for _ in range(10):
            with pytest.raises(EmbeddingFailed):
                await guard.embed(["a"])
        await guard.close()
        assert len(server.requests) == 3
    assert heard.suspensions == [True]
