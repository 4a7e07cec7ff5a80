"""Another model in the place of the one in use: what it costs, the work, and the way back.

The new vectors are made beside the old ones, which answer every search until
the switch and stay afterwards. What is done stays done: after a failure or a
kill at any moment the next run goes on where this one stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from nakamura_misaki.domain.errors import (
    EmbeddingFailed,
    EmbeddingRejected,
    NakamuraMisakiError,
    NotFound,
)
from nakamura_misaki.domain.repositories import (
    EmbeddedBatch,
    ModelStore,
    PendingTexts,
    StoredModel,
)

BATCH = 256
ASCII_CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English (https://help.openai.com/en/articles/4936856)."""
TOKENS_PER_OTHER_CHARACTER = 1.2
"""Japanese in cl100k_base, the vocabulary of OpenAI's embedding models: 0.9 to 1.3, by the text."""
FIRST_PAUSE = 2.0
PATIENCE = 6
"""How often a batch is tried again, after 2, 4, 8 … s, on top of the embedder's own retries."""
ROUNDS = 3
"""How often what came in meanwhile is embedded before the switch makes writers wait for it."""

OnProgress: TypeAlias = Callable[[int, int], None]
"""Hears how many notes have their vector, and of how many."""
BuildIndexes: TypeAlias = Callable[[str], Awaitable[list[str]]]
"""Builds what makes searches with a model fast; what was done, in sentences."""
Sleep: TypeAlias = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reembedding will take. ``tokens`` is an estimate, of the texts not embedded before."""

    model: str
    active: str | None
    pending: PendingTexts

    @property
    def tokens(self) -> int:
        return round(
            self.pending.ascii_characters / ASCII_CHARACTERS_PER_TOKEN
            + self.pending.other_characters * TOKENS_PER_OTHER_CHARACTER
        )

    @property
    def is_done(self) -> bool:
        return self.model == self.active and not self.pending.notes

    def cost(self, dollars_per_million: float | None) -> float | None:
        """What the tokens cost in US dollars; None where the price is not known."""
        return None if dollars_per_million is None else self.tokens * dollars_per_million / 1e6


@dataclass(slots=True)
class Outcome:
    """What was done: ``embedded`` notes for ``asked`` texts, ``missing`` notes without a vector.

    ``replaced`` is the model in use before; ``actions`` are sentences about
    indexes, ``warnings`` about what could not be done and does no harm.
    """

    model: str
    replaced: str | None
    embedded: int = 0
    asked: int = 0
    missing: int = 0
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Reembedding:
    """Puts the model of a store's embedder to use.

    ``build_indexes`` may raise: searches are right without an index. Every
    method may raise StorageUnavailable, those that change anything AlreadyAtWork.
    """

    def __init__(
        self,
        store: ModelStore,
        model: str,
        build_indexes: BuildIndexes,
        *,
        max_bytes: int,
        batch: int = BATCH,
        on_progress: OnProgress = lambda done, total: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._model = model
        self._build_indexes = build_indexes
        self._max_bytes = max_bytes
        self._batch = batch
        self._on_progress = on_progress
        self._sleep = sleep
        self._total = 0

    async def plan(self) -> Plan:
        """What is to be done. Changes nothing."""
        active = active_of(await self._store.models())
        pending = await self._store.measure_pending(self._max_bytes)
        return Plan(self._model, active, pending)

    async def run(self, *, allow_missing: int = 0) -> Outcome:
        """Embed every note, index the vectors, switch.

        Raises EmbeddingFailed when the embedder stays away, EmbeddingRejected
        when it refuses more than ``allow_missing`` texts; the old model stays in use then.
        """
        async with self._store.at_work():
            outcome = Outcome(self._model, active_of(await self._store.models()))
            await self._store.register()
            self._total = sum(
                each.missing for each in await self._store.models() if each.model == self._model
            )
            await self._embed_all(outcome)
            await self._index(outcome)
            is_stuck = False
            for turn in range(2 * ROUNDS):
                switch = await self._store.switch_to(
                    self._model,
                    allow_missing=allow_missing,
                    finishing=is_stuck or turn >= ROUNDS,
                )
                outcome.missing = switch.missing
                if switch.is_done:
                    return _without_itself(outcome)
                if is_stuck:
                    raise EmbeddingRejected(
                        f"The model {self._model} refuses the texts of {switch.missing:,} notes, so"
                        " the old one stays in use. Words find these notes; to switch all the same:"
                        f" nakamura-misaki reembed --allow-missing {switch.missing}"
                    )
                is_stuck = not await self._embed_all(outcome)
            raise EmbeddingFailed(
                f"Notes come in faster than the model {self._model} gives them vectors, so the old"
                " one stays in use; run it again when there is less to do."
            )

    async def roll_back(self, *, can_embed: bool) -> Outcome:
        """Put the model replaced last, which is the store's, to use again.

        Notes written or edited since get their vectors first, if it can embed;
        words find those that don't.
        """
        async with self._store.at_work():
            outcome = Outcome(self._model, active_of(await self._store.models()))
            if can_embed:
                try:
                    await self._embed_all(outcome, patience=0)
                except EmbeddingFailed as error:
                    outcome.warnings.append(str(error))
            switch = await self._store.switch_to(self._model, allow_missing=None)
            outcome.missing = switch.missing
            return _without_itself(outcome)

    async def _embed_all(self, outcome: Outcome, *, patience: int = PATIENCE) -> int:
        """Embed what is pending, and most of what comes in meanwhile; how many notes were."""
        before = outcome.embedded
        while True:
            at_start, place = outcome.embedded, None
            while True:
                place = (await self._embed_next(place, patience, outcome)).last
                if place is None:
                    break
            # Somebody who writes all the time would never let a pass find nothing.
            if outcome.embedded - at_start <= self._batch:
                return outcome.embedded - before

    async def _embed_next(
        self, place: UUID | None, patience: int, outcome: Outcome
    ) -> EmbeddedBatch:
        for attempt in range(patience + 1):
            try:
                done = await self._store.embed_next(self._batch, place)
                break
            except EmbeddingRejected:
                raise
            except EmbeddingFailed:
                # A wrong key or address shows at once; what worked a moment ago may work again.
                if attempt == patience or not outcome.embedded:
                    raise
            await self._sleep(FIRST_PAUSE * 2**attempt)
        outcome.embedded += done.embedded
        outcome.asked += done.asked
        self._on_progress(outcome.embedded, max(outcome.embedded, self._total))
        return done

    async def _index(self, outcome: Outcome) -> None:
        try:
            outcome.actions += await self._build_indexes(self._model)
        except NakamuraMisakiError as error:
            outcome.warnings.append(f"searches are right, but not yet at their fastest: {error}")


def active_of(models: list[StoredModel]) -> str | None:
    """The model in use."""
    return next((each.model for each in models if each.is_active), None)


def replaced_last(models: list[StoredModel]) -> StoredModel:
    """The model that a rollback goes back to. Raises NotFound."""
    for each in models:
        if not each.is_active and each.replaced_at is not None:
            return each
    raise NotFound("no vectors of an earlier model are kept, so there is nothing to go back to.")


def _without_itself(outcome: Outcome) -> Outcome:
    if outcome.replaced == outcome.model:
        outcome.replaced = None
    return outcome
