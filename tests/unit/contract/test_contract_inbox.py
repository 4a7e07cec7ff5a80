"""What every inbox of events must do, whatever it stores in."""

import asyncio
import logging
from datetime import timedelta
from uuid import uuid4

import pytest

from nakamura_misaki.application.inbox import LEASE, MAX_ATTEMPTS, Event
from repository_backend import NOON
from service_backend import ServiceBackend

MINUTE = timedelta(minutes=1)
BODY = {"type": "message", "text": "メモ: '; DROP TABLE --", "n": [1, 2.5, None, {"a": 2**70}]}


def event(id_: str = "Ev1", **fields: object) -> Event:
    values = {"body": BODY, "entity_id": uuid4(), "received_at": NOON, **fields}
    return Event(id_, **values)


def ids(events: list[Event]) -> list[str]:
    return [each.id for each in events]


async def test_event_is_received_once(service: ServiceBackend) -> None:
    assert await service.inbox.receive(event()) is True
    assert await service.inbox.receive(event()) is False
    assert await service.other_inbox.receive(event(body={})) is False
    await service.inbox.finish("Ev1")
    assert await service.other_inbox.receive(event()) is False


async def test_of_many_that_receive_it_at_once_one_has_it(service: ServiceBackend) -> None:
    inboxes = (service.inbox, service.other_inbox)
    outcomes = await asyncio.gather(*(inboxes[n % 2].receive(event()) for n in range(10)))
    assert sorted(outcomes) == [False] * 9 + [True]


async def test_event_whose_holder_died_is_taken_up_as_it_was(service: ServiceBackend) -> None:
    received = event()
    await service.inbox.receive(received)
    service.clock.now = NOON + LEASE - timedelta(microseconds=1)
    assert await service.other_inbox.take_up(10) == []
    service.clock.now = NOON + LEASE
    (taken,) = await service.other_inbox.take_up(10)
    assert taken == event(entity_id=received.entity_id, attempt=2)
    assert await service.inbox.take_up(10) == []
    service.clock.now += LEASE
    (again,) = await service.inbox.take_up(10)
    assert (again.entity_id, again.attempt) == (received.entity_id, 3)


async def test_leases_are_as_long_as_the_holder_says(service: ServiceBackend) -> None:
    await service.inbox.receive(event(), MINUTE)
    service.clock.now += MINUTE
    assert ids(await service.inbox.take_up(10, 3 * MINUTE)) == ["Ev1"]
    service.clock.now += 2 * MINUTE
    assert await service.inbox.take_up(10) == []
    service.clock.now += MINUTE
    assert ids(await service.inbox.take_up(10)) == ["Ev1"]


async def test_oldest_events_are_taken_up_first(service: ServiceBackend) -> None:
    for number in (3, 1, 4, 2):
        at = NOON + timedelta(seconds=number)
        await service.inbox.receive(event(f"Ev{number}", received_at=at))
    service.clock.now += 2 * LEASE
    assert ids(await service.inbox.take_up(3)) == ["Ev1", "Ev2", "Ev3"]
    assert ids(await service.inbox.take_up(3)) == ["Ev4"]


async def test_two_processes_never_take_up_the_same(service: ServiceBackend) -> None:
    names = {f"Ev{number:02}" for number in range(40)}
    for name in names:
        await service.inbox.receive(event(name))
    service.clock.now += LEASE
    inboxes = (service.inbox, service.other_inbox)
    taken: list[str] = []
    while len(taken) < len(names):
        parts = await asyncio.gather(*(inboxes[n % 2].take_up(3) for n in range(6)))
        found = [each.id for part in parts for each in part]
        assert found
        taken += found
    assert sorted(taken) == sorted(names)


async def test_finished_event_is_not_taken_up(service: ServiceBackend) -> None:
    await service.inbox.receive(event())
    await service.inbox.finish("Ev1")
    await service.inbox.finish("Ev1")
    await service.inbox.finish("unknown")
    await service.inbox.release("Ev1", NOON)
    service.clock.now += 10 * LEASE
    assert await service.inbox.take_up(10) == []


async def test_released_event_is_taken_up_when_it_may_be(service: ServiceBackend) -> None:
    await service.inbox.receive(event())
    await service.inbox.release("Ev1", NOON + MINUTE)
    await service.inbox.release("unknown", NOON)
    assert await service.other_inbox.take_up(10) == []
    service.clock.now += MINUTE
    assert ids(await service.other_inbox.take_up(10)) == ["Ev1"]


async def test_attempt_that_was_not_begun_does_not_count(service: ServiceBackend) -> None:
    await service.inbox.receive(event())
    for _ in range(2 * MAX_ATTEMPTS):
        await service.inbox.release("Ev1", NOON, was_tried=False)
        (taken,) = await service.inbox.take_up(1)
        assert taken.attempt == 1
    await service.inbox.release("Ev1", NOON)
    assert [each.attempt for each in await service.inbox.take_up(1)] == [2]


async def test_event_that_is_never_finished_is_given_up(
    service: ServiceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    await service.inbox.receive(event("Ev-bad"))
    for attempt in range(2, MAX_ATTEMPTS + 1):
        service.clock.now += LEASE
        (taken,) = await service.inbox.take_up(1)
        assert taken.attempt == attempt
    await service.inbox.receive(event("Ev-good", received_at=NOON + MINUTE))
    service.clock.now += LEASE
    with caplog.at_level(logging.ERROR):
        # One that is given up does not stand in the way of the next.
        assert ids(await service.inbox.take_up(1)) == ["Ev-good"]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"The event Ev-bad was given up after {MAX_ATTEMPTS} attempts;"
        " whoever sent it got no answer."
    )
    service.clock.now += 10 * LEASE
    assert ids(await service.inbox.take_up(10)) == ["Ev-good"]
    assert await service.inbox.receive(event("Ev-bad")) is False
    assert await service.inbox.forget(service.clock.now) == 1


async def test_handled_events_are_forgotten_when_old(service: ServiceBackend) -> None:
    for name, at in (("old", NOON - MINUTE), ("open", NOON - MINUTE), ("young", NOON)):
        await service.inbox.receive(event(name, received_at=at))
    for name in ("old", "young"):
        await service.inbox.finish(name)
    assert await service.inbox.forget(NOON) == 1
    assert await service.inbox.receive(event("old")) is True
    assert await service.inbox.receive(event("open")) is False
    assert await service.inbox.receive(event("young")) is False


async def test_characters_that_no_store_holds_lose_no_event(service: ServiceBackend) -> None:
    body = {"text": "a\x00b\ud800c", "k\x00": [("\udfff",)], "ok": "😀"}
    await service.inbox.receive(event(body=body))
    service.clock.now += LEASE
    (taken,) = await service.inbox.take_up(1)
    assert taken.body == {"text": "a\ufffdb\ufffdc", "k\ufffd": [["\ufffd"]], "ok": "😀"}
