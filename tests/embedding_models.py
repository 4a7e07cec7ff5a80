"""Embedders whose answers a test decides, and notes to embed."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import uuid4

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import EmbeddingFailed, EmbeddingRejected
from nakamura_misaki.domain.note import Note

Before = Callable[[Sequence[str]], Awaitable[None]]


async def nothing(texts: Sequence[str]) -> None:
    pass


class Model:
    """A hashing embedder that counts what it is asked for, and does something before it answers."""

    def __init__(self, dimensions: int, *, refuses: Iterable[str] = (), before: Before = nothing):
        self._hashing = HashingEmbedder(dimensions)
        self.model, self.dimensions = self._hashing.model, dimensions
        self.refuses, self.before = set(refuses), before
        self.failures = 0
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        await self.before(texts)
        if self.failures:
            self.failures -= 1
            raise EmbeddingFailed("the server is away")
        if self.refuses.intersection(texts):
            raise EmbeddingRejected("the server refuses a text")
        self.asked += texts
        return await self._hashing.embed(texts)

    async def close(self) -> None:
        pass


class Planted:
    """An embedder whose vectors a test chooses; a text that it does not know fails."""

    def __init__(self, model: str = "planted@3", dimensions: int = 3) -> None:
        self.model = model
        self.dimensions = dimensions
        self.vectors: dict[str, Embedding] = {}
        self.fails = False

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        if self.fails or any(text not in self.vectors for text in texts):
            raise EmbeddingFailed("the server is away")
        return [self.vectors[text] for text in texts]

    async def close(self) -> None:
        pass


def a_note(content: str, user_id: str = "U1") -> Note:
    return Note(id=uuid4(), user_id=user_id, content=content)
