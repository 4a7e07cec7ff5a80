"""The HTTP server: uvicorn on a socket that is bound beforehand, its signals left to others."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nakamura_misaki.domain.errors import ConfigurationError

LOOPBACK = "127.0.0.1,::1"
BACKLOG = 2048
CANCELLED_MAY_TAKE = 0.5
KEEP_ALIVE = 120
"""Seconds that an idle connection is kept: longer than clients and proxies keep theirs (httpx 5, Go 90),
since a request that meets the closing of its connection gets no answer."""
MAX_HEAD_BYTES = 128 * 1024
"""Of a request's address and headers, which come before anybody's token is looked at."""


class HttpServer:
    """Serves the API on ``address``, a bound socket that does not listen yet.

    ``requests_may_take`` is how many seconds the requests in flight are given
    when the server stops; then they are cancelled.
    """

    def __init__(self, api: FastAPI, address: socket.socket, *, requests_may_take: float) -> None:
        self._server = _Server(
            uvicorn.Config(
                _giving_up(api),
                http=_BoundedProtocol,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,  # the API has its own, which knows the route and the token's name
                server_header=False,
                proxy_headers=True,
                forwarded_allow_ips=LOOPBACK,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE,
                # Its type says whole seconds; it is handed to asyncio, which takes any.
                timeout_graceful_shutdown=requests_may_take,  # type: ignore[arg-type]
            )
        )
        self._address = address
        self.serving: asyncio.Task[None]
        """Ends when the server does; there once ``start`` was called."""

    async def start(self) -> None:
        """Return once it listens. Raises ConfigurationError if the address was taken meanwhile."""
        self.serving = asyncio.create_task(self._server.serve([self._address]))
        listening = asyncio.create_task(self._server.is_listening.wait())
        try:
            await asyncio.wait((self.serving, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()
        if self.serving.done():
            try:
                self.serving.result()
            except OSError as error:
                host, port = self._address.getsockname()[:2]
                raise _not_to_be_had(host, port, error) from None

    async def stop(self) -> None:
        """Listen no more, and return once the requests in flight are answered or given up."""
        self._server.should_exit = True
        await self.serving
        if given_up := set(self._server.server_state.tasks):
            await asyncio.wait(given_up, timeout=CANCELLED_MAY_TAKE)


class _BoundedProtocol(HttpToolsProtocol):
    """Ends a connection that sends an endless head, which the parser would gather in memory.

    What counts is how much came since the parser last had something to hand on, so that
    it holds for headers behind a body in chunks as well.
    """

    _gathered = 0

    def data_received(self, data: bytes) -> None:
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._gathered = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._gathered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._gathered = 0
        super().on_message_complete()


def _giving_up(api: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Only the server's own end cancels a request, which the API has answered then: no error to
        # be logged with its traceback.
        with contextlib.suppress(asyncio.CancelledError):
            await api(scope, receive, send)

    return app


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service has its own, which stop more than this


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, where nobody is let in before something listens on it.

    Raises ConfigurationError.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _not_to_be_had(host, port, error) from None
    # With its protocol: asyncio sets TCP_NODELAY only on what says that it is TCP.
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise _not_to_be_had(host, port, error) from None
    return made


def url_of(address: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = address.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _not_to_be_had(host: str, port: int, error: OSError) -> ConfigurationError:
    reason = (error.strerror or str(error)).lower()
    return ConfigurationError(
        f"the service can't listen on port {port} of {host} ({reason}): choose another with --port"
        " and --host, or API_PORT and API_HOST."
    )
