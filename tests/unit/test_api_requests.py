"""What surrounds a request: its id, its line in the log, who hears of it, and its end."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter

from api_driver import Api, served
from database_server import connect
from nakamura_misaki.adapters.primary.api.application import create_api
from nakamura_misaki.infrastructure.di.access import build_gate
from nakamura_misaki.infrastructure.logging import request_id


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with served(database_url) as made:
        yield made


async def test_request_has_an_id_that_its_answer_tells(api: Api) -> None:
    client = await api.client("U1")
    for given in ("abc-1.2_3", "x" * 128):
        answer = await client.get("/v1/tasks", headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] == given
    for given in ("", "a b", "x" * 129, "é", "a\tb"):
        headers = [(b"X-Request-ID", given.encode("latin-1"))]
        answer = await client.get("/v1/tasks", headers=headers)
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert request_id.get() is None


async def test_queries_of_a_request_carry_its_id(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await api.client("U1")
    repository = api.app.own.task_repository
    ask, seen = repository.list_by_user, set[str | None]()

    async def listening(*arguments: object, **more: object) -> object:
        seen.add(request_id.get())
        return await ask(*arguments, **more)

    monkeypatch.setattr(repository, "list_by_user", listening)
    ids = [f"id-{n}" for n in range(10)]
    await asyncio.gather(*(client.get("/v1/tasks", headers={"X-Request-ID": name}) for name in ids))
    assert seen == set(ids)


async def test_answers_are_kept_by_nobody(api: Api) -> None:
    client = await api.client("U1")
    for address in ("/v1/tasks", "/v1/nothing"):
        answer = await client.get(address)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "cache-control" not in (await client.get("/openapi.json")).headers


async def test_each_answer_is_one_line_and_is_heard_of(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    client = await api.client("U1")
    caplog.set_level(logging.INFO, logger="nakamura_misaki.access")
    task = (await client.post("/v1/tasks", json={"title": "x"})).json()
    await client.get(f"/v1/tasks/{task['id']}?q=1")
    await client.get("/v1/nothing/here")
    await client.request("BREW", "/v1/tasks")
    await (await api.with_token(None)).get("/v1/notes/search?q=秘密")
    await client.get("/openapi.json")
    expected = [
        ("POST", "/v1/tasks", 201, "token 0"),
        ("GET", "/v1/tasks/{task_id}", 200, "token 0"),
        ("GET", "unmatched", 404, "-"),
        ("OTHER", "/v1/tasks", 405, "-"),
        ("GET", "/v1/notes/search", 401, "-"),
        ("GET", "/openapi.json", 200, "-"),
    ]
    assert [told[:3] for told in api.heard] == [line[:3] for line in expected]
    assert all(0 < seconds < 60 for *_, seconds in api.heard)
    lines = [each.getMessage() for each in caplog.records if each.name == "nakamura_misaki.access"]
    for line, (method, template, status, token) in zip(lines, expected, strict=True):
        pattern = rf"{method} {re.escape(template)} {status} \d+\.\d ms {token}"
        assert re.fullmatch(pattern, line), line


async def test_other_routers_are_served_beside_without_a_token(api: Api) -> None:
    router = APIRouter()

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        return {"alive": True}

    api.api = create_api(api.app, build_gate(api.app), routers=[router])
    api.document.content = api.api.openapi()
    client = await api.with_token(None)
    del client.event_hooks["response"][:]
    answer = await client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})
    assert "security" not in api.document.content["paths"]["/health/live"]["get"]
    refused = await client.post("/health/live")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


async def test_cancelled_request_gives_its_connection_back(api: Api, owner_url: str) -> None:
    """Cancelled in the middle of a statement that waits for a lock."""
    assert api.app.manager is not None
    client = await api.client("U1")
    blocker = await connect(owner_url)
    try:
        await blocker.execute("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(client.get("/v1/tasks"))
        watcher = await connect(owner_url)
        try:
            while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not waiting.done()
        finally:
            await watcher.close()
        assert api.app.manager.pool_status().in_use == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert api.app.manager.pool_status().in_use == 0
    finally:
        await blocker.close()
    assert api.heard[-1][:3] == ("GET", "/v1/tasks", 503)
    assert (await client.get("/v1/tasks")).status_code == 200
