"""Whatever is wrong with a request: a problem that says so, and nothing changed or given away."""

import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from api_driver import PROBLEM, Api, served
from nakamura_misaki.domain.errors import (
    EmbeddingModelMismatch,
    PoolExhausted,
    SchemaOutdated,
    StorageUnavailable,
)

ADDRESS = f"/v1/tasks/{uuid4()}"
LONG = "あ" * 256
SECRET = "hunter2-secret"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with served(database_url) as made:
        yield made


NEW_TASK = {"title": "x", "creator_user_id": "U1"}
NEW_HANDOFF = {
    "from_user_id": "U1",
    "to_user_id": "U2",
    "progress_note": "x",
    "handoff_at": "2026-10-15T09:00:00Z",
}
NEW_NOTE = {"user_id": "U1", "content": "x"}
NEW_SESSION = {"id": "s", "user_id": "U1"}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


BROKEN_BODIES = [
    ("tasks", NEW_TASK, {"title": ""}, "title"),
    ("tasks", NEW_TASK, {"title": "\u3000"}, "title"),
    ("tasks", NEW_TASK, {"title": "x" * 501}, "title"),
    ("tasks", NEW_TASK, {"title": "a\x00b"}, "title"),
    ("tasks", NEW_TASK, {"title": "\ud800"}, "title"),
    ("tasks", NEW_TASK, {"title": 5}, "title"),
    ("tasks", NEW_TASK, {"title": None}, "title"),
    ("tasks", NEW_TASK, {"description": "a\x00"}, "description"),
    ("tasks", NEW_TASK, {"creator_user_id": LONG}, "creator_user_id"),
    ("tasks", NEW_TASK, {"creator_user_id": None}, "creator_user_id"),
    ("tasks", NEW_TASK, {"due_at": "2026-10-15T09:00:00"}, "due_at"),
    ("tasks", NEW_TASK, {"due_at": "2026-02-30T09:00:00Z"}, "due_at"),
    ("tasks", NEW_TASK, {"due_at": "tomorrow"}, "due_at"),
    ("tasks", NEW_TASK, {"due_at": 1760000000}, "due_at"),
    ("tasks", NEW_TASK, {"due_at": "0001-01-01T00:00:00Z"}, "due_at"),
    ("tasks", NEW_TASK, {"due_at": "0001-01-01T00:00:00+09:00"}, "due_at"),
    ("tasks", NEW_TASK, {"due_at": "9999-12-31T23:59:59.999999Z"}, "due_at"),
    ("tasks", NEW_TASK, {"status": "completed"}, "status"),
    ("tasks", NEW_TASK, {"id": str(uuid4())}, "id"),
    ("handoffs", NEW_HANDOFF, {"progress_note": " "}, "progress_note"),
    ("handoffs", NEW_HANDOFF, {"task_id": "1"}, "task_id"),
    ("handoffs", NEW_HANDOFF, {"task_id": f"urn:uuid:{uuid4()}"}, "task_id"),
    ("notes", NEW_NOTE, {"content": "\n"}, "content"),
    ("notes", NEW_NOTE, {"category": " "}, "category"),
    ("notes", NEW_NOTE, {"session_id": LONG}, "session_id"),
    ("notes", NEW_NOTE, {"metadata": []}, "metadata"),
    ("notes", NEW_NOTE, {"metadata": {"a": "\x00"}}, "metadata"),
    ("notes", NEW_NOTE, {"metadata": {"\ud800": 1}}, "metadata"),
    ("notes", NEW_NOTE, {"metadata": {"a": float("nan")}}, "metadata"),
    ("notes", NEW_NOTE, {"metadata": nested(150)}, "metadata"),
    ("sessions", NEW_SESSION, {"id": "a/b"}, "id"),
    ("sessions", NEW_SESSION, {"id": ".."}, "id"),
    ("sessions", NEW_SESSION, {"id": "x\n"}, "id"),
    ("sessions", NEW_SESSION, {"message_count": 1}, "message_count"),
]


async def test_value_that_breaks_a_rule_is_named(api: Api) -> None:
    client = await api.client()
    for kind, good, broken, field in BROKEN_BODIES:
        answer = await client.post(
            f"/v1/{kind}",
            content=json.dumps({**good, **broken}),
            headers={"Content-Type": "application/json; charset=utf-8"},
        )
        assert answer.status_code == 422, (kind, field)
        problem = answer.json()
        assert problem["type"] == "/problems/invalid"
        assert [error["loc"][:2] for error in problem["errors"]] == [["body", field]]
    for address in ("tasks?user_id=U1", "handoffs?to_user_id=U2", "notes?user_id=U1"):
        assert (await client.get(f"/v1/{address}")).json()["items"] == []


async def test_heap_of_unknown_names_is_one_mistake(api: Api) -> None:
    """Otherwise each is one, and telling of them holds up everybody else for seconds."""
    client = await api.client("U1")
    heap = {f"{number:x}": 1 for number in range(50_000)}
    for method, address in (("POST", "/v1/tasks"), ("PATCH", ADDRESS), ("POST", "/v1/notes")):
        answer = await client.request(method, address, json=heap)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error == {
            "loc": ["body"],
            "msg": "there are 50,000 names; at most 100 are looked at.",
        }
    answer = await client.get("/v1/tasks?" + "&".join(f"{name}=1" for name in list(heap)[:2000]))
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [["query"]]
    few = await client.post("/v1/tasks", json={"title": "x", "a": 1, "b": 2})
    assert [error["loc"] for error in few.json()["errors"]] == [["body", "a"], ["body", "b"]]


BROKEN_ADDRESSES = [
    "tasks?user_id=U1&limit=0",
    "tasks?user_id=U1&limit=201",
    "tasks?user_id=U1&limit=1_0",
    "tasks?user_id=U1&limit=2.0",
    "tasks?user_id=U1&limit=" + "9" * 5000,
    "tasks?user_id=U1&open=yes",
    "tasks?user_id=U1&status=done",
    "tasks?user_id=U1&due=tomorrow",
    "tasks?user_id=U1&stauts=pending",
    "tasks?user_id=%20",
    "tasks?user_id=a%00b",
    "tasks",
    "handoffs?to_user_id=U1&completed=",
    "handoffs",
    "notes?user_id=U1&category=",
    "notes/search?q=%20",
    "notes/search",
    "notes/search?q=x&limit=1000",
    "sessions",
    "sessions/a%00b",
    f"sessions/{'a' * 256}/notes",
    "tasks/1",
    "notes/%F0%28",
]


async def test_query_or_path_that_breaks_a_rule_is_refused(api: Api) -> None:
    client = await api.client()
    for address in BROKEN_ADDRESSES:
        answer = await client.get(f"/v1/{address}")
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid"), address
        assert answer.json()["errors"]


def cursor(*parts: object) -> str:
    return urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


TIME = "2026-10-15T09:00:00Z"


BAD_CURSORS = [
    "",
    "x",
    "====",
    "あ",
    cursor(),
    cursor(2, "tasks", TIME, str(uuid4())),
    cursor(1, "notes", TIME, str(uuid4())),
    cursor(1, "tasks", TIME, "1"),
    cursor(1, "tasks", TIME, 1),
    cursor(1, "tasks", "now", str(uuid4())),
    cursor(1, "tasks", 1, str(uuid4())),
    cursor(1, "tasks", "2026-10-15T09:00:00", str(uuid4())),
    cursor(1, "tasks", "0001-01-01T00:00:00+14:00", str(uuid4())),
    urlsafe_b64encode(b"[" * 500).decode(),
    "A" * 5000,
]


async def test_cursor_that_is_none_is_a_bad_request(api: Api) -> None:
    client = await api.client("U1")
    for bad in BAD_CURSORS:
        answer = await client.get("/v1/tasks", params={"cursor": bad})
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-request"), bad


async def test_only_lists_with_undated_entries_take_an_undated_cursor(api: Api) -> None:
    client = await api.client("U1")
    for kind, expected in (("tasks", 200), ("handoffs", 400), ("notes", 400), ("sessions", 400)):
        undated = cursor(1, kind, None, str(uuid4()))
        answer = await client.get(f"/v1/{kind}", params={"cursor": undated})
        assert answer.status_code == expected, kind
    blank = await client.get("/v1/sessions", params={"cursor": cursor(1, "sessions", TIME, " ")})
    assert blank.status_code == 400


async def test_address_of_nothing(api: Api) -> None:
    client = await api.client()
    for path in ("/v1/nothing", "/v1/tasks/", "/v1", "/docs", "/redoc"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
        assert answer.headers["content-type"] == PROBLEM


async def test_method_that_an_address_does_not_take(api: Api) -> None:
    client = await api.client()
    for path, allowed in (("/v1/tasks", "GET, POST"), (ADDRESS, "DELETE, GET, PATCH")):
        for method in ("PUT", "OPTIONS", "TRACE", "BREW"):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
            assert answer.json()["type"] == "/problems/method-not-allowed"
    assert {method for method, *_ in api.heard} == {"PUT", "OPTIONS", "OTHER"}


NO_JSON = [
    b"{",
    b"{'title': 'x'}",
    b'{"title": "\xff"}',
    b"[" * 100_000,
    b'{"metadata": {"n": ' + b"9" * 5000 + b"}}",
]


async def test_body_that_is_no_json_is_a_bad_request(api: Api) -> None:
    client = await api.client("U1")
    headers = {"Content-Type": "application/json"}
    for body in NO_JSON:
        answer = await client.post("/v1/tasks", content=body, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/bad-request")


async def test_body_of_another_kind_is_refused(api: Api) -> None:
    client = await api.client("U1")
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "json", "a/json", ""):
        headers = {"Content-Type": content_type}
        answer = await client.post("/v1/tasks", content=b'{"title": "x"}', headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (415, "/problems/not-json")
    untyped = await client.post("/v1/tasks", content=b'{"title": "x"}')
    assert untyped.status_code == 415
    assert (await client.post("/v1/tasks")).status_code == 422
    headers = {"Content-Type": "application/merge-patch+json"}
    merged = await client.post("/v1/tasks", content=b'{"title": "x"}', headers=headers)
    assert merged.status_code == 201


async def test_body_over_the_limit_is_refused_before_it_is_parsed(database_url: str) -> None:
    async with served(database_url, api_max_body_bytes=2048) as api:
        client = await api.client("U1")
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            yield b'{"title": "x", "description": "'
            while True:
                read += 1000
                yield b"x" * 1000

        headers = {"Content-Type": "application/json"}
        declared = await client.post("/v1/tasks", content=b"x" * 2049, headers=headers)
        chunked = await client.post("/v1/tasks", content=endless(), headers=headers)
        for answer in (declared, chunked):
            assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")
            assert answer.headers["connection"] == "close"
        assert read < 10_000
        fits = b'{"title": "x", "description": "' + b"x" * 2015 + b'"}'
        assert len(fits) == 2048
        answer = await client.post("/v1/tasks", content=fits, headers=headers)
        assert answer.status_code == 201


async def test_values_that_are_refused_are_not_repeated(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await api.client()
    body = {"title": SECRET * 100, "creator_user_id": f"{SECRET}\x00", "due_at": SECRET}
    answer = await client.post(f"/v1/tasks?{SECRET}={SECRET}", json=body)
    assert answer.status_code == 422
    query = await client.get(f"/v1/tasks?user_id=U1&status={SECRET}&limit={SECRET}")
    path = await client.get(f"/v1/tasks/{SECRET}")
    key = await client.post("/v1/tasks", json=NEW_TASK, headers={"Idempotency-Key": f"{SECRET} x"})
    for each in (answer, query, path, key):
        assert SECRET not in each.text
    messages = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert messages
    assert not [message for message in messages if SECRET in message or "Bearer" in message]


async def test_unpaired_surrogate_in_a_name_can_be_answered(api: Api) -> None:
    """As the name of a field, where the answer names the mistake's place, and as a user's."""
    client = await api.client("U1")
    headers = {"Content-Type": "application/json"}
    for body in (b'{"title": "x", "\\ud800": 1}', b'{"title": "x", "a\\ud800": 1}'):
        answer = await client.post("/v1/tasks", content=body, headers=headers)
        assert answer.status_code == 422


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry"),
    [
        (StorageUnavailable(f"refused by {SECRET}"), 503, "unavailable", "1"),
        (PoolExhausted(SECRET), 503, "unavailable", "1"),
        (SchemaOutdated(SECRET), 503, "misconfigured", None),
        (EmbeddingModelMismatch(SECRET), 503, "misconfigured", None),
        (ZeroDivisionError(SECRET), 500, "unexpected", None),
    ],
)
async def test_fault_of_ours_is_told_without_details_and_logged(
    api: Api,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    kind: str,
    retry: str | None,
) -> None:
    client = await api.client("U1")

    async def fails(*arguments: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(api.app.own.task_repository, "list_by_user", fails)
    answer = await client.get("/v1/tasks", headers={"X-Request-ID": "my-id"})
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{kind}")
    assert answer.headers.get("retry-after") == retry
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "my-id"
    assert SECRET not in answer.text
    assert SECRET in caplog.text
    assert ("Traceback" in caplog.text) is (status == 500)


async def test_database_that_is_gone_is_a_503(unused_tcp_port: int, api: Api) -> None:
    token = await api.token("U1")
    url = f"postgresql+asyncpg://u@127.0.0.1:{unused_tcp_port}/d"
    async with served(url) as without:
        client = await without.with_token(token)
        answer = await client.get("/v1/tasks")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "127.0.0.1" not in answer.text
