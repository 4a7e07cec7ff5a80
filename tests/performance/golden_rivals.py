"""What a user would have without this search, and how well a good word search does.

Every rival has the same notes and gives the best first, each with a score.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

import rank_bm25
from janome.tokenizer import Tokenizer

from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.domain.note import Note
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.golden_measures import DEPTH

Scored: TypeAlias = list[tuple[str, float]]
"""Names of notes and their scores, best first, at most ten."""

_SIMPLE = """
WITH asked AS (SELECT {query} AS query)
SELECT id, ts_rank(to_tsvector('simple', content), query) AS score
FROM notes, asked WHERE to_tsvector('simple', content) @@ query
ORDER BY score DESC, created_at DESC LIMIT $2"""
_SIMPLE_ALL = _SIMPLE.format(query="plainto_tsquery('simple', $1)")
_SIMPLE_ANY = _SIMPLE.format(
    query="replace(plainto_tsquery('simple', $1)::text, ' & ', ' | ')::tsquery"
)
_ILIKE = """
SELECT id,
    (SELECT count(*) FROM unnest($1::text[]) AS word WHERE content ILIKE word)::float8 AS score
FROM notes WHERE content ILIKE ANY ($1)
ORDER BY score DESC, created_at DESC LIMIT $2"""
_PGVECTOR = """
SELECT note_id, 1 - (embedding <=> $1) FROM note_embeddings
ORDER BY embedding <=> $1, note_id LIMIT $2"""

_SPACES = re.compile(r"[^\s、。，．,?？!！「」『』()（）:：;・]+")
_CONTENT = ("名詞", "動詞", "形容詞", "副詞")
_NO_CONTENT = ("非自立", "代名詞", "接尾")
_TELLING = re.compile(r"\w")


class Database:
    """PostgreSQL and pgvector as they come."""

    def __init__(self, manager: DatabaseManager, names: Mapping[UUID, str]) -> None:
        self._manager = manager
        self._names = names

    async def simple_all(self, question: str) -> Scored:
        """``to_tsvector('simple')``: notes that hold every word of the question."""
        return await self._rows(_SIMPLE_ALL, question)

    async def simple_any(self, question: str) -> Scored:
        """``to_tsvector('simple')``: notes that hold any word of the question."""
        return await self._rows(_SIMPLE_ANY, question)

    async def ilike(self, question: str) -> Scored:
        """``ILIKE``: notes that hold the most pieces between spaces and marks, newest first."""
        escaped = (re.sub(r"([%_\\])", r"\\\1", piece) for piece in _SPACES.findall(question))
        return await self._rows(_ILIKE, [f"%{piece}%" for piece in escaped])

    def pgvector(self, embedder: Embedder) -> Callable[[str], Awaitable[Scored]]:
        """The nearest vectors, nothing else."""

        async def nearest(question: str) -> Scored:
            (target,) = await embedder.embed([question])
            return await self._rows(_PGVECTOR, target)

        return nearest

    async def _rows(self, statement: str, argument: object) -> Scored:
        async with self._manager.connection() as connection:
            rows = await connection.fetch(statement, argument, DEPTH)
        return [(self._names[row[0]], float(row[1])) for row in rows]


class BM25:
    """Okapi BM25 of rank_bm25 with its own parameters, over any way to cut a text into terms.

    Of notes with one score the newest comes first, as in the product; a note
    that shares no term with the question is not found.
    """

    def __init__(self, notes: Mapping[str, Note], terms: Callable[[str], Sequence[str]]) -> None:
        self._terms = terms
        self._names = list(notes)
        self._created = [note.created_at for note in notes.values()]
        cut = [terms(note.content) for note in notes.values()]
        self._held = [frozenset(found) for found in cut]
        self._index = rank_bm25.BM25Okapi(cut)

    def search(self, question: str) -> Scored:
        wanted = self._terms(question)
        scores = self._index.get_scores(wanted)
        found = [place for place, held in enumerate(self._held) if not held.isdisjoint(wanted)]
        found.sort(key=lambda place: (scores[place], self._created[place]), reverse=True)
        return [(self._names[place], float(scores[place])) for place in found[:DEPTH]]


class Morphemes:
    """Content words in their base form, as janome (IPADIC) finds them in normalised text."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer()

    def __call__(self, text: str) -> list[str]:
        found = []
        for token in self._tokenizer.tokenize(_normalised(text)):
            kind, detail = token.part_of_speech.split(",")[:2]
            if kind in _CONTENT and detail not in _NO_CONTENT and _TELLING.search(token.surface):
                found.append(token.surface if token.base_form == "*" else token.base_form)
        return found


def bigrams(text: str) -> list[str]:
    """Pairs of characters between spaces, whatever their script; a lone character as it is."""
    return [
        piece[start : start + 2]
        for piece in _normalised(text).split()
        for start in range(max(1, len(piece) - 1))
    ]


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()
