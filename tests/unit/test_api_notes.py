"""Notes, the search for them, and sessions over HTTP; on both storages."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api_driver import Api, Client, served


@pytest.fixture(params=["postgresql", "json"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    is_json = request.param == "json"
    storage = tmp_path if is_json else request.getfixturevalue("database_url")
    async with served(storage) as made:
        yield made


async def new_note(client: Client, content: str, **values: object) -> dict[str, Any]:
    answer = await client.post("/v1/notes", json={"content": content, **values})
    assert answer.status_code == 201, answer.text
    assert (await client.get(answer.headers["location"])).json() == answer.json()
    note: dict[str, Any] = answer.json()
    return note


async def test_note_is_written_down_with_all_that_it_says(api: Api) -> None:
    client = await api.client("U1")
    metadata = {"深い": [{"n": 10**40, "x": -0.5, "no": None}], "": "'"}
    note = await new_note(
        client, "決定: 東京", category="decisions", session_id="s/1", metadata=metadata
    )
    assert note == {
        "id": note["id"],
        "user_id": "U1",
        "session_id": "s/1",
        "category": "decisions",
        "content": "決定: 東京",
        "metadata": metadata,
        "source_key": None,
        "created_at": note["created_at"],
        "updated_at": note["created_at"],
    }


async def test_notes_are_listed_newest_first_by_category(api: Api) -> None:
    client = await api.client("U1")
    first = await new_note(client, "first", category="errors")
    second = await new_note(client, "second")
    third = await new_note(client, "third", category="errors")
    assert (await client.get("/v1/notes")).json()["items"] == [third, second, first]
    one = (await client.get("/v1/notes?category=errors&limit=1")).json()
    assert one["items"] == [third]
    rest = await client.get(f"/v1/notes?category=errors&cursor={one['next_cursor']}")
    assert rest.json() == {"items": [first], "next_cursor": None}


async def test_search_finds_the_decision_and_says_how(api: Api) -> None:
    client = await api.client("U1")
    decision = await new_note(client, "決定: DB移行はPostgreSQL 16で行う。理由: pgvectorが使える")
    await new_note(client, "会議は火曜の朝")
    answer = (await client.get("/v1/notes/search", params={"q": "DB移行の決定事項は？"})).json()
    best = answer["results"][0]
    assert {name: best[name] for name in decision} == decision
    assert best["score"] > 0
    assert set(best["legs"]) <= set(answer["legs"])
    if api.app.manager is None:
        assert (answer["legs"], answer["skipped"]) == (["words"], {"vector": "not_stored"})
    else:
        assert (answer["legs"], answer["skipped"]) == (["vector", "words"], {})
    nothing = (await client.get("/v1/notes/search?q=zzzz&limit=1")).json()
    assert len(nothing["results"]) <= 1


async def test_search_shows_the_passage_and_where_its_words_are(api: Api) -> None:
    client = await api.client("U1")
    content = "前置き。" * 100 + "😀 決定: ＤＢ移行は10月末。" + "後書き。" * 100
    await new_note(client, content)

    (found,) = (await client.get("/v1/notes/search", params={"q": "DB移行"})).json()["results"]

    passage = found["passage"]
    assert passage["text"] == content[passage["start"] : passage["end"]]
    assert "ＤＢ移行は10月末" in passage["text"]
    assert "".join(content[start:end] for start, end in passage["spans"]) == "ＤＢ移行"


async def test_search_is_narrowed_by_every_filter(api: Api) -> None:
    client = await api.client("U1")
    for number, category in enumerate(("decisions", "errors", "todos")):
        await new_note(
            client,
            f"売上の話 {number}",
            category=category,
            session_id=f"s{number}",
            metadata={"n": number, "tags": ["a", str(number)], "large": 2**70 + number},
        )

    async def found(**query: object) -> list[str]:
        answer = await client.get("/v1/notes/search", params={"q": "売上", **query})
        assert answer.status_code == 200, answer.text
        return sorted(note["category"] for note in answer.json()["results"])

    assert await found() == ["decisions", "errors", "todos"]
    assert await found(category=["decisions", "todos"]) == ["decisions", "todos"]
    assert await found(session_id="s1") == ["errors"]
    assert await found(metadata='{"tags": ["2"]}') == ["todos"]
    assert await found(metadata='{"tags": ["a"]}', category="errors") == ["errors"]
    assert await found(metadata=f'{{"large": {2**70 + 1}}}') == ["errors"]
    assert await found(since="2020-01-01T00:00:00Z", until="2999-01-01T00:00:00+09:00") == [
        "decisions",
        "errors",
        "todos",
    ]
    assert await found(until="2020-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "query",
    [
        {"metadata": "[]"},
        {"metadata": "{"},
        {"metadata": '{"n": NaN}'},
        {"metadata": '{"n": ' + "[" * 2000 + "]" * 2000 + "}"},
        {"since": "2026-10-01"},
        {"since": "2026-10-02T00:00:00Z", "until": "2026-10-01T00:00:00Z"},
        {"category": ""},
        {"category": ["c"] * 21},
    ],
    ids=str,
)
async def test_filter_that_is_none_is_refused(api: Api, query: dict[str, object]) -> None:
    client = await api.client("U1")
    answer = await client.get("/v1/notes/search", params={"q": "売上", **query})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")


async def test_search_asks_whose_notes_it_may(api: Api) -> None:
    mine, theirs, anybody = await api.client("U1"), await api.client("U2"), await api.client()
    for client in (mine, theirs):
        await new_note(client, "共通の話題")

    async def users(client: Client, **query: str) -> list[str]:
        answer = await client.get("/v1/notes/search", params={"q": "共通の話題", **query})
        return sorted(note["user_id"] for note in answer.json()["results"])

    assert await users(mine) == ["U1"]
    assert await users(anybody) == ["U1", "U2"]
    assert await users(anybody, user_id="U2") == ["U2"]


async def test_session_begins_and_is_touched(api: Api) -> None:
    client = await api.client("U1")
    values = {"id": "sess_1:a@b~c", "title": "Session 10/15", "metadata": {"a": [1]}}
    answer = await client.post("/v1/sessions", json=values)
    session = answer.json()
    assert answer.status_code == 201
    assert session == {
        **values,
        "user_id": "U1",
        "workspace_path": None,
        "message_count": 0,
        "is_active": True,
        "last_active_at": session["created_at"],
        "created_at": session["created_at"],
    }
    address = answer.headers["location"]
    assert (await client.get(address)).json() == session
    touched = (await client.post(f"{address}/activity")).json()
    assert touched == session | {"last_active_at": touched["last_active_at"]}
    assert touched["last_active_at"] > session["last_active_at"]
    again = await client.post("/v1/sessions", json=values)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/already-exists")
    assert (await client.post("/v1/sessions/none/activity")).status_code == 404


async def test_sessions_come_in_pages_latest_first(api: Api) -> None:
    client = await api.client()
    for name in ("a", "b", "c"):
        await client.post("/v1/sessions", json={"id": name, "user_id": "U1"})
    await client.post("/v1/sessions/a/activity")
    first = (await client.get("/v1/sessions?user_id=U1&limit=2")).json()
    assert [session["id"] for session in first["items"]] == ["a", "c"]
    second = await client.get(f"/v1/sessions?user_id=U1&cursor={first['next_cursor']}")
    assert [session["id"] for session in second.json()["items"]] == ["b"]


async def test_notes_of_a_session_outlive_it(api: Api) -> None:
    client = await api.client("U1")
    assert (await client.get("/v1/sessions/s1/notes")).status_code == 404
    notes = [await new_note(client, f"note {n}", session_id="s1") for n in range(3)]
    page = (await client.get("/v1/sessions/s1/notes?limit=2")).json()
    assert page["items"] == notes[:2]
    rest = await client.get(f"/v1/sessions/s1/notes?cursor={page['next_cursor']}")
    assert rest.json() == {"items": notes[2:], "next_cursor": None}
    assert (await client.get(f"/v1/sessions/s2/notes?cursor={page['next_cursor']}")).json() == {
        "items": [],
        "next_cursor": None,
    }
    await client.post("/v1/sessions", json={"id": "empty"})
    assert (await client.get("/v1/sessions/empty/notes")).json()["items"] == []


async def test_pages_of_a_session_follow_one_another_whatever_its_name(api: Api) -> None:
    client = await api.client("U1")
    name = "本 ?#&=%41+"
    for number in range(3):
        await new_note(client, f"note {number}", session_id=name)
    found: list[str] = []
    answer = await client.get(f"/v1/sessions/{quote(name)}/notes?limit=1")
    while True:
        found += [note["content"] for note in answer.json()["items"]]
        if "next" not in answer.links:
            break
        answer = await client.get(answer.links["next"]["url"])
    assert found == ["note 0", "note 1", "note 2"]
