"""Vectors of notes in PostgreSQL: one model in use, others beside it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
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
from nakamura_misaki.domain.repositories import StoredEmbedding
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

_COLUMNS = ("note_id", "model", "embedding")
_PENDING = """
SELECT count(*) FROM notes AS n
WHERE n.workspace_id = $1 AND NOT EXISTS (
    SELECT FROM note_embeddings AS e
    WHERE e.workspace_id = $1 AND e.note_id = n.id AND e.model = $2
)"""
_NEXT_PENDING = """
SELECT n.id, n.content FROM notes AS n
WHERE n.workspace_id = $1 AND n.id > $4 AND NOT EXISTS (
    SELECT FROM note_embeddings AS e
    WHERE e.workspace_id = $1 AND e.note_id = n.id AND e.model = $2
)
ORDER BY n.id LIMIT $3"""
# The text is compared as it was when the vector was made of it: a note that has been edited
# meanwhile must not get the vector of its old text; and a process that was started with another
# model, before a switch, must not bring its vectors back.
_STORE_ONE = """
INSERT INTO note_embeddings (workspace_id, note_id, model, user_id, embedding)
SELECT $1, n.id, $3, n.user_id, $4 FROM notes AS n
WHERE n.workspace_id = $1 AND n.id = $2 AND n.content = $5
    AND EXISTS (SELECT FROM embedding_models WHERE workspace_id = $1 AND model = $3)
ON CONFLICT (workspace_id, note_id, model)
DO UPDATE SET embedding = excluded.embedding, is_indexed = false"""
_MERGE = """
WITH stored AS (
    INSERT INTO note_embeddings (workspace_id, note_id, model, user_id, embedding)
    SELECT $1, n.id, s.model, n.user_id, s.embedding
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
_PAGE = """
SELECT note_id, model, embedding FROM note_embeddings
WHERE workspace_id = $1 AND (note_id, model) > ($2, $3)
ORDER BY note_id, model LIMIT $4"""
_CLAIM_MODEL = """
INSERT INTO embedding_models (workspace_id, model, dimensions, is_active)
SELECT $1, $2, $3, true
WHERE NOT EXISTS (SELECT FROM embedding_models WHERE workspace_id = $1 AND is_active)
ON CONFLICT (workspace_id, model) DO UPDATE SET is_active = true"""
_REGISTER_MODEL = """
INSERT INTO embedding_models (workspace_id, model, dimensions, is_active)
VALUES ($1, $2, $3, false) ON CONFLICT DO NOTHING"""
_SWITCH_MODEL = (
    "DELETE FROM embedding_models WHERE workspace_id = $1 AND model <> $2",
    "UPDATE embedding_models SET is_active = true WHERE workspace_id = $1 AND model = $2",
    "DELETE FROM note_embeddings WHERE workspace_id = $1 AND model <> $2",
)
_ACTIVE_MODEL = (
    "SELECT model, dimensions FROM embedding_models WHERE workspace_id = $1 AND is_active"
)


class PostgreSQLEmbeddingStore(PostgreSQLRepository):
    """The port ``EmbeddingStore``; ``embedder`` None: no vector is made or asked for.

    ``query_timeout`` (seconds) is how long a search waits for its question's
    vector before words alone answer; ``vector_weight`` how much a rank by vector counts beside one
    by words.
    """

    def __init__(
        self,
        manager: DatabaseManager,
        embedder: Embedder | None,
        *,
        workspace_id: str | None = None,
        query_timeout: float = 3.0,
        vector_weight: float = WEIGHT_OF_MEANING,
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

    async def count_pending(self) -> int:
        if self._embedder is None:
            return 0
        model = self._embedder.model
        pending: int = await self._run(lambda c: c.fetchval(_PENDING, self._workspace_id, model))
        return pending

    async def embed_pending(self, batch: int = EMBEDDED_AT_ONCE) -> int:
        return await self._embed_batch(await self._active_embedder(), batch)

    async def switch_model(self, on_progress: Callable[[int], None] = lambda done: None) -> None:
        embedder = self._require_embedder()
        named = (self._workspace_id, embedder.model)
        await self._run(lambda c: c.execute(_REGISTER_MODEL, *named, embedder.dimensions))
        done = 0
        while embedded := await self._embed_batch(embedder, EMBEDDED_AT_ONCE):
            done += embedded
            on_progress(done)
        if left := await self.count_pending():
            raise EmbeddingRejected(
                f"Notes without a vector of the model {embedder.model}: {left:,}, which it refuses"
                " or which came in meanwhile. The old model stays in use; run it again."
            )

        async def switch(connection: Connection) -> None:
            async with connection.transaction():
                for statement in _SWITCH_MODEL:
                    await connection.execute(statement, *named)

        await self._run(switch)

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

    async def _embed_batch(self, embedder: Embedder, batch: int) -> int:
        embedded, after = 0, UUID(int=0)
        while not embedded:
            arguments = (self._workspace_id, embedder.model, batch, after)
            rows = await self._run(lambda c, a=arguments: c.fetch(_NEXT_PENDING, *a))  # type: ignore[misc]  # a lambda has no types
            if not rows:
                break
            embedded = await self._embed_some(embedder, rows)
            # All of them refused: the next ones need not be.
            after = rows[-1]["id"]
        return embedded

    async def _embed_some(self, embedder: Embedder, rows: Sequence[Any]) -> int:
        """Embed those of the notes (id, text) that the model takes; how many were."""
        try:
            return await self._embed_rows(embedder, rows)
        except EmbeddingRejected:
            # One of the texts, or any text at all because of how the model is asked for? The
            # answer to a harmless one tells, and saves asking for each of them in vain.
            await embedder.embed(["note"])
            return await self._embed_halves(embedder, rows)

    async def _embed_rows(self, embedder: Embedder, rows: Sequence[Any]) -> int:
        """Embed the notes (id, text); how many were."""
        vectors = await embedder.embed([content for _, content in rows])
        for (note_id, content), vector in zip(rows, vectors, strict=True):
            await self._store_one(embedder.model, note_id, vector, content)
        return len(rows)

    async def _embed_halves(self, embedder: Embedder, rows: Sequence[Any]) -> int:
        """Embed each half of what was refused as a whole, down to the texts that are at fault."""
        if len(rows) == 1:
            logger.warning("note %s stays without a vector: the model refuses it", rows[0][0])
            return 0
        embedded = 0
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            try:
                embedded += await self._embed_rows(embedder, half)
            except EmbeddingRejected:
                embedded += await self._embed_halves(embedder, half)
        return embedded

    async def _merge_embeddings(
        self, connection: Connection, batch: Sequence[StoredEmbedding], merge: str = _MERGE
    ) -> int:
        encoded = encode_halfvecs(vector for _, _, vector in batch)
        rows = [(id_, model, data) for (id_, model, _), data in zip(batch, encoded, strict=True)]
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
                    " stored one again, or run: nakamura-misaki embed-pending --switch-model"
                )
            self._model_is_active = True
        return embedder

    def _require_embedder(self) -> Embedder:
        if self._embedder is None:
            raise EmbeddingFailed("There is no embedding model; set EMBEDDING_PROVIDER.")
        return self._embedder

    async def _embed_saved(self, note_id: UUID, content: str) -> bool:
        """Give a saved note its vector, if one can be had now; never an error."""
        if self._embedder is None:
            return False
        try:
            embedder = await self._active_embedder()
            (vector,) = await embedder.embed([content])
            await self._store_one(embedder.model, note_id, vector, content)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  (the note is saved; whatever this is can wait)
            logger.warning("note %s saved without a vector: %s", note_id, error)
            return False
        return True

    async def _store_one(self, model: str, note_id: UUID, vector: Embedding, content: str) -> None:
        async def store(connection: Connection) -> None:
            async with _savepoint(connection):
                await connection.execute(
                    _STORE_ONE, self._workspace_id, note_id, model, vector, content
                )

        await self._run(store)


def _savepoint(connection: Connection) -> contextlib.AbstractAsyncContextManager[Any]:
    """A savepoint where a transaction is open: a failure here must not end what it is part of."""
    if connection.is_in_transaction():
        transaction: contextlib.AbstractAsyncContextManager[Any] = connection.transaction()
        return transaction
    return contextlib.nullcontext()
