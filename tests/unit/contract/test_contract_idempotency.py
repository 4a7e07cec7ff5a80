"""What every store of idempotency keys must do, whatever it stores in."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from nakamura_misaki.application.idempotency import (
    KEPT_FOR,
    KeyReused,
    Reservation,
    Response,
    reserve,
)
from nakamura_misaki.domain.errors import InvalidInput
from repository_backend import NOON
from service_backend import ServiceBackend

ANSWER = Response(201, '{"title": "見積もり"}\x00'.encode() + b"\xff", "/v1/tasks/1")
MOMENT = timedelta(microseconds=1)


def reservation(**fields: object) -> Reservation:
    values = {"entity_id": uuid4(), "created_at": NOON, "fingerprint": b"\x00\xff", **fields}
    return Reservation(**values)


async def test_first_to_reserve_a_key_is_given_its_own(service: ServiceBackend) -> None:
    first, second = reservation(), reservation(fingerprint=b"other")
    assert await service.keys.reserve("s", "鍵'\"\\", first) == first
    assert await service.other_keys.reserve("s", "鍵'\"\\", second) == first


async def test_scopes_and_keys_are_apart(service: ServiceBackend) -> None:
    places = [("a", "b"), ("b", "a"), ("a", "c"), ("ab", ""), ("", "ab"), ('a", "b', "c")]
    reserved = {place: reservation() for place in places}
    for place, each in reserved.items():
        assert await service.keys.reserve(*place, each) == each
    for place, each in reserved.items():
        assert await service.keys.reserve(*place, reservation()) == each


async def test_many_at_once_are_given_one_reservation(service: ServiceBackend) -> None:
    stores = (service.keys, service.other_keys)
    given = [reservation() for _ in range(20)]
    known = await asyncio.gather(
        *(stores[n % 2].reserve("s", "k", each) for n, each in enumerate(given))
    )
    assert len(set(known)) == 1
    assert known[0] in given


async def test_first_answer_is_kept(service: ServiceBackend) -> None:
    first = reservation()
    await service.keys.reserve("s", "k", first)
    await service.keys.reserve("s", "other", first)
    await service.keys.finish("s", "k", ANSWER)
    await service.other_keys.finish("s", "k", Response(500, b"", None))
    await service.keys.finish("s", "unknown", ANSWER)
    assert await service.keys.reserve("s", "k", reservation()) == replace(first, response=ANSWER)
    assert await service.keys.reserve("s", "other", reservation()) == first


async def test_empty_answer_is_an_answer(service: ServiceBackend) -> None:
    await service.keys.reserve("s", "k", reservation())
    await service.keys.finish("s", "k", Response(204, b""))
    known = await service.keys.reserve("s", "k", reservation())
    assert known.response == Response(204, b"")


async def test_key_names_another_request_once_it_expired(service: ServiceBackend) -> None:
    first = reservation()
    await service.keys.reserve("s", "k", first)
    await service.keys.finish("s", "k", ANSWER)

    service.clock.now = NOON + KEPT_FOR - MOMENT
    late = reservation(created_at=service.clock.now, fingerprint=b"new")
    assert await service.keys.reserve("s", "k", late) == replace(first, response=ANSWER)

    service.clock.now = NOON + KEPT_FOR
    stores = (service.keys, service.other_keys)
    given = [reservation(created_at=service.clock.now, fingerprint=b"new") for _ in range(10)]
    known = await asyncio.gather(
        *(stores[n % 2].reserve("s", "k", each) for n, each in enumerate(given))
    )
    assert len(set(known)) == 1
    assert known[0] in given


async def test_old_keys_are_forgotten(service: ServiceBackend) -> None:
    old, young = reservation(created_at=NOON - MOMENT), reservation()
    await service.keys.reserve("s", "old", old)
    await service.keys.reserve("s", "young", young)
    assert await service.keys.forget(NOON) == 1
    assert await service.keys.forget(NOON) == 0
    new = reservation()
    assert await service.keys.reserve("s", "old", new) == new
    assert await service.keys.reserve("s", "young", new) == young


async def test_key_of_another_request_is_refused(service: ServiceBackend) -> None:
    first = reservation()
    assert await reserve(service.keys, "s", "k", first) == first
    again = reservation(created_at=NOON + timedelta(hours=1))
    assert await reserve(service.keys, "s", "k", again) == first
    with pytest.raises(KeyReused, match="choose a new one"):
        await reserve(service.keys, "s", "k", reservation(fingerprint=b"other"))


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "a\x00b", "\ud800"])
async def test_key_that_is_none_is_refused(service: ServiceBackend, key: str) -> None:
    with pytest.raises(InvalidInput, match="an Idempotency-Key"):
        await reserve(service.keys, "s", key, reservation())
