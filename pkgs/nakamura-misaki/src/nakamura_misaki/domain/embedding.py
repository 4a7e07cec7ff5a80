"""What turns a text into a vector."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

Embedding: TypeAlias = Sequence[float]
"""A vector of an embedder's ``dimensions``, of length (L2 norm) 1."""


class Embedder(Protocol):
    """Turns texts into vectors of one model.

    ``model`` names the vector space: vectors of two embedders can be compared
    exactly when their ``model`` and ``dimensions`` are equal.
    """

    @property
    def model(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """One vector for each text, in order. Raises EmbeddingFailed; never gives fewer."""
        ...

    async def close(self) -> None:
        """Release what the embedder holds, such as connections."""
        ...
