"""An ``Idempotency-Key``: created once, however often it is asked for, and whatever breaks in between."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_driver import OURS, Api, Client, served
from nakamura_misaki.domain.errors import StorageUnavailable

NEW = {
    "tasks": {"title": "x", "description": "説明", "due_at": "2026-10-15T09:00:00+09:00"},
    "handoffs": {"to_user_id": "U2", "progress_note": "x", "handoff_at": "2026-10-15T09:00:00Z"},
    "notes": {"content": "決定: 東京", "metadata": {"n": [10**40, {"a": 1.5}]}},
    "sessions": {"id": "s1", "title": "x", "metadata": {"a": {}}},
}
KINDS = sorted(NEW)


@pytest.fixture(params=["postgresql", "json"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    is_json = request.param == "json"
    storage = tmp_path if is_json else request.getfixturevalue("database_url")
    async with served(storage) as made:
        yield made


async def create(client: Client, kind: str, key: str = "key", **values: object) -> httpx.Response:
    body = {**NEW[kind], **values}
    return await client.post(f"/v1/{kind}", json=body, headers={"Idempotency-Key": key})


async def entries(client: Client, kind: str) -> list[dict[str, Any]]:
    query = "?to_user_id=U2" if kind == "handoffs" else "?user_id=U1"
    items: list[dict[str, Any]] = (await client.get(f"/v1/{kind}{query}")).json()["items"]
    return items


async def test_request_that_comes_again_is_answered_as_the_first_was(api: Api) -> None:
    client, anybody = await api.client("U1"), await api.client()
    for kind in KINDS:
        first = await create(client, kind)
        again = await create(client, kind)
        assert (first.status_code, again.status_code) == (201, 201), kind
        assert again.content == first.content
        assert again.headers["location"] == first.headers["location"]
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert await entries(anybody, kind) == [first.json()]


async def test_answer_stays_what_it_was_when_the_entry_changes(api: Api) -> None:
    client = await api.client("U1")
    first = await create(client, "tasks")
    await client.delete(first.headers["location"])
    assert (await create(client, "tasks")).content == first.content
    assert await entries(client, "tasks") == []


async def test_handoff_is_answered_as_before_when_its_task_is_gone(api: Api) -> None:
    client = await api.client("U1")
    task = (await client.post("/v1/tasks", json={"title": "x"})).json()
    first = await create(client, "handoffs", task_id=task["id"])
    await client.delete(f"/v1/tasks/{task['id']}")
    again = await create(client, "handoffs", task_id=task["id"])
    assert (first.status_code, again.content) == (201, first.content)


async def test_many_at_once_create_one(api: Api) -> None:
    client, anybody = await api.client("U1"), await api.client()
    for kind in KINDS:
        answers = await asyncio.gather(*(create(client, kind) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {201}, kind
        assert len({answer.content for answer in answers}) == 1
        assert await entries(anybody, kind) == [answers[0].json()]


async def test_key_of_other_values_is_refused(api: Api) -> None:
    client = await api.client("U1")
    await create(client, "tasks")
    other = await create(client, "tasks", title="y")
    assert (other.status_code, other.json()["type"]) == (422, "/problems/key-reused")
    assert len(await entries(client, "tasks")) == 1
    # What a value is by default, and how a time is written, makes no other request.
    same = await create(client, "tasks", due_at="2026-10-15T00:00:00Z", assignee_user_id=None)
    assert same.headers["idempotency-replayed"] == "true"


async def test_key_is_the_tokens_own_and_the_routes(api: Api) -> None:
    mine, theirs, anybody = await api.client("U1"), await api.client("U2"), await api.client()
    values = {"to_user_id": "U3"}
    created = [
        await create(mine, "tasks"),
        await create(theirs, "tasks"),
        await create(mine, "handoffs", **values),
        await create(anybody, "tasks", creator_user_id="U1"),
    ]
    assert {answer.status_code for answer in created} == {201}
    assert len({answer.json()["id"] for answer in created}) == 4


async def test_key_that_is_none_is_a_bad_request(api: Api) -> None:
    client = await api.client("U1")
    for key in ("", "a b", "x" * 256, "caf\xe9", "\t"):
        headers = [(b"Idempotency-Key", key.encode("latin-1"))]
        answer = await client.post("/v1/tasks", json=NEW["tasks"], headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-request"), key
    assert (await create(client, "tasks", key="!~" * 127 + "x")).status_code == 201


async def test_request_that_was_refused_left_nothing_behind(api: Api) -> None:
    client = await api.client("U1")
    refused = await create(client, "handoffs", to_user_id="U1")
    assert refused.status_code == 422
    assert (await create(client, "handoffs", to_user_id="U1")).status_code == 422
    assert (await client.get("/v1/handoffs")).json()["items"] == []


@pytest.mark.parametrize("crash", ["before it is created", "before it is answered"])
async def test_request_after_a_crash_creates_the_same_entry(
    api: Api, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    """The process dies after the key is reserved, or after the entry is stored as well."""
    client, anybody = await api.client("U1"), await api.client()
    workspace = api.app.of(OURS)
    creates = {
        "tasks": (workspace.task_repository, "create"),
        "handoffs": (workspace.handoff_repository, "create"),
        "notes": (workspace.note_repository, "save"),
        "sessions": (workspace.session_repository, "create"),
    }

    async def dies(*arguments: object) -> None:
        raise StorageUnavailable("killed")

    for kind in KINDS:
        with monkeypatch.context() as patched:
            if crash == "before it is created":
                patched.setattr(*creates[kind], dies)
            else:
                patched.setattr(workspace.idempotency_store, "finish", dies)
            assert (await create(client, kind)).status_code == 503
        stored = await entries(anybody, kind)
        assert len(stored) == (0 if crash == "before it is created" else 1)
        answer = await create(client, kind)
        assert (answer.status_code, answer.headers["idempotency-replayed"]) == (201, "true")
        assert await entries(anybody, kind) == [answer.json()]
        assert stored in ([], [answer.json()])
        again = await create(client, kind)
        assert again.content == answer.content


async def test_session_of_somebody_else_is_not_taken_for_ones_own(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash, a session with the id that this request chose may be another request's."""
    client, other = await api.client("U1"), await api.client("U2")

    async def dies(*arguments: object) -> None:
        raise StorageUnavailable("killed")

    with monkeypatch.context() as patched:
        patched.setattr(api.app.of(OURS).session_repository, "create", dies)
        assert (await create(client, "sessions")).status_code == 503
    assert (await other.post("/v1/sessions", json=NEW["sessions"])).status_code == 201
    answer = await create(client, "sessions")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/already-exists")
