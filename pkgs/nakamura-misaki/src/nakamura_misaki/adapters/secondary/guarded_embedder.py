"""An embedder that is left alone for a while when it fails again and again.

While an embedding server is away, each search would wait for it until its bound,
and each note that is saved would wait through the client's retries. After a few
failures in a row this guard (a circuit breaker, https://martinfowler.com/bliki/CircuitBreaker.html)
fails at once instead, and after a pause lets one request through to try; words
answer meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from nakamura_misaki.domain.embedding import Embedder, Embedding
from nakamura_misaki.domain.errors import EmbeddingFailed, EmbeddingRejected

logger = logging.getLogger(__name__)

FAILURES = 3
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0


class EmbeddingObserver(Protocol):
    """Hears of every request for vectors that was let through, and of pauses."""

    def embedded(self, texts: int, seconds: float, *, failed: bool) -> None: ...

    def embedder_suspended(self, is_suspended: bool) -> None: ...


class GuardedEmbedder:
    """The embedder given, observed, and suspended after ``failures`` failures in a row.

    The first pause is ``first_pause`` seconds; each attempt that fails after one
    doubles the next, up to ``longest_pause``. A refusal of the texts themselves
    (EmbeddingRejected) is a sign of life. A request that was cancelled counts as
    failed if it had lasted ``patience`` seconds (its caller gave up on it), else it
    says nothing (its caller went away).
    """

    def __init__(
        self,
        embedder: Embedder,
        observer: EmbeddingObserver,
        *,
        failures: int = FAILURES,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        patience: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._observer = observer
        self._failures = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._patience = patience
        self._clock = clock
        self._in_a_row = 0
        self._pause = 0.0
        self._resumes_at: float | None = None
        """None: it is not suspended."""
        self._is_trying = False

    @property
    def model(self) -> str:
        return self._embedder.model

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """As the embedder does. Raises EmbeddingFailed at once while it is suspended."""
        if self._resumes_at is None:
            return await self._observed(texts)
        if self._is_trying or self._clock() < self._resumes_at:
            raise EmbeddingFailed(
                f"The embedder failed {self._in_a_row} times in a row and is not asked for up to"
                f" {self._pause:g} s."
            )
        self._is_trying = True
        try:
            return await self._observed(texts, is_trial=True)
        finally:
            self._is_trying = False

    async def close(self) -> None:
        await self._embedder.close()

    async def _observed(self, texts: Sequence[str], *, is_trial: bool = False) -> list[Embedding]:
        started = self._clock()
        try:
            vectors = await self._embedder.embed(texts)
        except EmbeddingRejected:
            self._observer.embedded(len(texts), self._clock() - started, failed=True)
            self._succeeded()
            raise
        except asyncio.CancelledError:
            seconds = self._clock() - started
            if seconds >= self._patience:
                self._observer.embedded(len(texts), seconds, failed=True)
                self._failed(is_trial)
            raise
        except Exception:
            self._observer.embedded(len(texts), self._clock() - started, failed=True)
            self._failed(is_trial)
            raise
        self._observer.embedded(len(texts), self._clock() - started, failed=False)
        self._succeeded()
        return vectors

    def _succeeded(self) -> None:
        self._in_a_row = 0
        self._pause = 0.0
        if self._resumes_at is not None:
            self._resumes_at = None
            self._observer.embedder_suspended(False)
            logger.info("the embedder answers again")

    def _failed(self, is_trial: bool) -> None:
        self._in_a_row += 1
        if self._resumes_at is None:
            if self._in_a_row < self._failures:
                return
            self._pause = self._first_pause
            self._observer.embedder_suspended(True)
            logger.warning(
                "the embedder failed %d times in a row: until it answers again,"
                " notes are found by their words only",
                self._in_a_row,
            )
        elif is_trial:
            self._pause = min(2 * self._pause, self._longest_pause)
        else:
            return  # it had begun before the pause
        self._resumes_at = self._clock() + self._pause
