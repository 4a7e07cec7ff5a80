"""The service's stores in PostgreSQL: answers that get lost, workspaces, what is left on the disk."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from nakamura_misaki.adapters.secondary.postgresql_event_inbox import PostgreSQLEventInbox
from nakamura_misaki.adapters.secondary.postgresql_idempotency_store import (
    PostgreSQLIdempotencyStore,
)
from nakamura_misaki.adapters.secondary.postgresql_token_repository import (
    PostgreSQLTokenRepository,
)
from nakamura_misaki.application.access import ApiToken, hash_of
from nakamura_misaki.application.idempotency import KEPT_FOR, Reservation, Response
from nakamura_misaki.application.inbox import Event
from nakamura_misaki.domain.errors import AlreadyExists
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

NOW = datetime(2026, 10, 7, 3, tzinfo=UTC)

LoseAnswer = Callable[[str, str], None]


@pytest.fixture
def lose_answer(monkeypatch: pytest.MonkeyPatch) -> LoseAnswer:
    """Makes the first call of a connection's method with such a statement commit and then fail."""

    def lose(method: str, beginning: str) -> None:
        original = getattr(asyncpg.Connection, method)
        lost = False

        async def commit_and_lose_the_answer(self: asyncpg.Connection, *args: Any) -> Any:
            nonlocal lost
            result = await original(self, *args)
            if not lost and str(args[0]).startswith(beginning):
                lost = True
                raise ConnectionResetError("the network went away")
            return result

        monkeypatch.setattr(asyncpg.Connection, method, commit_and_lose_the_answer)

    return lose


def token(**fields: object) -> ApiToken:
    values = {"id": uuid4(), "secret_hash": hash_of("s"), "created_at": NOW, **fields}
    return ApiToken(name="ci", **values)


def event(**fields: object) -> Event:
    values = {"body": {"text": "秘密の話"}, "entity_id": uuid4(), "received_at": NOW, **fields}
    return Event("Ev1", **values)


async def test_own_event_is_no_duplicate_when_its_answer_was_lost(
    manager: DatabaseManager, lose_answer: LoseAnswer
) -> None:
    inbox = PostgreSQLEventInbox(manager)
    lose_answer("fetchval", "INSERT INTO inbox_events")
    assert await inbox.receive(event()) is True
    assert await inbox.receive(event()) is False


async def test_known_event_is_a_duplicate_also_when_the_answer_was_lost(
    manager: DatabaseManager, lose_answer: LoseAnswer
) -> None:
    inbox = PostgreSQLEventInbox(manager)
    await inbox.receive(event())
    lose_answer("fetchval", "INSERT INTO inbox_events")
    assert await inbox.receive(event()) is False


async def test_reservation_survives_a_lost_answer(
    manager: DatabaseManager, lose_answer: LoseAnswer
) -> None:
    store = PostgreSQLIdempotencyStore(manager, clock=lambda: NOW)
    expired = Reservation(uuid4(), NOW - KEPT_FOR, b"old", Response(201, b"{}", "/v1/tasks/1"))
    await store.reserve("s", "k", expired)
    lose_answer("fetchrow", "INSERT INTO idempotency_keys")
    new = Reservation(uuid4(), NOW, b"new")
    assert await store.reserve("s", "k", new) == new


async def test_token_is_created_though_the_answer_was_lost(manager: DatabaseManager) -> None:
    tokens = PostgreSQLTokenRepository(manager)
    created = token()
    run, attempts = manager.run, 0

    async def commit_and_lose_the_answer(operation: Any, **arguments: Any) -> Any:
        async def once(connection: Any) -> Any:
            nonlocal attempts
            attempts += 1
            result = await operation(connection)
            if attempts == 1:
                raise ConnectionResetError("the network went away")
            return result

        return await run(once, **arguments)

    manager.run = commit_and_lose_the_answer
    assert await tokens.create(created) == created
    assert attempts == 2
    assert await tokens.list() == [created]
    with pytest.raises(AlreadyExists):
        await tokens.create(token())


async def test_revocation_whose_answer_was_lost_is_this_callers(
    manager: DatabaseManager, lose_answer: LoseAnswer
) -> None:
    tokens = PostgreSQLTokenRepository(manager)
    created = await tokens.create(token())
    lose_answer("fetchval", "UPDATE api_tokens")
    assert await tokens.revoke(created.id, NOW) is True
    assert await tokens.revoke(created.id, NOW) is False


async def test_workspaces_share_nothing(manager: DatabaseManager) -> None:
    tokens, theirs = (PostgreSQLTokenRepository(manager, name) for name in ("T1", "T2"))
    created = await tokens.create(token())
    assert await theirs.get(created.id) is None
    assert await theirs.list() == []
    assert await theirs.find_ids(created.id.hex[:8]) == []
    assert await theirs.revoke(created.id, NOW) is False
    await theirs.note_use(created.id, NOW)
    same_name = await theirs.create(token())
    assert await tokens.list() == [created]
    assert await theirs.list() == [same_name]

    keys, their_keys = (PostgreSQLIdempotencyStore(manager, name) for name in ("T1", "T2"))
    ours = Reservation(uuid4(), datetime.now(UTC), b"f")
    assert await keys.reserve("s", "k", ours) == ours
    other = replace(ours, entity_id=uuid4())
    assert await their_keys.reserve("s", "k", other) == other

    late = NOW + timedelta(days=1)
    inbox, their_inbox = (
        PostgreSQLEventInbox(manager, name, clock=lambda: NOW) for name in ("T1", "T2")
    )
    assert await inbox.receive(event()) is True
    later = PostgreSQLEventInbox(manager, "T2", clock=lambda: late)
    assert await later.take_up(10) == []
    await later.finish("Ev1")
    assert await their_inbox.receive(event()) is True
    assert len(await PostgreSQLEventInbox(manager, "T1", clock=lambda: late).take_up(10)) == 1


async def test_events_that_another_is_taking_up_are_passed_over_at_once(
    manager: DatabaseManager, database_url: str
) -> None:
    late = NOW + timedelta(days=1)
    inbox = PostgreSQLEventInbox(manager, clock=lambda: NOW)
    for number in range(5):
        await inbox.receive(replace(event(), id=f"Ev{number}"))
    other_manager = DatabaseManager(database_url)
    ours = PostgreSQLEventInbox(manager, clock=lambda: late)
    theirs = PostgreSQLEventInbox(other_manager, clock=lambda: late)
    try:
        async with manager.transaction():  # which is not committed while they look
            taken = [each.id for each in await ours.take_up(2)]
            others = [each.id for each in await theirs.take_up(10)]
    finally:
        await other_manager.close()
    assert (taken, others) == (["Ev0", "Ev1"], ["Ev2", "Ev3", "Ev4"])


async def test_nothing_of_a_handled_event_is_kept_but_its_id(manager: DatabaseManager) -> None:
    inbox = PostgreSQLEventInbox(manager)
    await inbox.receive(event())
    await inbox.finish("Ev1")
    rows = await manager.run(lambda c: c.fetch("SELECT row_to_json(e) FROM inbox_events AS e"))
    assert "Ev1" in str(rows)
    assert "秘密" not in str(rows)
