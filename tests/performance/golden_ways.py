"""The product's own ways of searching the golden notes: by words, by vectors, by both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_embedding_store import (
    WEIGHT_OF_LETTERS,
    WEIGHT_OF_MEANING,
)
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.golden_measures import DEPTH
from performance.golden_rivals import Scored
from performance.golden_set import GoldenSet
from performance.stage import Stage

# What a search gives back is the fused rank, which says nothing about how well the best one fits.
_WORDS_SCORES = "SELECT note_id, score FROM nakamura_misaki_words_among($1, NULL, $2, NULL, NULL)"
_NEAREST = "SELECT note_id, 1 - distance FROM nakamura_misaki_nearest(NULL, $1, $2, $3)"


class Ways:
    """Every question is about everybody's notes, as the demo's and Slack's are."""

    def __init__(self, golden: GoldenSet, manager: DatabaseManager, embedder: Embedder) -> None:
        self.manager = manager
        self._names = golden.names
        self._embedder = embedder
        self._by_words = PostgreSQLNoteRepository(manager, None)
        is_lexical = isinstance(embedder, HashingEmbedder)
        self._by_both = PostgreSQLNoteRepository(
            manager,
            embedder,
            query_timeout=60,
            vector_weight=WEIGHT_OF_LETTERS if is_lexical else WEIGHT_OF_MEANING,
        )

    async def store(self, golden: GoldenSet) -> None:
        notes = list(golden.notes.values())
        vectors = await self._embedder.embed([note.content for note in notes])
        await self._by_both.save_many(notes, vectors)

    async def words(self, question: str) -> Scored:
        """The search without an embedder; its order, with the score that the leg itself gives."""
        found = await self._search(self._by_words, question)
        async with self.manager.connection() as connection:
            rows = await connection.fetch(_WORDS_SCORES, question, 5 * DEPTH)
        scores = {self._names[row[0]]: float(row[1]) for row in rows}
        return [(name, scores[name]) for name, _ in found]

    async def vector(self, question: str) -> Scored:
        (target,) = await self._embedder.embed([question])
        async with self.manager.connection() as connection:
            rows = await connection.fetch(_NEAREST, self._embedder.model, target, DEPTH)
        return [(self._names[row[0]], float(row[1])) for row in rows]

    async def both(self, question: str) -> Scored:
        """The search that users have."""
        return await self._search(self._by_both, question)

    async def _search(self, repository: PostgreSQLNoteRepository, question: str) -> Scored:
        found = await repository.search(question, None, DEPTH)
        return [(self._names[note.id], note.score) for note in found]


@asynccontextmanager
async def loaded(stage: Stage, golden: GoldenSet, embedder: Embedder) -> AsyncIterator[Ways]:
    """A fresh database that holds the golden notes and their vectors."""
    manager = DatabaseManager(stage.url(stage.database()))
    try:
        ways = Ways(golden, manager, embedder)
        await ways.store(golden)
        yield ways
    finally:
        await manager.close()
