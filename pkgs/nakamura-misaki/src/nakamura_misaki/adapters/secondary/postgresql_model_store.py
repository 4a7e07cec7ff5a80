"""One model of vectors in the place of another: side by side, then an atomic switch."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import UUID

from asyncpg.exceptions import LockNotAvailableError

from nakamura_misaki.adapters.secondary.postgresql_embedding_store import (
    BATCH,
    EMBEDDED_AT_ONCE,
    PENDING,
    PostgreSQLEmbeddingStore,
)
from nakamura_misaki.domain.errors import AlreadyAtWork, NotFound, StorageUnavailable
from nakamura_misaki.domain.repositories import EmbeddedBatch, PendingTexts, StoredModel, Switch
from nakamura_misaki.infrastructure.database.errors import domain_error
from nakamura_misaki.infrastructure.database.manager import Connection

WORK_LOCK = 0x6E616B63
"""First half of the advisory lock that one reembedding a workspace holds; "nakc"."""
WAIT_FOR_DEAD = 5.0
"""Seconds within which the server notices that a process which held the lock is gone."""
WRITERS_WAIT = "500ms"
"""How long the switch asks for the notes, with their writers behind it, before it lets them by."""
SWITCH_TRIES_FOR = 60.0
LAST_FEW_MAY_TAKE = 5.0

_TRY_LOCK = "SELECT pg_try_advisory_lock($1, hashtext($2))"
_UNLOCK = "SELECT pg_advisory_unlock($1, hashtext($2))"
_MODELS = """
SELECT m.model, m.dimensions, m.is_active, m.replaced_at, count(e.note_id) AS vectors,
    (SELECT count(*) FROM notes WHERE workspace_id = $1) - count(e.note_id) AS missing
FROM embedding_models AS m
LEFT JOIN note_embeddings AS e ON e.workspace_id = $1 AND e.model = m.model
WHERE m.workspace_id = $1
GROUP BY m.workspace_id, m.model
ORDER BY m.is_active DESC, m.replaced_at DESC NULLS LAST, m.model"""
# Each text once, and none that was embedded before. In UTF-8 an ASCII character has one byte and
# nearly every other one that occurs in notes has three.
# Differences of sets here, too: see _NEXT_PENDING.
_MEASURE = """
WITH lacking AS MATERIALIZED (
    SELECT id FROM notes WHERE workspace_id = $1
    EXCEPT
    SELECT note_id FROM note_embeddings WHERE workspace_id = $1 AND model = $2
), pending AS MATERIALIZED (
    SELECT nakamura_misaki_text_hash(n.content) AS text_hash, octet_length(n.content)::float8 AS bytes,
        length(n.content)::float8 AS characters
    FROM lacking JOIN notes AS n ON n.workspace_id = $1 AND n.id = lacking.id
), unknown AS MATERIALIZED (
    SELECT text_hash FROM pending
    EXCEPT
    SELECT text_hash FROM note_embeddings WHERE workspace_id = $1 AND model = $2
    EXCEPT
    SELECT text_hash FROM spare_embeddings WHERE workspace_id = $1 AND model = $2
), asked AS (
    SELECT DISTINCT ON (text_hash) (bytes - characters) / 2 AS others, characters,
        least(1, $3 / bytes) AS share
    FROM pending JOIN unknown USING (text_hash)
)
SELECT (SELECT count(*) FROM pending), count(*),
    coalesce(sum(share * greatest(0, characters - others)), 0)::bigint,
    coalesce(sum(share * others), 0)::bigint
FROM asked"""
_REGISTER = """
INSERT INTO embedding_models (workspace_id, model, dimensions, is_active)
VALUES ($1, $2, $3, false) ON CONFLICT DO NOTHING"""
_IS_REGISTERED = (
    "SELECT EXISTS (SELECT FROM embedding_models WHERE workspace_id = $1 AND model = $2)"
)
_REPLACE = """
UPDATE embedding_models SET is_active = false, replaced_at = now()
WHERE workspace_id = $1 AND model <> $2 AND is_active"""
_ACTIVATE = """
UPDATE embedding_models SET is_active = true, replaced_at = NULL
WHERE workspace_id = $1 AND model = $2"""
# The registration goes first: without it no deleted vector is kept as a spare one.
_UNREGISTER = "DELETE FROM embedding_models WHERE workspace_id = $1 AND NOT is_active"
_DISCARD_SPARE = """
DELETE FROM spare_embeddings AS s WHERE workspace_id = $1 AND NOT EXISTS (
    SELECT FROM embedding_models AS m WHERE m.workspace_id = $1 AND m.model = s.model
)"""
_DISCARD_SOME = """
DELETE FROM note_embeddings WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM note_embeddings AS e
    WHERE workspace_id = $1 AND NOT EXISTS (
        SELECT FROM embedding_models AS m WHERE m.workspace_id = $1 AND m.model = e.model
    )
    LIMIT $2))"""


class PostgreSQLModelStore(PostgreSQLEmbeddingStore):
    """The port ``ModelStore``. Without an embedder it can only switch and discard."""

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        key = (WORK_LOCK, self._workspace_id)
        try:
            async with self._manager.connection(workspace_id=self._workspace_id) as connection:
                await self._take_place(connection, key)
                try:
                    yield
                finally:
                    if not connection.is_closed():
                        await connection.execute(_UNLOCK, *key)
        except Exception as error:
            raise domain_error(error) from error

    async def _take_place(self, connection: Connection, key: tuple[int, str]) -> None:
        end = time.monotonic() + WAIT_FOR_DEAD
        # Tried again and again, not waited for: a statement that waits holds a snapshot, for whose
        # end every CREATE INDEX CONCURRENTLY would wait in turn.
        while not await connection.fetchval(_TRY_LOCK, *key):
            if time.monotonic() > end:
                raise AlreadyAtWork(
                    "Another process is changing the models of this workspace at this moment;"
                    " nakamura-misaki reembed --status shows how far it is."
                )
            await asyncio.sleep(0.1)

    async def models(self) -> list[StoredModel]:
        rows = await self._run(lambda c: c.fetch(_MODELS, self._workspace_id))
        return [StoredModel(*row) for row in rows]

    async def measure_pending(self, max_bytes: int) -> PendingTexts:
        arguments = (self._workspace_id, self._require_embedder().model, float(max_bytes))
        return PendingTexts(*await self._run(lambda c: c.fetchrow(_MEASURE, *arguments)))

    async def register(self) -> None:
        embedder = self._require_embedder()
        arguments = (self._workspace_id, embedder.model, embedder.dimensions)
        await self._run(lambda c: c.execute(_REGISTER, *arguments))

    async def embed_next(self, batch: int, after: UUID | None) -> EmbeddedBatch:
        return await self._embed_next(self._require_embedder(), batch, after)

    async def switch_to(
        self, model: str, *, allow_missing: int | None = 0, finishing: bool = False
    ) -> Switch:
        end = time.monotonic() + SWITCH_TRIES_FOR
        while True:
            try:
                return await self._switch(model, allow_missing, finishing)
            except StorageUnavailable as error:
                if not isinstance(error.__cause__, LockNotAvailableError):
                    raise
                if time.monotonic() > end:
                    raise StorageUnavailable(
                        f"The notes stayed in use for {SWITCH_TRIES_FOR:g} s, by a VACUUM perhaps,"
                        " so the model was not switched; run it again."
                    ) from error
            await asyncio.sleep(0.5)

    async def _switch(self, model: str, allow_missing: int | None, finishing: bool) -> Switch:
        named = (self._workspace_id, model)

        async def count_missing(connection: Connection) -> int:
            missing: int = await connection.fetchval(PENDING, *named)
            return missing

        missing = 0
        try:
            async with self._manager.transaction(workspace_id=self._workspace_id) as connection:
                await connection.execute(f"SET LOCAL lock_timeout = '{WRITERS_WAIT}'")
                # Whoever is writing a note is waited for, and who wants to write one waits.
                await connection.execute("LOCK TABLE notes IN SHARE MODE")
                if not await connection.fetchval(_IS_REGISTERED, *named):
                    raise NotFound(f"no vectors of the model {model} are stored.")
                missing = await count_missing(connection)
                if finishing and 0 < missing <= EMBEDDED_AT_ONCE:
                    await self._embed_last_few()
                    missing = await count_missing(connection)
                if allow_missing is not None and missing > allow_missing:
                    return Switch(False, missing)
                await connection.execute(_REPLACE, *named)
                await connection.execute(_ACTIVATE, *named)
                return Switch(True, missing)
        except _TooSlowError:
            return Switch(False, missing)

    async def _embed_last_few(self) -> None:
        try:
            async with asyncio.timeout(LAST_FEW_MAY_TAKE):
                await self.embed_next(EMBEDDED_AT_ONCE, None)
        except TimeoutError:
            raise _TooSlowError from None

    async def discard_others(self) -> int:
        async def unregister(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(_UNREGISTER, self._workspace_id)
                await connection.execute(_DISCARD_SPARE, self._workspace_id)

        await self._run(unregister)
        discarded = 0
        while True:
            status = await self._run(lambda c: c.execute(_DISCARD_SOME, self._workspace_id, BATCH))
            count = int(status.split()[-1])
            if not count:
                return discarded
            discarded += count


class _TooSlowError(Exception):
    """The embedder keeps the writers of notes waiting for too long."""
