"""Vectors from OpenAI, or from any server that speaks its embeddings protocol.

Limits of the protocol (https://platform.openai.com/docs/api-reference/embeddings/create,
also the docstring of ``openai.resources.embeddings``): at most 2,048 inputs and 300,000
tokens in one request, 8,192 tokens in one input, no empty input; ``dimensions`` only
for text-embedding-3 and later.
"""

import asyncio
import re
import sys
from array import array
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from math import hypot, isfinite
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from nakamura_misaki.adapters.secondary.openai_faults import Fault, backoff, fault_of, no_answer
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import ConfigurationError, EmbeddingFailed, EmbeddingRejected

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_MODEL = "text-embedding-3-small"
NATIVE_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
"""Of OpenAI's models (https://platform.openai.com/docs/guides/embeddings)."""

OPENAI_URL = "https://api.openai.com/v1"
MAX_INPUTS = 2_048
MAX_REQUEST_TOKENS = 300_000
MAX_INPUT_TOKENS = 8_191
"""One below the limit, as OpenAI's own examples count."""

MAX_CONCURRENT_REQUESTS = 4


class OpenAIEmbedder:
    """An Embedder that asks a server for vectors and gives them back with length 1.

    ``dimensions`` may be left out for OpenAI's own models. ``api_key`` may be None
    for a server that asks for none. ``timeout`` bounds one request and
    ``deadline`` (default: three times ``timeout``) one batch with all its retries,
    both in seconds.

    A token is at least one byte of UTF-8 (byte-pair encoding starts from bytes), so
    a text's bytes are never fewer than its tokens: batches are filled by bytes, and
    a text longer than ``max_input_tokens`` bytes is cut there, at a whole character.
    What is cut off has no part in the vector.

    Raises ConfigurationError for a key that no header can carry and for a model whose
    dimensions are not known.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        model: str = DEFAULT_MODEL,
        dimensions: int | None = None,
        base_url: str | None = None,
        timeout: float = 10.0,
        max_retries: int = 3,
        deadline: float | None = None,
        max_input_tokens: int = MAX_INPUT_TOKENS,
    ) -> None:
        if api_key and not re.fullmatch(r"[!-~]+", api_key):
            raise ConfigurationError(
                "OPENAI_API_KEY holds a character that can't be sent; copy the key again."
            )
        self._api_key = api_key
        self._model = model
        self._dimensions = dimensions or _native_dimensions(model)
        self._base_url = base_url or OPENAI_URL
        self._server = f"the embedding server at {urlsplit(self._base_url).hostname}"
        self._timeout = timeout
        self._max_retries = max_retries
        self._deadline = 3 * timeout if deadline is None else deadline
        self._max_input_tokens = max_input_tokens
        self._client: AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()
        self._places = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    def __repr__(self) -> str:
        return f"<OpenAIEmbedder {self.model}>"

    @property
    def model(self) -> str:
        return f"{self._model}@{self._dimensions}"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """One vector for each text, in order; [] for none.

        Raises EmbeddingFailed, with one sentence and no secret in it, when any of them
        can't be had.
        """
        batches = list(_batches(_fit(text, self._max_input_tokens) for text in texts))
        if len(batches) == 1:
            return await self._embed_batch(batches[0])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._embed_batch(batch)) for batch in batches]
        except* EmbeddingFailed as failures:
            # That the server is away says more than that it refuses some of the texts.
            errors = [error for error in failures.exceptions if isinstance(error, EmbeddingFailed)]
            failure = min(errors, key=lambda error: isinstance(error, EmbeddingRejected))
            kind, reason = type(failure), str(failure)
        else:
            return [vector for task in tasks for vector in task.result()]
        raise kind(reason)

    async def close(self) -> None:
        """Close the connections. The next ``embed`` opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _embed_batch(self, batch: list[str]) -> list[Embedding]:
        async with self._places:
            answer = await self._answer(batch)
        try:
            return _vectors(answer, len(batch), self._dimensions)
        except _MalformedAnswerError as error:
            reason = f"{self._server} gave {error}."
        raise EmbeddingFailed(reason)

    async def _answer(self, batch: list[str]) -> bytes:
        """The body of a successful answer, after as many retries as it takes and may."""
        client = await self._connected()
        now = asyncio.get_running_loop().time
        end = now() + self._deadline
        for attempt in range(self._max_retries + 1):
            outcome = await self._attempt(client, batch, min(self._timeout, end - now()))
            if isinstance(outcome, bytes):
                return outcome
            fault = outcome
            pause = backoff(attempt) if fault.retry_after is None else fault.retry_after
            if not fault.is_transient or now() + pause >= end:
                break
            if attempt < self._max_retries:
                await asyncio.sleep(pause)
        tried = f" (tried {attempt + 1} times)" if attempt else ""
        # Raised outside of any except block: no request, and so no key, hangs on the error.
        kind = EmbeddingRejected if fault.is_rejection else EmbeddingFailed
        raise kind(f"{self._server} {fault.reason}{tried}.")

    async def _attempt(
        self, client: "AsyncOpenAI", batch: list[str], seconds: float
    ) -> bytes | Fault:
        from openai import OpenAIError, omit

        takes_dimensions = self._model.rpartition("/")[2].startswith("text-embedding-3-")
        try:
            # The client's own timeout is for each read: a server that drips would never meet it.
            async with asyncio.timeout(seconds):
                response = await client.embeddings.with_raw_response.create(
                    model=self._model,
                    input=batch,
                    dimensions=self._dimensions if takes_dimensions else omit,
                    encoding_format="base64",
                )
                return response.content
        except TimeoutError:
            return no_answer(seconds)
        except OpenAIError as error:
            return fault_of(error, seconds, self._api_key)

    async def _connected(self) -> "AsyncOpenAI":
        async with self._connecting:
            if self._client is None:
                # Importing the library takes about a second; in a thread it holds up nobody else.
                self._client = await asyncio.to_thread(self._connect)
            return self._client

    def _connect(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            api_key=self._api_key or "none",
            base_url=self._base_url,
            timeout=self._timeout,
            max_retries=0,
        )


def _native_dimensions(model: str) -> int:
    dimensions = NATIVE_DIMENSIONS.get(model.rpartition("/")[2])
    if dimensions is None:
        raise ConfigurationError(
            f"the dimensions of the model {model!r} are not known; set EMBEDDING_DIMENSIONS."
        )
    return dimensions


def _fit(text: str, max_bytes: int) -> bytes:
    """The text in UTF-8, cut to ``max_bytes``; a space for an empty one, which is refused."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return encoded or b" "
    return encoded[:max_bytes].decode("utf-8", "ignore").encode()


def _batches(inputs: Iterable[bytes]) -> Iterator[list[str]]:
    """Consecutive inputs, as many in a list as one request may hold."""
    batch: list[str] = []
    tokens = 0
    for encoded in inputs:
        if batch and (len(batch) == MAX_INPUTS or tokens + len(encoded) > MAX_REQUEST_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(encoded.decode())
        tokens += len(encoded)
    if batch:
        yield batch


class _MalformedAnswerError(Exception):
    """An answer is not what the protocol promises; says what it is instead."""


def _vectors(answer: bytes, count: int, dimensions: int) -> list[Embedding]:
    """The ``count`` vectors of an answer, in the order of their ``index``."""
    try:
        items = orjson.loads(answer)["data"]
        by_index = {item["index"]: item["embedding"] for item in items}
    except (ValueError, TypeError, KeyError):
        raise _MalformedAnswerError("an answer that is not in the embeddings protocol") from None
    if len(items) != count or by_index.keys() != set(range(count)):
        raise _MalformedAnswerError(f"{len(items)} vectors that do not match the {count} texts")
    return [_unit(_numbers(by_index[index]), dimensions) for index in range(count)]


def _numbers(value: Any) -> "array[float]":
    """The numbers of a vector: base64 of little-endian single precision, or a list."""
    numbers = array("f")
    try:
        if isinstance(value, str):
            numbers.frombytes(b64decode(value, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
        else:
            numbers.extend(value)
    except (ValueError, TypeError, OverflowError):
        raise _MalformedAnswerError("a vector that is not made of numbers") from None
    return numbers


def _unit(vector: "array[float]", dimensions: int) -> "array[float]":
    """The vector with length 1."""
    if len(vector) != dimensions:
        raise _MalformedAnswerError(
            f"a vector of {len(vector)} dimensions where EMBEDDING_DIMENSIONS is {dimensions}"
        )
    length = hypot(*vector)
    if not isfinite(length) or not length:
        raise _MalformedAnswerError("a vector without a direction")
    if abs(length - 1) < 1e-6:
        return vector
    return array("f", [value / length for value in vector])
