"""Of another workspace, and of another user for a token bound to one, there is nothing: 404 everywhere."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from api_driver import OURS, Api, Client, served
from database_server import connect
from integration.stores import rows

THEIRS = "T_VICTIM"
SECRET = "極秘の買収"
AT = "2026-10-15T09:00:00Z"

KEPT_APART = [("another workspace", None), ("another workspace", "U9"), ("another user", "U9")]
"""Whose entries a token asks for, and as whom: that name is of the entries' owners in no case."""


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with served(database_url) as made:
        yield made


@dataclass
class Victim:
    """Entries of U1 and U2, and who may look at them."""

    client: Client
    ids: dict[str, str]


async def victim(api: Api, workspace: str) -> Victim:
    client = await api.client("U1", workspace)
    bodies = {
        "task_id": ("tasks", {"title": SECRET, "assignee_user_id": "U2", "due_at": AT}),
        "handoff_id": (
            "handoffs",
            {"to_user_id": "U2", "progress_note": SECRET, "handoff_at": AT},
        ),
        "note_id": ("notes", {"content": SECRET, "session_id": "s1"}),
        "session_id": ("sessions", {"id": "s1", "title": SECRET}),
    }
    ids = {}
    for name, (kind, body) in bodies.items():
        ids[name] = (await client.post(f"/v1/{kind}", json=body)).raise_for_status().json()["id"]
    return Victim(client, ids)


BODIES = {
    "change_task": {"title": "mine now", "status": "completed"},
    "create_handoff": {"to_user_id": "U5", "progress_note": "x", "handoff_at": AT},
}


async def state(owner_url: str) -> dict[str, list[str]]:
    """Every row, but of the tokens, which note their use."""
    connection = await connect(owner_url)
    try:
        found = await rows(connection)
        return {table: found[table] for table in found if table != "api_tokens"}
    finally:
        await connection.close()


@pytest.mark.parametrize(("whose", "user_id"), KEPT_APART)
async def test_ids_of_others_are_ids_of_nothing(
    api: Api, owner_url: str, whose: str, user_id: str | None
) -> None:
    """Every route that takes an id, with one that is there for others."""
    other = await victim(api, THEIRS if whose == "another workspace" else OURS)
    client = await api.client(user_id)
    before = await state(owner_url)
    tried = set()
    for method, path, operation in api.document.operations():
        if "{" not in path:
            continue
        name = operation["operationId"]
        address = path.format(**other.ids)
        there = await client.request(method, address, json=BODIES.get(name))
        nowhere = re.sub(r"[0-9a-f]{12}$|s1", "0" * 12, address)
        if nowhere == address:
            nowhere = re.sub(r"[0-9a-f]{12}/|s1/", "0" * 12 + "/", address)
        not_there = await client.request(method, nowhere, json=BODIES.get(name))
        assert (there.status_code, not_there.status_code) == (404, 404), name
        assert problem(there, address) == problem(not_there, nowhere)
        tried.add(name)
    assert len(tried) == 9
    assert await state(owner_url) == before


def problem(answer: Any, address: str) -> dict[str, Any]:
    """The answer without what differs between any two: the request's id, and the entry's."""
    told: dict[str, Any] = answer.json()
    entry_id = address.split("/")[3]
    return told | {"request_id": "", "detail": told["detail"].replace(entry_id, "ID")}


@pytest.mark.parametrize(("whose", "user_id"), KEPT_APART)
async def test_lists_and_searches_hold_nothing_of_others(
    api: Api, whose: str, user_id: str | None
) -> None:
    other = await victim(api, THEIRS if whose == "another workspace" else OURS)
    client = await api.client(user_id)
    name = user_id or "U1"
    for address in (
        f"tasks?user_id={name}",
        f"tasks?user_id={name}&open=true",
        f"handoffs?to_user_id={name}",
        f"notes?user_id={name}",
        f"sessions?user_id={name}",
    ):
        assert (await client.get(f"/v1/{address}")).json()["items"] == []
    found = await client.get("/v1/notes/search", params={"q": SECRET})
    assert found.json()["results"] == []
    seen = await other.client.get("/v1/notes/search", params={"q": SECRET})
    assert len(seen.json()["results"]) == 1


async def test_token_of_a_user_acts_as_nobody_else(api: Api, owner_url: str) -> None:
    """Whether that other user exists or not: the answer is the same, and nothing is created."""
    await victim(api, OURS)
    client = await api.client("U9")
    before = await state(owner_url)
    for name in ("U1", "U_NOBODY"):
        requests = [
            ("GET", f"tasks?user_id={name}", None),
            ("GET", f"tasks?user_id={name}&due=today", None),
            ("GET", f"handoffs?to_user_id={name}", None),
            ("GET", f"notes?user_id={name}", None),
            ("GET", f"notes/search?q=x&user_id={name}", None),
            ("GET", f"sessions?user_id={name}", None),
            ("POST", "tasks", {"title": "x", "creator_user_id": name}),
            ("POST", "notes", {"content": "x", "user_id": name}),
            ("POST", "sessions", {"id": "s2", "user_id": name}),
            ("POST", "handoffs", {**BODIES["create_handoff"], "from_user_id": name}),
        ]
        for method, address, body in requests:
            answer = await client.request(method, f"/v1/{address}", json=body)
            assert answer.status_code == 404, address
            assert re.fullmatch(r"there is no such \w+ for this token\.", answer.json()["detail"])
    assert await state(owner_url) == before


async def test_handoff_of_a_task_of_others_is_refused(api: Api) -> None:
    ours, theirs = await victim(api, OURS), await victim(api, THEIRS)
    for user_id, task_id in (
        (None, theirs.ids["task_id"]),
        ("U9", theirs.ids["task_id"]),
        ("U9", ours.ids["task_id"]),
    ):
        client = await api.client(user_id)
        giver = user_id or "U1"
        body = {**BODIES["create_handoff"], "task_id": task_id, "from_user_id": giver}
        assert (await client.post("/v1/handoffs", json=body)).status_code == 404
        listed = await client.get("/v1/handoffs", params={"to_user_id": user_id or "U5"})
        assert listed.json()["items"] == []


async def test_both_sides_of_a_task_and_a_handoff_see_it(api: Api) -> None:
    made = await victim(api, OURS)
    for user_id in ("U1", "U2"):
        client = await api.client(user_id)
        for kind, name in (("tasks", "task_id"), ("handoffs", "handoff_id")):
            answer = await client.get(f"/v1/{kind}/{made.ids[name]}")
            assert answer.status_code == 200, (user_id, kind)
    receiver = await api.client("U2")
    started = await receiver.patch(
        f"/v1/tasks/{made.ids['task_id']}", json={"status": "in_progress"}
    )
    assert started.json()["status"] == "in_progress"
    assert (await receiver.get(f"/v1/notes/{made.ids['note_id']}")).status_code == 404
    assert (await receiver.get("/v1/sessions/s1")).status_code == 404


async def test_notes_of_a_session_are_each_users_own(api: Api) -> None:
    made = await victim(api, OURS)
    other = await api.client("U9")
    own = await other.post("/v1/notes", json={"content": "x", "session_id": "s1"})
    assert (await other.get("/v1/sessions/s1/notes")).json()["items"] == [own.json()]
    mine = (await made.client.get("/v1/sessions/s1/notes")).json()["items"]
    assert [note["id"] for note in mine] == [made.ids["note_id"]]
    both = (await (await api.client()).get("/v1/sessions/s1/notes")).json()["items"]
    assert len(both) == 2


async def test_cursor_of_others_shows_nothing_of_theirs(api: Api) -> None:
    """A cursor is only a place: in another's list it is a place, too."""
    client, other = await api.client("U1"), await api.client("U1", THEIRS)
    for number in range(3):
        await client.post("/v1/notes", json={"content": f"{SECRET} {number}"})
    cursor = (await client.get("/v1/notes?limit=1")).json()["next_cursor"]
    assert (await other.get(f"/v1/notes?cursor={cursor}")).json()["items"] == []
