"""The API through real sockets: clients that go away, bodies that never end, many at once."""

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from api_server import Served, api_server
from database_server import connect


@pytest.fixture
def service(database_url: str) -> Iterator[Served]:
    with api_server(database_url) as served:
        yield served


def opened(service: Served) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def head(service: Served, line: str, *more: str) -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: test", f"Authorization: Bearer {service.own_token}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def in_use(service: Served) -> int:
    async def look() -> int:
        assert service.api.app.manager is not None
        return service.api.app.manager.pool_status().in_use

    return asyncio.run_coroutine_threadsafe(look(), service.loop).result(10)


def eventually(service: Served, connections: int) -> None:
    """Wait until so many connections of the pool are in use, which no event tells of."""
    gives_up = time.monotonic() + 20
    while (found := in_use(service)) != connections:
        assert time.monotonic() < gives_up, f"{found} in use, not {connections}"


async def locked(owner_url: str) -> asyncpg.Connection:
    """A connection that keeps everybody out of the tasks until it is closed."""
    connection = await connect(owner_url)
    await connection.execute("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
    return connection


def test_clients_that_go_away_leave_no_connection_behind(service: Served, owner_url: str) -> None:
    """Eight clients give up while their statements wait for a lock."""
    with asyncio.Runner() as runner:
        blocker = runner.run(locked(owner_url))
        clients = [opened(service) for _ in range(8)]
        for client in clients:
            client.sendall(head(service, "GET /v1/tasks"))
        eventually(service, 8)
        for client in clients:
            client.close()
        runner.run(blocker.close())
    eventually(service, 0)
    with httpx.Client(headers={"Authorization": f"Bearer {service.own_token}"}) as client:
        assert client.get(f"{service.url}/v1/tasks").status_code == 200


def test_client_that_breaks_off_its_body_creates_nothing(service: Served) -> None:
    with opened(service) as client:
        more = ("Content-Type: application/json", "Content-Length: 1000")
        client.sendall(head(service, "POST /v1/tasks", *more) + b'{"title": "x"}')
    with httpx.Client(headers={"Authorization": f"Bearer {service.own_token}"}) as client:
        assert client.get(f"{service.url}/v1/tasks").json()["items"] == []


def test_body_over_the_limit_is_refused_and_the_connection_closed(service: Served) -> None:
    """In chunks, whose length nobody tells beforehand, and that never come to an end."""
    with opened(service) as client:
        more = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        client.sendall(head(service, "POST /v1/tasks", *more))
        chunk = b"x" * 0x10000
        for _ in range(service.api.app.settings.api_max_body_bytes // len(chunk)):
            client.sendall(b"10000\r\n" + chunk + b"\r\n")
        client.sendall(b"1\r\nx\r\n")
        answer = b""
        while received := client.recv(65536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"/problems/too-large" in answer


def test_many_clients_create_and_read_at_once(service: Served) -> None:
    def work(number: int) -> list[str]:
        headers = {"Authorization": f"Bearer {service.own_token}"}
        with httpx.Client(base_url=service.url, headers=headers) as client:
            made = []
            for step in range(5):
                key = {"Idempotency-Key": f"{number}-{step}"}
                for _ in range(2):
                    answer = client.post("/v1/tasks", json={"title": f"{key}"}, headers=key)
                    assert answer.status_code == 201
                    made.append(answer.json()["id"])
                assert client.get("/v1/tasks?limit=10").status_code == 200
            return made

    with ThreadPoolExecutor(16) as threads:
        made = [task_id for ids in threads.map(work, range(16)) for task_id in ids]
    assert len(set(made)) == 80
    headers = {"Authorization": f"Bearer {service.own_token}"}
    with httpx.Client(base_url=service.url, headers=headers) as client:
        listed = client.get("/v1/tasks?limit=200").json()["items"]
    assert {task["id"] for task in listed} == set(made)
    assert in_use(service) == 0
