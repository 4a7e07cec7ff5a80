"""What every repository of API tokens must do, whatever it stores in."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from nakamura_misaki.application.access import ApiToken, hash_of
from nakamura_misaki.domain.errors import AlreadyExists
from repository_backend import NOON
from service_backend import ServiceBackend

DAY = timedelta(days=1)


def token(name: str = "ci", **fields: object) -> ApiToken:
    values = {"id": uuid4(), "secret_hash": hash_of("secret"), "created_at": NOON, **fields}
    return ApiToken(name=name, **values)


async def test_created_token_is_got_back_as_it_was(service: ServiceBackend) -> None:
    plain = token("中村の端末 '; DROP TABLE api_tokens; --")
    full = token(
        "full",
        user_id="U1",
        created_at=NOON - DAY,
        expires_at=NOON + timedelta(microseconds=1),
        revoked_at=NOON - timedelta(hours=1),
        last_used_at=NOON - timedelta(hours=2),
    )
    for each in (plain, full):
        assert await service.tokens.create(each) == each
        assert await service.other_tokens.get(each.id) == each
    assert await service.tokens.get(uuid4()) is None
    assert await service.tokens.list() == [full, plain]


async def test_token_id_is_taken_once(service: ServiceBackend) -> None:
    created = await service.tokens.create(token())
    with pytest.raises(AlreadyExists, match=str(created.id)):
        await service.tokens.create(replace(created, name="another"))
    assert await service.tokens.list() == [created]


async def test_name_is_taken_while_its_token_is_valid(service: ServiceBackend) -> None:
    first = await service.tokens.create(token(expires_at=NOON + DAY))
    with pytest.raises(AlreadyExists, match="named ci already; revoke it first"):
        await service.tokens.create(token())
    assert await service.tokens.revoke(first.id, NOON)
    second = await service.tokens.create(token(created_at=NOON + timedelta(seconds=1)))
    assert [each.id for each in await service.tokens.list()] == [first.id, second.id]


async def test_name_of_an_expired_token_is_free(service: ServiceBackend) -> None:
    expired = await service.tokens.create(token(expires_at=NOON))
    fresh = await service.tokens.create(token(created_at=NOON + timedelta(seconds=1)))
    kept, new = await service.tokens.list()
    assert (kept.id, kept.state(NOON), new) == (expired.id, "expired", fresh)
    with pytest.raises(AlreadyExists):
        await service.tokens.create(token())


async def test_of_many_with_one_name_at_once_one_is_created(service: ServiceBackend) -> None:
    repositories = (service.tokens, service.other_tokens)
    outcomes = await asyncio.gather(
        *(repositories[n % 2].create(token()) for n in range(8)), return_exceptions=True
    )
    (created,) = [each for each in outcomes if isinstance(each, ApiToken)]
    assert sum(isinstance(each, AlreadyExists) for each in outcomes) == 7
    assert await service.tokens.list() == [created]


async def test_token_is_revoked_once_by_one(service: ServiceBackend) -> None:
    created = await service.tokens.create(token())
    repositories = (service.tokens, service.other_tokens)
    outcomes = await asyncio.gather(
        *(repositories[n % 2].revoke(created.id, NOON) for n in range(8))
    )
    assert sorted(outcomes) == [False] * 7 + [True]
    assert await service.tokens.get(created.id) == replace(created, revoked_at=NOON)
    assert await service.tokens.revoke(created.id, NOON + DAY) is False
    assert await service.tokens.revoke(uuid4(), NOON) is False


async def test_latest_use_is_kept(service: ServiceBackend) -> None:
    created = await service.tokens.create(token())
    other = await service.tokens.create(token("other"))
    for at in (NOON, NOON + DAY, NOON - DAY):
        await service.tokens.note_use(created.id, at)
    await service.tokens.note_use(uuid4(), NOON)
    assert await service.tokens.get(created.id) == replace(created, last_used_at=NOON + DAY)
    assert await service.tokens.get(other.id) == other


async def test_token_is_found_by_digits_of_its_id(service: ServiceBackend) -> None:
    created = await service.tokens.create(token())
    assert await service.tokens.find_ids(created.id.hex[-8:]) == [created.id]
    assert await service.tokens.find_ids(created.id.hex[:6]) == [created.id]
    assert await service.tokens.find_ids("0" * 31) == []
