"""What the worker does with events whose work can't be begun, or fails for a passing reason."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from nakamura_misaki.adapters.primary.slack import work
from nakamura_misaki.adapters.primary.slack.incoming import Incoming, Message, to_body
from nakamura_misaki.adapters.primary.slack.work import Worker
from nakamura_misaki.adapters.secondary.json_event_inbox import JsonEventInbox
from nakamura_misaki.application.inbox import LEASE, MAX_ATTEMPTS, Event
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.rules import utc_now
from slack_server import SATO, SUZUKI, dm

MESSAGE = Message(user=SATO, channel=dm(SATO), text="a", ts="1.5", thread_ts=None, is_direct=True)


def made(inbox: JsonEventInbox, does: Callable[[Event, Incoming], Awaitable[None]]) -> Worker:
    return Worker(inbox, does, lambda kind, outcome: None)


async def received(inbox: JsonEventInbox) -> Event:
    event = Event(MESSAGE.key, to_body(MESSAGE), uuid4(), utc_now())
    assert await inbox.receive(event, timedelta())
    return event


async def test_what_only_waited_its_turn_is_never_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Event] = []

    async def does(event: Event, incoming: Incoming) -> None:
        done.append(event)

    inbox = JsonEventInbox(tmp_path)
    event = await received(inbox)
    worker = made(inbox, does)
    with monkeypatch.context() as patch:
        patch.setattr(work, "TIME_LIMIT", LEASE)  # no time is left for anything
        for _ in range(2 * MAX_ATTEMPTS):
            assert await worker.take_up() == 1
            await worker.stop(5)
    assert done == []

    assert await worker.take_up() == 1
    await worker.stop(5)
    assert [each.id for each in done] == [event.id]
    assert await inbox.take_up(1) == []


async def test_what_is_cut_off_while_it_waits_is_taken_up_as_if_new(tmp_path: Path) -> None:
    begun, ending = asyncio.Event(), asyncio.Event()

    async def does(event: Event, incoming: Incoming) -> None:
        begun.set()
        await ending.wait()

    inbox = JsonEventInbox(tmp_path)
    worker = made(inbox, does)
    worker.begin(Event("first", {}, uuid4(), utc_now()), MESSAGE)
    await begun.wait()
    await received(inbox)
    assert await worker.take_up() == 1
    await worker.stop(0)

    (again,) = await inbox.take_up(1)
    assert again.attempt == 2  # as when it was taken up first


async def test_a_token_that_slack_does_not_take_now_loses_no_event(tmp_path: Path) -> None:
    async def does(event: Event, incoming: Incoming) -> None:
        raise ConfigurationError("Slack does not take SLACK_BOT_TOKEN (token_revoked).")

    inbox = JsonEventInbox(tmp_path)
    event = await received(inbox)
    worker = made(inbox, does)
    assert await worker.take_up() == 1
    await worker.stop(5)

    await inbox.release(event.id, utc_now())
    assert [each.id for each in await inbox.take_up(1)] == [event.id]


async def test_what_one_person_asks_is_worked_on_one_after_the_other(tmp_path: Path) -> None:
    begun: list[str] = []
    others_turn, ending = asyncio.Event(), asyncio.Event()

    async def does(event: Event, incoming: Incoming) -> None:
        begun.append(event.id)
        if incoming.user == SUZUKI:
            others_turn.set()
        await ending.wait()

    worker = made(JsonEventInbox(tmp_path), does)
    for name, user in (("first", SATO), ("second", SATO), ("another's", SUZUKI)):
        worker.begin(Event(name, {}, uuid4(), utc_now()), replace(MESSAGE, user=user))
    await others_turn.wait()
    assert begun == ["first", "another's"]

    ending.set()
    await worker.stop(5)
    assert begun == ["first", "another's", "second"]
