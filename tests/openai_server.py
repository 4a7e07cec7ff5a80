"""A local HTTP server that speaks OpenAI's embeddings protocol, faults included.

In a test::

    async with OpenAIServer() as server:
        embedder = OpenAIEmbedder(api_key=server.key, base_url=server.base_url)
        server.script(Fault.rate_limited(retry_after=0.01))

or as a program: ``python tests/openai_server.py --port 8080 --key test-key``.

Vectors come from a HashingEmbedder, after words of one meaning were replaced by
one of them (``synonyms``), so that a test can ask by meaning. It uses the standard
library's server, because that lets a fault cut a connection in the middle of a body.
"""

import argparse
import json
import socket
import struct
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from openai_server_faults import Fault, Items

__all__ = ["Fault", "OpenAIServer", "Request"]

NATIVE_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
MAX_INPUTS = 2_048
MAX_INPUT_TOKENS = 8_192
MAX_REQUEST_TOKENS = 300_000


@dataclass(frozen=True)
class Request:
    """What a client sent; header names are in lower case."""

    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def input(self) -> list[str]:
        given = self.body["input"]
        return [given] if isinstance(given, str) else given


class OpenAIServer:
    """The server, on a port of the loopback interface; an async (and a plain) context manager.

    ``requests`` are those that came, in order. A request takes the first fault that
    was scripted, or else ``always``. A request with a text that contains ``refused``
    is refused as a whole, as OpenAI does. ``most_at_once`` is how many requests were ever
    under way at the same time. ``ignores_encoding`` answers with lists of numbers
    whatever was asked for, as several compatible servers do.
    """

    def __init__(
        self,
        *,
        key: str | None = "sk-test-0123456789abcdef",
        synonyms: Mapping[str, str] | None = None,
        default_dimensions: int = 384,
        ignores_encoding: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.key = key
        self.synonyms = {word.casefold(): to for word, to in (synonyms or {}).items()}
        self.default_dimensions = default_dimensions
        self.ignores_encoding = ignores_encoding
        self.always: Fault | None = None
        self.refused: str | None = None
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._under_way = 0
        self._address = (host, port)
        self._faults: deque[Fault] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._embedders: dict[int, HashingEmbedder] = {}

    def script(self, *faults: Fault) -> None:
        """Give each of the next requests one of these faults, in order."""
        self._faults.extend(faults)

    @property
    def base_url(self) -> str:
        host, port = self._http.server_address[:2]
        return f"http://{host}:{port}/v1"

    @property
    def texts(self) -> list[str]:
        """Every text that was asked for, in order of arrival."""
        return [text for request in self.requests for text in request.input]

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = _Connections(self._address, handler)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.cut_all()
        self._http.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def vector(self, text: str, dimensions: int) -> list[float]:
        """The vector that this server gives a text."""
        for word, meaning in self.synonyms.items():
            text = text.casefold().replace(word, meaning)
        embedder = self._embedders.setdefault(dimensions, HashingEmbedder(dimensions))
        return list(embedder.vector(text))

    def take_fault(self) -> Fault | None:
        with self._lock:
            return self._faults.popleft() if self._faults else self.always

    def begin(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)

    def end(self) -> None:
        with self._lock:
            self._under_way -= 1

    def wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)


class _Connections(ThreadingHTTPServer):
    """Knows its open connections, so that stopping never waits for a client."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or a connection that was cut, is nothing to report."""

    def cut_all(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Refusal(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    owner: OpenAIServer
    protocol_version = "HTTP/1.1"
    # Headers and body go out in two writes; Nagle's algorithm would delay the second.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """``/health``, for those who wait until the server is up."""
        self._send(200 if self.path == "/health" else 404, b"{}")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            body = json.loads(raw)
        except ValueError:
            self._refuse(_Refusal(400, "We could not parse the JSON body of your request."))
            return
        self.owner.begin(Request({k.lower(): v for k, v in self.headers.items()}, body))
        try:
            self._answer(body, self.owner.take_fault() or Fault())
        except _Refusal as refusal:
            self._refuse(refusal)
        finally:
            self.owner.end()

    def _answer(self, body: dict[str, Any], fault: Fault) -> None:
        if fault.delay:
            self.owner.wait(fault.delay)
        self._check_key()
        if fault.status != 200:
            message = f"scripted fault {fault.status}"
            self._refuse(_Refusal(fault.status, message, fault.code), fault.headers)
            return
        items = _items(self.owner, body)
        if fault.damage:
            items = fault.damage(items)
        as_base64 = body.get("encoding_format") == "base64" and not self.owner.ignores_encoding
        payload = fault.body or _payload(body, items, as_base64=as_base64)
        if fault.cuts:
            self._send(200, payload[: len(payload) // 2], length=len(payload))
            self.close_connection = True
        else:
            self._send(200, payload)

    def _check_key(self) -> None:
        if self.path != "/v1/embeddings":
            raise _Refusal(404, f"Invalid URL (POST {self.path})")
        if self.owner.key is None:
            return
        given = self.headers.get("Authorization", "")
        if given != f"Bearer {self.owner.key}":
            # OpenAI's own message repeats part of the key.
            raise _Refusal(401, f"Incorrect API key provided: {given}.", "invalid_api_key")

    def _refuse(self, refusal: _Refusal, headers: Mapping[str, str] | None = None) -> None:
        error = {"message": str(refusal), "type": "error", "param": None, "code": refusal.code}
        self._send(refusal.status, json.dumps({"error": error}).encode(), headers)

    def _send(
        self,
        status: int,
        payload: bytes,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  (the name it has there)
        """Requests are recorded, not printed."""


def _items(server: OpenAIServer, body: dict[str, Any]) -> Items:
    """The ``data`` of an answer, or the refusal that OpenAI would give."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    sizes = [len(text.encode()) for text in texts]
    if not 1 <= len(texts) <= MAX_INPUTS:
        raise _Refusal(400, f"'$.input' must hold 1 to {MAX_INPUTS} items, not {len(texts)}.")
    if not all(sizes):
        raise _Refusal(400, "'$.input' is invalid: an empty string.")
    if server.refused is not None and any(server.refused in text for text in texts):
        raise _Refusal(400, "'$.input' is invalid.")
    # One token a byte: the most that byte-pair encoding can make of a text.
    if max(sizes) > MAX_INPUT_TOKENS:
        raise _Refusal(400, f"This model's maximum context length is {MAX_INPUT_TOKENS} tokens.")
    if sum(sizes) > MAX_REQUEST_TOKENS:
        raise _Refusal(
            400,
            f"Requested {sum(sizes)} tokens, max {MAX_REQUEST_TOKENS} tokens per request",
            "max_tokens_per_request",
        )
    dimensions = _dimensions(server, body)
    return [
        {"object": "embedding", "index": index, "embedding": server.vector(text, dimensions)}
        for index, text in enumerate(texts)
    ]


def _dimensions(server: OpenAIServer, body: dict[str, Any]) -> int:
    model = body["model"]
    native = NATIVE_DIMENSIONS.get(model, server.default_dimensions)
    if "dimensions" not in body:
        return native
    if not model.startswith("text-embedding-3-"):
        raise _Refusal(400, "This model does not support specifying dimensions.")
    if not 1 <= body["dimensions"] <= native:
        raise _Refusal(400, f"Invalid value for 'dimensions': must be at most {native}.")
    return int(body["dimensions"])


def _payload(body: dict[str, Any], items: Items, *, as_base64: bool) -> bytes:
    if as_base64:
        items = [{**item, "embedding": _base64(item["embedding"])} for item in items]
    tokens = len(str(body["input"]).split())
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": items, "model": body["model"], "usage": usage}
    return json.dumps(answer).encode()


def _base64(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve OpenAI's embeddings protocol for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", help="refuse every other bearer key; without it all are let in")
    parser.add_argument("--dimensions", type=int, default=384, help="of models not of OpenAI")
    parser.add_argument("--synonym", action="append", default=[], metavar="WORD=MEANING")
    options = parser.parse_args()
    server = OpenAIServer(
        host=options.host,
        port=options.port,
        key=options.key,
        default_dimensions=options.dimensions,
        synonyms=dict(pair.split("=", 1) for pair in options.synonym),
    )
    with server:
        print(server.base_url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
