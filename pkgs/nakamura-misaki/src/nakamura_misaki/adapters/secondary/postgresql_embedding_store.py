"""Vectors of notes in PostgreSQL: one model in use, others beside it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any
from uuid import UUID

from asyncpg.exceptions import UniqueViolationError

from nakamura_misaki.adapters.secondary.postgresql_repository import PostgreSQLRepository, stage
from nakamura_misaki.domain.embedding import Embedder, Embedding
from nakamura_misaki.domain.errors import (
    EmbeddingFailed,
    EmbeddingModelMismatch,
    EmbeddingRejected,
    InvalidInput,
)
from nakamura_misaki.domain.repositories import EmbeddedBatch, StoredEmbedding
from nakamura_misaki.infrastructure.database.manager import Connection, DatabaseManager
from nakamura_misaki.infrastructure.database.vector_codec import MAX_DIMENSIONS, encode_halfvecs

logger = logging.getLogger(__name__)

BATCH = 2000
"""Vectors written in one transaction: about 6 MB at 1,536 dimensions."""

EMBEDDED_AT_ONCE = 256

WEIGHT_OF_MEANING = 2.0
"""How much a rank by a language model's vectors counts beside one by words."""

WEIGHT_OF_LETTERS = 0.2
"""The same for vectors made of letters: they know less than words, and decide where these don't."""

_COLUMNS = ("note_id", "model", "embedding", "text_hash")
# Every vector belongs to a note, so there is nothing to look up: for a workspace of which there are
# no statistics yet, that could read all of its vectors for each note, and writers wait for the count.
PENDING = """
SELECT (SELECT count(*) FROM notes WHERE workspace_id = $1)
    - (SELECT count(*) FROM note_embeddings WHERE workspace_id = $1 AND model = $2)"""
# Of a model that was discarded nothing is pending: a service that still runs with it would pay for
# every note again and again, and could store none.
# As the difference of two sets, each read once: of a workspace or a model that is new the planner has
# no statistics, takes it to have one row, and would read all of its vectors for each note.
_NEXT_PENDING = """
WITH lacking AS MATERIALIZED (
    SELECT id FROM notes WHERE workspace_id = $1 AND id > $4
    EXCEPT
    SELECT note_id FROM note_embeddings WHERE workspace_id = $1 AND model = $2 AND note_id > $4
    ORDER BY id LIMIT $3
)
SELECT n.id, n.content FROM lacking JOIN notes AS n ON n.workspace_id = $1 AND n.id = lacking.id
WHERE EXISTS (SELECT FROM embedding_models WHERE workspace_id = $1 AND model = $2)
ORDER BY n.id"""
# The text is compared as it was when the vector was made of it: a note that has been edited
# meanwhile must not get the vector of its old text; and a process that was started with another
# model, before a switch, must not bring its vectors back. The lock on the note lets an edit that
# comes at this moment wait, and then delete this vector, too.
_STORE_ONE = """
INSERT INTO note_embeddings AS known (workspace_id, note_id, model, user_id, embedding, text_hash)
SELECT $1, n.id, $3, n.user_id, $4, $6 FROM notes AS n
WHERE n.workspace_id = $1 AND n.id = $2 AND n.content = $5
    AND EXISTS (SELECT FROM embedding_models WHERE workspace_id = $1 AND model = $3)
FOR SHARE OF n
ON CONFLICT (workspace_id, note_id, model) DO UPDATE
SET embedding = excluded.embedding, text_hash = excluded.text_hash, is_indexed = false
WHERE known.text_hash IS DISTINCT FROM excluded.text_hash"""
_STORE_MANY = """
INSERT INTO note_embeddings (workspace_id, note_id, model, user_id, embedding, text_hash)
SELECT $1, n.id, s.model, n.user_id, s.embedding, s.text_hash
FROM staging_note_embeddings AS s
JOIN notes AS n ON n.workspace_id = $1 AND n.id = s.note_id
    AND nakamura_misaki_text_hash(n.content) = s.text_hash
WHERE EXISTS (SELECT FROM embedding_models AS m WHERE m.workspace_id = $1 AND m.model = s.model)
ORDER BY n.id
FOR SHARE OF n
ON CONFLICT (workspace_id, note_id, model) DO NOTHING"""
_MERGE = """
WITH stored AS (
    INSERT INTO note_embeddings (workspace_id, note_id, model, user_id, embedding, text_hash)
    SELECT $1, n.id, s.model, n.user_id, s.embedding, nakamura_misaki_text_hash(n.content)
    FROM staging_note_embeddings AS s
    JOIN notes AS n ON n.workspace_id = $1 AND n.id = s.note_id
    ON CONFLICT (workspace_id, note_id, model) DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM stored"""
# For vectors that come with their notes: one of a text that is not the stored one is left out.
MERGE_WITH_NOTES = _MERGE.replace(
    "ON CONFLICT",
    "JOIN staging_notes AS t ON t.id = n.id AND t.content = n.content\n    ON CONFLICT",
)
# Of each text its vector, wherever there is one: of another note, or of one that has been edited.
_OF_TEXTS = """
SELECT t.text_hash, v.embedding FROM unnest($3::uuid[]) AS t (text_hash)
CROSS JOIN LATERAL (
    SELECT embedding FROM note_embeddings AS e
    WHERE e.workspace_id = $1 AND e.model || '' = $2 AND e.text_hash = t.text_hash
    UNION ALL
    SELECT embedding FROM spare_embeddings AS e
    WHERE e.workspace_id = $1 AND e.model = $2 AND e.text_hash = t.text_hash
    LIMIT 1
) AS v"""
_PAGE = """
SELECT note_id, model, embedding FROM note_embeddings
WHERE workspace_id = $1 AND (note_id, model) > ($2, $3)
ORDER BY note_id, model LIMIT $4"""
_CLAIM_MODEL = """
INSERT INTO embedding_models (workspace_id, model, dimensions, is_active)
SELECT $1, $2, $3, true
WHERE NOT EXISTS (SELECT FROM embedding_models WHERE workspace_id = $1 AND is_active)
ON CONFLICT (workspace_id, model) DO UPDATE SET is_active = true, replaced_at = NULL"""
_ACTIVE_MODEL = (
    "SELECT model, dimensions FROM embedding_models WHERE workspace_id = $1 AND is_active"
)


class PostgreSQLEmbeddingStore(PostgreSQLRepository):
    """The port ``EmbeddingStore``; ``embedder`` None: no vector is made or asked for.

    ``query_timeout`` (seconds) is how long a search waits for its question's
    vector before words alone answer; ``vector_weight`` how much a rank by vector counts beside one
    by words. ``outlives_switch``: this is part of a service, which must go on, by words, when
    another model takes the place of its own.
    """

    def __init__(
        self,
        manager: DatabaseManager,
        embedder: Embedder | None,
        *,
        workspace_id: str | None = None,
        query_timeout: float = 3.0,
        vector_weight: float = WEIGHT_OF_MEANING,
        outlives_switch: bool = False,
    ) -> None:
        super().__init__(manager, workspace_id)
        self._query_timeout = query_timeout
        self._vector_weight = vector_weight
        if embedder is not None and embedder.dimensions > MAX_DIMENSIONS:
            raise InvalidInput(
                f"The model {embedder.model} has {embedder.dimensions} dimensions;"
                f" at most {MAX_DIMENSIONS} can be stored."
            )
        self._embedder = embedder
        self._model_is_active = False
        self._outlives_switch = outlives_switch

    async def count_pending(self) -> int:
        if self._embedder is None:
            return 0
        model = self._embedder.model
        pending: int = await self._run(lambda c: c.fetchval(PENDING, self._workspace_id, model))
        return pending

    async def embed_pending(self, batch: int = EMBEDDED_AT_ONCE) -> int:
        embedder = await self._active_embedder()
        place: UUID | None = None
        while True:
            done = await self._embed_next(embedder, batch, place)
            place = done.last
            # All of them refused: the next ones need not be.
            if done.embedded or place is None:
                return done.embedded

    async def store_embeddings(self, embeddings: Iterable[StoredEmbedding]) -> int:
        stored = 0
        remaining = iter(embeddings)
        while batch := list(islice(remaining, BATCH)):
            for _, model, vector in batch:
                if not 1 <= len(vector) <= MAX_DIMENSIONS:
                    raise InvalidInput(
                        f"A vector of {model} has {len(vector)} dimensions;"
                        f" 1 to {MAX_DIMENSIONS} can be stored."
                    )

            async def merge(connection: Connection, batch: Any = batch) -> int:
                async with connection.transaction():
                    return await self._merge_embeddings(connection, batch)

            stored += await self._run(merge)
        return stored

    async def stream_embeddings(self) -> AsyncIterator[StoredEmbedding]:
        async for row in self._pages(_PAGE, ("note_id", "model"), UUID(int=0), ""):
            yield StoredEmbedding(*row)

    async def _embed_next(
        self, embedder: Embedder, batch: int, after: UUID | None
    ) -> EmbeddedBatch:
        """Embed the next pending notes in the order of ids, those of them that the model takes."""
        place = UUID(int=0) if after is None else after
        arguments = (self._workspace_id, embedder.model, batch, place)
        rows = await self._run(lambda c: c.fetch(_NEXT_PENDING, *arguments))
        if not rows:
            return EmbeddedBatch(0, 0, None)
        try:
            embedded, asked = await self._embed_rows(embedder, rows)
        except EmbeddingRejected:
            # One of the texts, or any text at all because of how the model is asked for? The
            # answer to a harmless one tells, and saves asking for each of them in vain.
            await embedder.embed(["note"])
            embedded, asked = await self._embed_halves(embedder, rows)
        return EmbeddedBatch(embedded, asked, rows[-1]["id"] if len(rows) == batch else None)

    async def _embed_rows(self, embedder: Embedder, rows: Sequence[Any]) -> tuple[int, int]:
        """Embed the notes (id, text); how many were, and how many texts the embedder was asked for.

        A text that was embedded before, or stands in several of the notes, is not asked for again.
        """
        hashes = [text_hash(content) for _, content in rows]
        arguments = (self._workspace_id, embedder.model, list(set(hashes)))
        vectors = dict(await self._run(lambda c: c.fetch(_OF_TEXTS, *arguments)))
        texts = {
            hashed: content
            for hashed, (_, content) in zip(hashes, rows, strict=True)
            if hashed not in vectors
        }
        if texts:
            made = await embedder.embed(list(texts.values()))
            vectors |= zip(texts, made, strict=True)
        encoded = encode_halfvecs(vectors[hashed] for hashed in hashes)
        staged = [
            (row[0], embedder.model, data, hashed)
            for row, data, hashed in zip(rows, encoded, hashes, strict=True)
        ]

        async def store(connection: Connection) -> None:
            async with connection.transaction():
                await stage(connection, "note_embeddings", _COLUMNS, staged, plain=("embedding",))
                await connection.execute(_STORE_MANY, self._workspace_id)

        await self._run(store)
        return len(rows), len(texts)

    async def _embed_halves(self, embedder: Embedder, rows: Sequence[Any]) -> tuple[int, int]:
        """Embed each half of what was refused as a whole, down to the texts that are at fault."""
        if len(rows) == 1:
            logger.warning("note %s stays without a vector: the model refuses it", rows[0][0])
            return 0, 1
        embedded = asked = 0
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            try:
                done = await self._embed_rows(embedder, half)
            except EmbeddingRejected:
                done = await self._embed_halves(embedder, half)
            embedded, asked = embedded + done[0], asked + done[1]
        return embedded, asked

    async def _merge_embeddings(
        self, connection: Connection, batch: Sequence[StoredEmbedding], merge: str = _MERGE
    ) -> int:
        encoded = encode_halfvecs(vector for _, _, vector in batch)
        rows = [
            (id_, model, data, None) for (id_, model, _), data in zip(batch, encoded, strict=True)
        ]
        await stage(connection, "note_embeddings", _COLUMNS, rows, plain=("embedding",))
        stored: int = await connection.fetchval(merge, self._workspace_id)
        return stored

    async def _active_embedder(self) -> Embedder:
        """The embedder, once it is certain that the workspace's vectors are of its model.

        Raises EmbeddingModelMismatch where they are of another one, and
        EmbeddingFailed where there is no embedder.
        """
        embedder = self._require_embedder()
        if not self._model_is_active:

            async def claim(connection: Connection) -> Any:
                with contextlib.suppress(UniqueViolationError):  # another process was faster
                    async with _savepoint(connection):
                        await connection.execute(
                            _CLAIM_MODEL, self._workspace_id, embedder.model, embedder.dimensions
                        )
                return await connection.fetchrow(_ACTIVE_MODEL, self._workspace_id)

            model, dimensions = await self._run(claim)
            if (model, dimensions) != (embedder.model, embedder.dimensions):
                raise EmbeddingModelMismatch(
                    f"The stored vectors are of the model {model} ({dimensions} dimensions), the"
                    f" one configured is {embedder.model} ({embedder.dimensions}). Configure the"
                    " stored one again, or run: nakamura-misaki reembed"
                )
            self._model_is_active = True
        return embedder

    async def _embedder_in_use(self) -> Embedder | None:
        """The embedder, or None where another model took the place of its own while this ran.

        Raises EmbeddingModelMismatch where it has been another one from the start.
        """
        had_its_place = self._model_is_active
        try:
            return await self._active_embedder()
        except EmbeddingModelMismatch:
            self._outlives_switch |= had_its_place
            if not self._outlives_switch:
                raise
            return None

    async def _is_replaced(self) -> bool:
        """Whether, after all, another model is in use now: the database has said so."""
        self._model_is_active, self._outlives_switch = False, True
        return await self._embedder_in_use() is None

    def _require_embedder(self) -> Embedder:
        if self._embedder is None:
            raise EmbeddingFailed("There is no embedding model; set EMBEDDING_PROVIDER.")
        return self._embedder

    async def _embed_saved(
        self, note_id: UUID, content: str, known: Embedding | None = None
    ) -> bool:
        """Give a saved note its vector, if one can be had now; never an error.

        ``known`` is the stored vector of the same text, where there is one.
        """
        if self._embedder is None:
            return False
        try:
            embedder = await self._active_embedder()
            vector = known
            if vector is None:
                (vector,) = await embedder.embed([content])
            await self._store_one(embedder.model, note_id, vector, content)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  (the note is saved; whatever this is can wait)
            logger.warning("note %s saved without a vector: %s", note_id, error)
            return False
        return True

    async def _store_one(self, model: str, note_id: UUID, vector: Embedding, content: str) -> None:
        hashed = text_hash(content)

        async def store(connection: Connection) -> None:
            async with _savepoint(connection):
                await connection.execute(
                    _STORE_ONE, self._workspace_id, note_id, model, vector, content, hashed
                )

        await self._run(store)


def text_hash(content: str) -> UUID:
    """What ``nakamura_misaki_text_hash`` gives: the first half of the text's SHA-256."""
    return UUID(bytes=sha256(content.encode()).digest()[:16])


def _savepoint(connection: Connection) -> contextlib.AbstractAsyncContextManager[Any]:
    """A savepoint where a transaction is open: a failure here must not end what it is part of."""
    if connection.is_in_transaction():
        transaction: contextlib.AbstractAsyncContextManager[Any] = connection.transaction()
        return transaction
    return contextlib.nullcontext()
