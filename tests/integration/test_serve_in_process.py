"""The same service inside this process, where its ends can be watched from within."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from integration.service_process import TOKEN
from nakamura_misaki.adapters.primary.http_server import MAX_HEAD_BYTES
from nakamura_misaki.adapters.primary.service import Listening, Service
from nakamura_misaki.domain.errors import ConfigurationError, StorageUnavailable
from nakamura_misaki.infrastructure.settings import load_settings
from openai_server import Fault, OpenAIServer


class Run:
    """A run of the service in a task, told to stop as systemd does it."""

    def __init__(self, **settings: Any) -> None:
        loaded = load_settings(**({"embedding_provider": "hashing", "api_port": 0} | settings))
        self.listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
        service = Service(loaded, with_jobs=True, on_listening=self.listening.set_result)
        self.task = asyncio.create_task(service.run())

    async def started(self) -> Listening:
        await asyncio.wait((self.listening, self.task), return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            self.task.result()
        return self.listening.result()

    async def stopped(self) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return await self.task


@asynccontextmanager
async def client_of(listening: Listening) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=listening.url, headers=headers, timeout=30) as client:
        yield client


async def test_serves_and_stops_in_order(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    caplog.set_level("INFO")
    before = signal.getsignal(signal.SIGTERM)
    run = Run(database_url=database_url, api_tokens=f"tests {TOKEN}")
    listening = await run.started()
    assert str(listening) == f"listening on {listening.url}; Slack: off; jobs: on"
    async with client_of(listening) as client:
        answer = await client.get("/v1/tasks", params={"user_id": "U1"})
        assert answer.status_code == 200
    assert await run.stopped() is True
    assert signal.getsignal(signal.SIGTERM) is before
    said = [m for m in caplog.messages if m.startswith(("listening", "stopp"))]
    assert said == [str(listening), "stopping: what is under way is finished first", "stopped"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*listening.url.removeprefix("http://").split(":"))


async def test_request_that_takes_too_long_is_given_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nakamura_misaki.adapters.primary.service.REQUESTS_MAY_TAKE", 0.3)
    with OpenAIServer() as embeddings:
        embeddings.always = Fault(delay=20)
        run = Run(
            database_url=database_url,
            api_tokens=f"tests {TOKEN}",
            embedding_provider="openai",
            embedding_query_timeout=20,
            openai_api_key=embeddings.key,
            openai_base_url=embeddings.base_url,
        )
        async with client_of(await run.started()) as client:
            asked = client.get("/v1/notes/search", params={"q": "移行", "user_id": "U1"})
            slow = asyncio.create_task(asked)
            while not embeddings.requests:  # noqa: ASYNC110  (the server runs in a thread)
                await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                assert await run.stopped() is True
            given_up = await slow
        assert given_up.status_code == 503
        assert given_up.headers["retry-after"] == "1"
        assert given_up.json()["type"] == "/problems/unavailable"
        assert given_up.json()["request_id"] == given_up.headers["x-request-id"]
        assert not [record for record in caplog.records if record.exc_info]


async def test_two_signals_at_once_end_it_at_once(database_url: str) -> None:
    run = Run(database_url=database_url)
    await run.started()
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await run.task is False


async def test_refusals_leave_nothing_open(database_url: str) -> None:
    with pytest.raises(StorageUnavailable, match=r"waited 0\.3 s for it"):
        await Run(
            database_url="postgresql+asyncpg://u@127.0.0.1:1/d", startup_timeout=0.3
        ).started()
    with pytest.raises(ConfigurationError, match="needs SLACK_BOT_TOKEN"):
        await Run(database_url=database_url, slack_mode="socket").started()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"can't listen on port {port} of ::1"):
            await Run(database_url=database_url, api_host="::1", api_port=port).started()


async def test_ipv6_address_is_shown_as_a_url(database_url: str) -> None:
    run = Run(database_url=database_url, api_host="::1")
    listening = await run.started()
    assert listening.url.startswith("http://[::1]:")
    async with client_of(listening) as client:
        assert (await client.get("/health/live")).status_code == 200
    assert await run.stopped() is True


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /health/live HTTP/1.1\r\nHost: test\r\nX-Endless: ",
        b"GET /health/live?",
        b"POST /v1/tasks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Endless: ",
    ],
)
async def test_head_without_end_is_cut_off(database_url: str, beginning: bytes) -> None:
    run = Run(database_url=database_url)
    listening = await run.started()
    host, port = listening.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, port)
    writer.write(beginning)
    sent, endless = 0, b"x" * 16384
    with contextlib.suppress(ConnectionError):
        while sent < 64 * MAX_HEAD_BYTES:
            writer.write(endless)
            await writer.drain()
            sent += len(endless)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    # What the sockets hold between them comes on top; it is far from all.
    assert MAX_HEAD_BYTES <= sent < 64 * MAX_HEAD_BYTES
    async with client_of(listening) as client:
        assert (await client.get("/health/live")).status_code == 200
        whole = await client.get("/health/live", headers={"X-Long": "x" * (MAX_HEAD_BYTES // 2)})
        assert whole.status_code == 200
    assert await run.stopped() is True
