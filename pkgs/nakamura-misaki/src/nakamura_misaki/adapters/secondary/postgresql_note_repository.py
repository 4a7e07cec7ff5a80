"""Notes in PostgreSQL, found by meaning and by words."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC
from operator import attrgetter
from typing import Any
from uuid import UUID

from asyncpg.exceptions import PostgresError, UniqueViolationError

from nakamura_misaki.adapters.secondary.postgresql_embedding_store import (
    MERGE_WITH_NOTES,
    PostgreSQLEmbeddingStore,
    text_hash,
)
from nakamura_misaki.adapters.secondary.postgresql_repository import (
    json_text,
    merge_statement,
    newest,
    restored,
    stage,
)
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import AlreadyExists, EmbeddingFailed, InvalidInput
from nakamura_misaki.domain.note import (
    FoundNote,
    Leg,
    LegSkipped,
    Note,
    SearchAnswer,
    SearchFilter,
)
from nakamura_misaki.domain.repositories import Place, StoredEmbedding, WriteCount
from nakamura_misaki.domain.rules import require_limit, require_line, require_text
from nakamura_misaki.infrastructure.database.manager import Connection

RRF_K = 5
"""Constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).

They took 60, for runs of a thousand documents. Over the first few notes of two legs, which is what
a person sees, that makes two middling ranks better than one first; chosen by `make bench-search`.
"""

MODEL_NOT_IN_USE = "NM001"
"""SQLSTATE that ``nakamura_misaki_nearest`` raises."""

_COLUMNS = (
    "id",
    "session_id",
    "user_id",
    "category",
    "content",
    "metadata",
    "source_key",
    "created_at",
    "updated_at",
)
_LIST = ", ".join(_COLUMNS)

# The second column is a stored vector of the same text, which then need not be made again. Vectors
# of a text that was changed are deleted by a trigger.
_SAVE = f"""
WITH saved AS (
    INSERT INTO notes AS known (workspace_id, {_LIST})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (workspace_id, id) DO UPDATE SET
        session_id = excluded.session_id, category = excluded.category,
        content = excluded.content, metadata = excluded.metadata,
        source_key = excluded.source_key, updated_at = excluded.updated_at
    WHERE known.user_id = excluded.user_id
    RETURNING id
)
SELECT id, coalesce(
    (SELECT embedding FROM note_embeddings
     WHERE workspace_id = $1 AND model || '' = $11 AND text_hash = $12 LIMIT 1),
    (SELECT embedding FROM spare_embeddings
     WHERE workspace_id = $1 AND model = $11 AND text_hash = $12)
)
FROM saved"""
_GET = f"SELECT {_LIST} FROM notes WHERE workspace_id = $1 AND id = $2"


def _of_session(condition: str) -> str:
    return (
        f"SELECT {_LIST} FROM notes WHERE workspace_id = $1 AND session_id = $2 AND {condition}"
        " AND ($4::text IS NULL OR user_id = $4) ORDER BY created_at, id LIMIT $3"
    )


def _of_user(condition: str) -> str:
    return (
        f"SELECT {_LIST} FROM notes WHERE workspace_id = $1 AND user_id = $2 AND {condition}"
        " AND ($4::text IS NULL OR category = $4) ORDER BY created_at DESC, id DESC LIMIT $3"
    )


# What follows a place, with the place itself ($5, $6) last among the arguments.
_BY_SESSION, _BY_SESSION_AFTER = _of_session("true"), _of_session("(created_at, id) > ($5, $6)")
_BY_USER, _BY_USER_AFTER = _of_user("true"), _of_user("(created_at, id) < ($5, $6)")
_PAGE = f"SELECT {_LIST} FROM notes WHERE workspace_id = $1 AND id > $2 ORDER BY id LIMIT $3"
_MERGE = merge_statement(
    "notes",
    _COLUMNS,
    newer="excluded.updated_at > known.updated_at AND excluded.user_id = known.user_id",
    condition=(
        "source_key IS NULL OR NOT EXISTS (SELECT FROM notes AS n WHERE n.workspace_id = $1"
        " AND n.source_key = staged.source_key AND n.id <> staged.id)"
    ),
)
_VECTOR_LEG = (
    "SELECT note_id, rank, 'vector' AS leg, $9::float8 AS weight FROM nakamura_misaki_nearest($2, $7, $8, $4)"
    " WITH ORDINALITY AS nearest (note_id, distance, rank)"
)
_WORDS_LEG = (
    "SELECT note_id, rank, 'words' AS leg, 1.0::float8 AS weight"
    " FROM nakamura_misaki_words_among($3, $2, $4, $6::jsonb, NULL)"
    " WITH ORDINALITY AS words (note_id, score, rank)"
)
# With a filter, both legs are told which notes it lets through, where these are few.
FEW_NOTES = 5000
_PICKED = (
    f"picked AS MATERIALIZED (SELECT nakamura_misaki_matching($2, $6::jsonb, {FEW_NOTES}) AS ids), "
)
_VECTOR_LEG_AMONG = _VECTOR_LEG.replace(
    "nakamura_misaki_nearest($2, $7, $8, $4)",
    "picked, nakamura_misaki_nearest_among($2, $7, $8, $4, $6::jsonb, ids)",
)
_WORDS_LEG_AMONG = _WORDS_LEG.replace(
    "nakamura_misaki_words_among($3, $2, $4, $6::jsonb, NULL)",
    "picked, nakamura_misaki_words_among($3, $2, $4, $6::jsonb, ids)",
)


def _search_statement(legs: str, picked: str = "") -> str:
    return f"""
WITH {picked}leg AS ({legs}), fused AS (
    SELECT note_id, sum(weight / ({RRF_K} + rank)) AS score, array_agg(leg) AS legs
    FROM leg GROUP BY note_id
)
SELECT {", ".join(f"n.{column}" for column in _COLUMNS)}, f.score, f.legs
FROM fused AS f JOIN notes AS n ON n.workspace_id = $1 AND n.id = f.note_id
ORDER BY f.score DESC, n.created_at DESC, n.id DESC
LIMIT $5"""


_SEARCH_BOTH = _search_statement(f"{_VECTOR_LEG} UNION ALL {_WORDS_LEG}")
_SEARCH_WORDS = _search_statement(_WORDS_LEG)
_SEARCH_BOTH_AMONG = _search_statement(f"{_VECTOR_LEG_AMONG} UNION ALL {_WORDS_LEG_AMONG}", _PICKED)
_SEARCH_WORDS_AMONG = _search_statement(_WORDS_LEG_AMONG, _PICKED)


class PostgreSQLNoteRepository(PostgreSQLEmbeddingStore):
    """The ports ``NoteRepository`` and ``EmbeddingStore``."""

    async def save(self, note: Note) -> Note:
        sought: tuple[str, UUID] | tuple[None, None] = (None, None)
        if self._embedder is not None:
            sought = (self._embedder.model, text_hash(note.content))

        async def upsert(connection: Connection) -> Embedding | None:
            try:
                saved = await connection.fetchrow(_SAVE, self._workspace_id, *_row(note), *sought)
                if saved is not None:
                    known: Embedding | None = saved[1]
                    return known
            except UniqueViolationError:
                raise AlreadyExists(
                    f"Another note has the source key {note.source_key} already."
                ) from None
            raise AlreadyExists(f"The note {note.id} belongs to another user.")

        known = await self._run(upsert)
        await self._embed_saved(note.id, note.content, known)
        return note

    async def get(self, note_id: UUID) -> Note | None:
        row = await self._run(lambda c: c.fetchrow(_GET, self._workspace_id, note_id))
        return None if row is None else _note(row)

    async def search(
        self,
        query: str,
        user_id: str | None = None,
        limit: int = 10,
        where: SearchFilter | None = None,
    ) -> SearchAnswer:
        require_text(query, "the question")
        if not query or query.isspace():
            raise InvalidInput("the question must not be blank.")
        if user_id is not None:
            require_line(user_id, "the user")
        require_limit(limit)
        depth = max(10, limit)  # how far down each leg looks
        skipped: dict[Leg, LegSkipped] = {}
        which = None if where is None or where.is_empty else _filter_text(where)
        arguments: list[Any] = [self._workspace_id, user_id, query, depth, limit, which]
        by_words = _SEARCH_WORDS if which is None else _SEARCH_WORDS_AMONG
        statement = by_words
        if self._embedder is None:
            skipped[Leg.VECTOR] = LegSkipped.NO_EMBEDDER
        elif (embedder := await self._embedder_in_use()) is None:
            skipped[Leg.VECTOR] = LegSkipped.MODEL_REPLACED
        else:
            try:
                async with asyncio.timeout(self._query_timeout):
                    (vector,) = await embedder.embed([query])
            except (EmbeddingFailed, TimeoutError):
                skipped[Leg.VECTOR] = LegSkipped.EMBEDDING_FAILED
            else:
                statement = _SEARCH_BOTH if which is None else _SEARCH_BOTH_AMONG
                arguments += [embedder.model, vector, self._vector_weight]
        try:
            rows = await self._run(lambda c: c.fetch(statement, *arguments))
        except PostgresError as error:
            if error.sqlstate != MODEL_NOT_IN_USE:
                raise
            if await self._is_replaced():
                skipped[Leg.VECTOR] = LegSkipped.MODEL_REPLACED
                statement, arguments = by_words, arguments[:6]
            rows = await self._run(lambda c: c.fetch(statement, *arguments))
        legs = tuple(leg for leg in Leg if leg not in skipped)
        return SearchAnswer((_found((*row, query)) for row in rows), legs=legs, skipped=skipped)

    async def list_by_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        if limit is not None:
            require_limit(limit)
        statement = _BY_SESSION if after is None else _BY_SESSION_AFTER
        arguments = (self._workspace_id, session_id, limit, user_id, *(after or ()))
        rows = await self._run(lambda c: c.fetch(statement, *arguments))
        return [_note(row) for row in rows]

    async def list_by_user(
        self,
        user_id: str,
        category: str | None = None,
        limit: int = 50,
        *,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        require_limit(limit)
        statement = _BY_USER if after is None else _BY_USER_AFTER
        arguments = (self._workspace_id, user_id, limit, category, *(after or ()))
        rows = await self._run(lambda c: c.fetch(statement, *arguments))
        return [_note(row) for row in rows]

    async def save_many(
        self, notes: Iterable[Note], embeddings: Sequence[Embedding] | None = None
    ) -> WriteCount:
        notes = list(notes)
        if embeddings is not None and len(embeddings) != len(notes):
            raise InvalidInput("save_many needs one vector for each note.")
        vectors: list[StoredEmbedding] = []
        if embeddings is not None:
            embedder = await self._active_embedder()
            if any(len(vector) != embedder.dimensions for vector in embeddings):
                raise InvalidInput(f"{embedder.model} has {embedder.dimensions} dimensions.")
        kept, given = newest(notes, lambda a, b: a.updated_at > b.updated_at)
        if embeddings is not None:
            chosen = {note.id: note for note in kept}
            vectors = [
                StoredEmbedding(note.id, embedder.model, vector)
                for note, vector in zip(notes, embeddings, strict=True)
                if chosen[note.id] is note
            ]

        async def merge(connection: Connection) -> WriteCount:
            async with connection.transaction():
                await stage(connection, "notes", _COLUMNS, map(_row, kept))
                try:
                    new, updated = await connection.fetchrow(_MERGE, self._workspace_id)
                except UniqueViolationError:
                    raise AlreadyExists("Two of these notes have the same source key.") from None
                if vectors:
                    await self._merge_embeddings(connection, vectors, MERGE_WITH_NOTES)
                return WriteCount(new, updated, given - new - updated)

        return await self._run(merge) if kept else WriteCount()

    async def find_ids(self, digits: str) -> list[UUID]:
        return await self._find_ids("notes", digits)

    async def stream(self) -> AsyncIterator[Note]:
        async for row in self._pages(_PAGE, ("id",), UUID(int=0)):
            yield _note(row)


def _row(note: Note) -> tuple[Any, ...]:
    values = _values(note)
    return (*values[:_METADATA], json_text(note.metadata), *values[_METADATA + 1 :])


def _filter_text(where: SearchFilter) -> str:
    """The filter as the database's functions take it; what is not in it does not narrow."""
    parts: dict[str, Any] = {
        "categories": list(where.categories),
        "session_id": where.session_id,
        # In UTC: PostgreSQL reads no offset of 16 hours or more.
        "since": where.since and where.since.astimezone(UTC).isoformat(),
        "until": where.until and where.until.astimezone(UTC).isoformat(),
        "metadata": dict(where.metadata),
    }
    return json_text({name: value for name, value in parts.items() if value})


def _legs(names: Sequence[str]) -> tuple[Leg, ...]:
    return tuple(leg for leg in Leg if leg.value in names)


_METADATA = _COLUMNS.index("metadata")
_values: Callable[[Note], tuple[Any, ...]] = attrgetter(*_COLUMNS)
_note = restored(Note, _COLUMNS)
_found = restored(FoundNote, (*_COLUMNS, "score", "legs", "query"), legs=_legs)
