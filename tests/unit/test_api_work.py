"""Tasks and handoffs over HTTP, as a client meets them; on both storages."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api_driver import Api, Client, served

NOON = "2026-10-15T12:00:00+09:00"


@pytest.fixture(params=["postgresql", "json"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    is_json = request.param == "json"
    storage = tmp_path if is_json else request.getfixturevalue("database_url")
    async with served(storage) as made:
        yield made


async def new_task(client: Client, **values: object) -> dict[str, Any]:
    answer = await client.post("/v1/tasks", json={"title": "API統合テスト", **values})
    assert answer.status_code == 201, answer.text
    task: dict[str, Any] = answer.json()
    return task


async def test_created_task_is_there(api: Api) -> None:
    client = await api.client()
    answer = await client.post(
        "/v1/tasks",
        json={
            "title": "API統合テスト",
            "description": "'; DROP TABLE tasks;--",
            "creator_user_id": "U2",
            "assignee_user_id": "U1",
            "due_at": NOON,
        },
    )
    task = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/tasks/{task['id']}"
    assert task == {
        "id": task["id"],
        "title": "API統合テスト",
        "description": "'; DROP TABLE tasks;--",
        "status": "pending",
        "assignee_user_id": "U1",
        "creator_user_id": "U2",
        "due_at": "2026-10-15T03:00:00Z",
        "completed_at": None,
        "created_at": task["created_at"],
        "updated_at": task["created_at"],
    }
    assert (await client.get(answer.headers["location"])).json() == task
    assert (await client.get("/v1/tasks?user_id=U1")).json() == {
        "items": [task],
        "next_cursor": None,
    }
    assert (await client.get("/v1/tasks?user_id=U2")).json()["items"] == []


async def test_task_is_changed_where_it_is_said(api: Api) -> None:
    client = await api.client("U1")
    task = await new_task(client, due_at=NOON, description="説明")
    address = f"/v1/tasks/{task['id']}"
    changed = (await client.patch(address, json={"title": "新しい題"})).json()
    assert changed == task | {"title": "新しい題", "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > task["updated_at"]
    undated = (await client.patch(address, json={"due_at": None, "assignee_user_id": "U2"})).json()
    assert (undated["due_at"], undated["assignee_user_id"]) == (None, "U2")
    assert (await client.patch(address, json={})).json() == undated
    done = (await client.patch(address, json={"status": "completed", "title": "済"})).json()
    assert (done["status"], done["title"]) == ("completed", "済")
    assert done["completed_at"] == done["updated_at"]
    assert (await client.get(address)).json() == done


async def test_status_goes_where_the_domain_lets_it(api: Api) -> None:
    client = await api.client("U1")
    address = f"/v1/tasks/{(await new_task(client))['id']}"
    for status, expected in (
        ("in_progress", 200),
        ("pending", 200),
        ("completed", 200),
        ("completed", 200),
        ("in_progress", 409),
        ("pending", 409),
        ("cancelled", 200),
        ("completed", 409),
    ):
        answer = await client.patch(address, json={"status": status})
        assert answer.status_code == expected, status
    assert answer.json()["type"] == "/problems/illegal-transition"
    assert (await client.get(address)).json()["status"] == "cancelled"


async def test_changes_at_once_all_hold(api: Api) -> None:
    """Each of four clients changes another field of one task, at the same moment."""
    client = await api.client("U1")
    address = f"/v1/tasks/{(await new_task(client))['id']}"
    changes = {"title": "新", "description": "説明", "due_at": NOON, "status": "in_progress"}
    answers = await asyncio.gather(
        *(client.patch(address, json={name: value}) for name, value in changes.items())
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    task = (await client.get(address)).json()
    assert task == task | changes | {"due_at": "2026-10-15T03:00:00Z"}

    answers = await asyncio.gather(
        *(client.patch(address, json={"description": f"説明{number}"}) for number in range(20))
    )
    assert {answer.status_code for answer in answers} == {200}


async def test_deleted_task_is_gone_with_its_handoffs(api: Api) -> None:
    client = await api.client("U1")
    task = await new_task(client)
    values = {"to_user_id": "U2", "progress_note": "x", "handoff_at": NOON, "task_id": task["id"]}
    handoff = (await client.post("/v1/handoffs", json=values)).json()
    gone = await client.delete(f"/v1/tasks/{task['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.delete(f"/v1/tasks/{task['id']}")).status_code == 404
    assert (await client.get(f"/v1/handoffs/{handoff['id']}")).status_code == 404


async def test_tasks_are_listed_as_the_filters_say(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await api.client("U1")
    noon = datetime.fromisoformat(NOON)
    monkeypatch.setattr(api.app.own.task_repository, "_clock", lambda: noon)
    tomorrow = (noon + timedelta(hours=12)).isoformat()
    today = await new_task(client, title="today", due_at=NOON)
    await new_task(client, title="tomorrow", due_at=tomorrow, assignee_user_id="U1")
    undated = await new_task(client, title="undated")
    done = await new_task(client, title="done")
    await client.patch(f"/v1/tasks/{done['id']}", json={"status": "completed"})

    async def titles(query: str) -> list[str]:
        return [task["title"] for task in (await client.get(f"/v1/tasks{query}")).json()["items"]]

    assert await titles("?open=true") == ["today", "tomorrow", "undated"]
    assert await titles("?open=false") == ["today", "tomorrow", "undated", "done"]
    assert await titles("?status=completed") == ["done"]
    assert await titles("?status=completed&open=true") == []
    assert await titles("?due=today&status=completed") == []
    assert await titles("?due=today") == ["today"]
    assert await titles("?due=today&status=pending") == ["today"]
    assert {today["status"], undated["status"]} == {"pending"}


async def test_pages_follow_one_another(api: Api) -> None:
    client = await api.client()
    titles = [f"task {n}" for n in range(7)]
    for title in titles:
        due = None if title > "task 4" else NOON
        await new_task(client, title=title, creator_user_id="U 1&=/", due_at=due)
    found: list[str] = []
    answer = await client.get("/v1/tasks", params={"user_id": "U 1&=/", "limit": 2})
    while True:
        found += [task["title"] for task in answer.json()["items"]]
        if "next" not in answer.links:
            break
        assert answer.json()["next_cursor"] in answer.links["next"]["url"]
        answer = await client.get(answer.links["next"]["url"])
    assert answer.json()["next_cursor"] is None
    assert found == titles


async def test_handoff_is_given_and_completed(api: Api) -> None:
    giver, receiver = await api.client("U1"), await api.client("U2")
    values = {"to_user_id": "U2", "progress_note": "半分まで終わった", "handoff_at": NOON}
    answer = await giver.post("/v1/handoffs", json=values)
    handoff = answer.json()
    assert answer.status_code == 201
    assert handoff == {
        **values,
        "id": handoff["id"],
        "from_user_id": "U1",
        "next_steps": "",
        "task_id": None,
        "handoff_at": "2026-10-15T03:00:00Z",
        "reminded_at": None,
        "completed_at": None,
        "created_at": handoff["created_at"],
    }
    assert (await receiver.get("/v1/handoffs")).json()["items"] == [handoff]
    assert (await giver.get("/v1/handoffs")).json()["items"] == []
    done = await receiver.post(f"{answer.headers['location']}/complete")
    assert done.json() == handoff | {"completed_at": done.json()["completed_at"]}
    again = await giver.post(f"{answer.headers['location']}/complete")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/illegal-transition")
    for completed, count in (("true", 1), ("false", 0)):
        listed = await receiver.get(f"/v1/handoffs?completed={completed}")
        assert len(listed.json()["items"]) == count


async def test_handoff_of_no_task_or_to_oneself_is_refused(api: Api) -> None:
    client = await api.client("U1")
    values = {"to_user_id": "U2", "progress_note": "x", "handoff_at": NOON}
    missing = await client.post("/v1/handoffs", json={**values, "task_id": str(uuid4())})
    assert missing.status_code == 404
    itself = await client.post("/v1/handoffs", json={**values, "to_user_id": "U1"})
    assert (itself.status_code, "two people" in itself.json()["detail"]) == (422, True)
    assert (await client.get("/v1/handoffs?to_user_id=U1")).json()["items"] == []
