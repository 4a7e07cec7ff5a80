"""Who may ask at all: whoever shows a valid token, on every route."""

import re
from collections.abc import AsyncIterator
from itertools import product
from uuid import uuid4

import pytest

from api_driver import Api, served
from nakamura_misaki.application.access import token_text


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with served(database_url) as made:
        yield made


NO_TOKENS = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Basic dTpw",
    "Bearer nmk.VF9PVVJT.xyz.abc",
    f"Bearer {token_text('T_OURS', uuid4(), 'A' * 43)}",
    f"Bearer {token_text('T_OTHER', uuid4(), 'A' * 43)}",
    "Bearer \xe9\xff",
    "Bearer " + "A" * 20_000,
]


async def test_who_shows_no_valid_token_hears_the_same(api: Api) -> None:
    """Whatever is wrong with the token, and before anything else is looked at."""
    client = await api.with_token(None)
    for authorization, method in product(NO_TOKENS, ("GET", "POST")):
        headers = {}
        if authorization is not None:
            headers["Authorization"] = authorization.encode("latin-1")
        answer = await client.request(method, "/v1/tasks", content=b"{no JSON", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        problem = answer.json()
        assert problem.pop("request_id") == answer.headers["x-request-id"]
        assert problem == {
            "type": "/problems/unauthorized",
            "title": "Unauthorized",
            "status": 401,
            "detail": "this needs a valid token; send it as Authorization: Bearer TOKEN.",
        }


async def test_every_route_needs_a_token(api: Api) -> None:
    client = await api.with_token(None)
    for method, path, operation in api.document.operations():
        assert operation["security"] == [{"token": []}]
        address = re.sub(r"\{\w+\}", str(uuid4()), path)
        assert (await client.request(method, address)).status_code == 401, path
    assert (await client.get("/openapi.json")).json() == api.document.content


async def test_token_works_until_it_is_revoked(api: Api) -> None:
    client = await api.client("U1")
    assert (await client.get("/v1/tasks")).status_code == 200
    await api.app.own.tokens.revoke("token 0")
    assert (await client.get("/v1/tasks")).status_code == 401


async def test_two_authorizations_are_none(api: Api) -> None:
    token = await api.token("U1")
    client = await api.with_token(None)
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"bearer {token}")]
    assert (await client.get("/v1/tasks", headers=twice)).status_code == 401
    assert (await client.get("/v1/tasks", headers=twice[1:])).status_code == 200
