"""The HTTP API behind real sockets, in a thread with an event loop of its own."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from api_driver import Api, served


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()


@dataclass
class Served:
    """A running server: its address, what it serves, a token for every user, and one of U1's."""

    url: str
    token: str
    own_token: str
    api: Api
    loop: asyncio.AbstractEventLoop


@contextmanager
def api_server(storage: str | Path, **settings: object) -> Iterator[Served]:
    """The API on a free port of 127.0.0.1 until the block ends, which nothing may outlive."""
    ready = threading.Event()
    made: list[tuple[_Server, Served]] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        # Named as TCP, or asyncio leaves Nagle's algorithm on, and every answer waits 40 ms.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
            listening.bind(("127.0.0.1", 0))
            async with served(storage, **settings) as api:
                config = uvicorn.Config(api.api, log_config=None, lifespan="off", access_log=False)
                server = _Server(config, ready)
                url = f"http://127.0.0.1:{listening.getsockname()[1]}"
                loop = asyncio.get_running_loop()
                tokens = await api.token(), await api.token("U1")
                made.append((server, Served(url, *tokens, api, loop)))
                await server.serve(sockets=[listening])

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  (raised in the test's thread)
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(30)
        if not failed:
            yield made[0][1]
    finally:
        if made:
            made[0][0].should_exit = True
        thread.join(30)
    assert not thread.is_alive()
    for error in failed:
        raise error
