"""What every repository of handoffs must do so that a reminder is one sender's at a time."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from nakamura_misaki.adapters.secondary.json_handoff_repository import JsonHandoffRepository
from nakamura_misaki.adapters.secondary.legacy_layout import REMINDER_CLAIMS_FILE
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.domain.repositories import ReminderClaim
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import NOON, Backend, Clock, handoff, task

LEASE = timedelta(minutes=2)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def test_claims_are_of_what_is_due_earliest_first(backend: Backend) -> None:
    due = handoff(handoff_at=NOON + timedelta(minutes=10))
    overdue = handoff(handoff_at=NOON - timedelta(days=1))
    for each in (
        due,
        overdue,
        handoff(handoff_at=NOON + timedelta(minutes=10, seconds=1)),
        handoff(completed_at=NOON),
        handoff(reminded_at=NOON),
    ):
        await backend.handoffs.create(each)
    assert await backend.handoffs.claim_reminders(1, LEASE) == [ReminderClaim(overdue, 1)]
    assert await backend.handoffs.claim_reminders(9, LEASE) == [ReminderClaim(due, 1)]
    assert await backend.handoffs.claim_reminders(9, LEASE) == []
    assert await backend.handoffs.list_pending_reminders() == [overdue, due]


async def test_claim_ends_with_its_lease_and_counts_the_next_attempt(backend: Backend) -> None:
    given = await backend.handoffs.create(handoff())
    await backend.handoffs.claim_reminders(1, LEASE)
    backend.clock.now = NOON + LEASE - timedelta(microseconds=1)
    assert await backend.handoffs.claim_reminders(1, LEASE) == []
    backend.clock.now = NOON + LEASE
    assert await backend.handoffs.claim_reminders(1, LEASE) == [ReminderClaim(given, 2)]
    assert await backend.handoffs.claim_reminders(1, LEASE) == []


async def test_postponed_reminder_is_anybodys_after_that(backend: Backend) -> None:
    given = await backend.handoffs.create(handoff())
    await backend.handoffs.claim_reminders(1, LEASE)
    await backend.handoffs.postpone_reminder(given.id, NOON + timedelta(hours=1))
    backend.clock.now = NOON + timedelta(minutes=59)
    assert await backend.handoffs.claim_reminders(1, LEASE) == []
    backend.clock.now = NOON + timedelta(hours=1)
    assert await backend.handoffs.claim_reminders(1, LEASE) == [ReminderClaim(given, 2)]
    await backend.handoffs.postpone_reminder(given.id, backend.clock.now)
    assert await backend.handoffs.claim_reminders(1, LEASE) == [ReminderClaim(given, 3)]


async def test_what_was_reminded_of_completed_or_deleted_is_claimed_no_more(
    backend: Backend,
) -> None:
    of_task = await backend.tasks.create(task())
    reminded, completed, deleted = [
        await backend.handoffs.create(handoff(task_id=of_task.id if is_last else None))
        for is_last in (False, False, True)
    ]
    assert len(await backend.handoffs.claim_reminders(9, LEASE)) == 3
    assert await backend.handoffs.mark_reminded(reminded.id) is True
    assert await backend.handoffs.mark_completed(completed.id) is True
    await backend.tasks.delete(of_task.id)
    for each in (reminded, completed, deleted):
        await backend.handoffs.postpone_reminder(each.id, NOON)
    await backend.handoffs.postpone_reminder(uuid4(), NOON)
    backend.clock.now = NOON + timedelta(days=1)
    assert await backend.handoffs.claim_reminders(9, LEASE) == []
    assert await backend.handoffs.get(reminded.id) == replace(reminded, reminded_at=NOON)


async def test_claims_change_nothing_that_a_reader_sees(backend: Backend) -> None:
    given = await backend.handoffs.create(handoff())
    await backend.handoffs.claim_reminders(1, LEASE)
    assert await backend.handoffs.get(given.id) == given
    assert [each async for each in backend.handoffs.stream()] == [given]
    assert (await backend.handoffs.create_many([given])).known == 1
    assert await backend.handoffs.claim_reminders(1, LEASE) == []


async def test_no_two_claimers_get_the_same(backend: Backend) -> None:
    given = [handoff(handoff_at=NOON - timedelta(minutes=n)) for n in range(120)]
    await backend.handoffs.create_many(given)

    async def claimer(limit: int) -> list[ReminderClaim]:
        claimed: list[ReminderClaim] = []
        while claims := await backend.handoffs.claim_reminders(limit, LEASE):
            claimed += claims
        return claimed

    claimed = [
        claim
        for claims in await asyncio.gather(*(claimer(1 + n % 3) for n in range(12)))
        for claim in claims
    ]
    assert len(claimed) == len(given)
    assert {claim.handoff.id for claim in claimed} == {each.id for each in given}
    assert {claim.attempt for claim in claimed} == {1}


async def test_lead_of_the_repository_says_what_is_due(
    manager: DatabaseManager, tmp_path: Path
) -> None:
    clock, lead = Clock(), timedelta(hours=2)
    for handoffs in (
        PostgreSQLHandoffRepository(manager, lead=lead, clock=clock),
        JsonHandoffRepository(tmp_path, lead=lead, clock=clock),
    ):
        due = await handoffs.create(handoff(handoff_at=NOON + lead))
        await handoffs.create(handoff(handoff_at=NOON + lead + timedelta(seconds=1)))
        assert await handoffs.claim_reminders(9, LEASE) == [ReminderClaim(due, 1)]


async def test_claims_of_another_workspace_are_its_own(manager: DatabaseManager) -> None:
    here, there = [
        PostgreSQLHandoffRepository(manager, workspace_id=name, clock=Clock())
        for name in ("here", "there")
    ]
    given = await here.create(handoff())
    assert await there.claim_reminders(9, LEASE) == []
    assert await here.claim_reminders(1, LEASE) == [ReminderClaim(given, 1)]
    await there.postpone_reminder(given.id, NOON)
    assert await here.claim_reminders(1, LEASE) == []


async def test_json_claims_are_no_data_of_the_team_and_go_when_they_are_done(
    tmp_path: Path,
) -> None:
    handoffs = JsonHandoffRepository(tmp_path, clock=Clock())
    given = await handoffs.create(handoff())
    before = files(tmp_path)
    await handoffs.claim_reminders(1, LEASE)
    during = files(tmp_path)
    assert during.keys() - before.keys() == {REMINDER_CLAIMS_FILE}
    assert before.items() <= during.items()
    (ignored,) = [f for f in LegacyDirectory(tmp_path).scan() if f.path == REMINDER_CLAIMS_FILE]
    assert (ignored.ignored, ignored.entries) == (
        "the service's own; no part of the team's work",
        (),
    )

    await handoffs.mark_reminded(given.id)
    assert await handoffs.claim_reminders(1, LEASE) == []
    assert set(files(tmp_path)) == set(before)


@pytest.mark.parametrize(
    "claim", ["null", "[]", "7", '{"claimed_until": "soon"}', '{"claimed_until": "2999-01-01"}']
)
async def test_json_claim_that_no_release_wrote_keeps_no_reminder_back(
    tmp_path: Path, claim: str
) -> None:
    handoffs = JsonHandoffRepository(tmp_path, clock=Clock())
    given = await handoffs.create(handoff())
    await handoffs.claim_reminders(1, LEASE)
    (tmp_path / REMINDER_CLAIMS_FILE).write_text(f'{{"{given.id}": {claim}}}')
    assert await handoffs.claim_reminders(1, LEASE) == [ReminderClaim(given, 1)]
