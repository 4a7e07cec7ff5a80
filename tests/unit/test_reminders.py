"""Claim, send, mark: ReminderService with the real notifier against the local Slack server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.slack_notifier import SlackNotifier
from nakamura_misaki.application.reminders import (
    LEASE,
    LONGEST_PAUSE,
    PERMANENT_PAUSE,
    Outcome,
    ReminderReport,
    ReminderService,
)
from nakamura_misaki.domain.errors import ConfigurationError, StorageUnavailable
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import TOKYO, handoff
from slack_server import BOT_TOKEN, NOBODY, SATO, SUZUKI, TANAKA, Fault, SlackServer

POST = "chat.postMessage"
HISTORY = "conversations.history"


class Team:
    """A workspace's handoffs, and a clock that is right until it is put forward."""

    def __init__(self, manager: DatabaseManager, slack: SlackServer) -> None:
        self.ahead = timedelta(0)
        self.slack = slack
        self.handoffs = PostgreSQLHandoffRepository(manager, clock=self.clock)
        self.notifier = SlackNotifier(
            BOT_TOKEN, api_url=slack.api_url, time_zone=TOKYO, clock=self.clock
        )
        self.heard: list[tuple[Outcome, float | None]] = []

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def due(self, **fields: Any) -> Handoff:
        values = {"from_user_id": SUZUKI, "to_user_id": SATO, "handoff_at": self.clock(), **fields}
        return await self.handoffs.create(handoff(**values))

    def service(self, **options: Any) -> ReminderService:
        return ReminderService(
            self.handoffs,
            self.notifier,
            **{
                "clock": self.clock,
                "on_reminder": lambda outcome, lag: self.heard.append((outcome, lag)),
                **options,
            },
        )

    async def run(self, limit: int | None = None, **options: Any) -> ReminderReport:
        return await self.service(**options).run(limit)

    async def is_reminded(self, of: Handoff) -> bool:
        stored = await self.handoffs.get(of.id)
        assert stored is not None
        return stored.reminded_at is not None

    def told(self, of: Handoff) -> int:
        """How many messages there are about the handoff."""
        return sum(
            message.metadata is not None
            and message.metadata["event_payload"]["handoff_id"] == str(of.id)
            for message in self.slack.messages
        )


@pytest.fixture
async def team(manager: DatabaseManager) -> AsyncIterator[Team]:
    async with SlackServer() as slack:
        made = Team(manager, slack)
        yield made
        await made.notifier.close()


def counts(report: ReminderReport) -> tuple[int, int, int]:
    return report.sent, report.already_sent, len(report.failed)


async def test_everybody_due_is_told_once(team: Team) -> None:
    due = [await team.due(to_user_id=user) for user in (SATO, TANAKA, SATO)]
    later = await team.due(handoff_at=team.clock() + timedelta(minutes=11))
    assert counts(await team.run()) == (3, 0, 0)
    assert counts(await team.run()) == (0, 0, 0)
    assert [team.told(each) for each in (*due, later)] == [1, 1, 1, 0]
    assert all([await team.is_reminded(each) for each in due])
    assert not any(call.method == HISTORY for call in team.slack.calls)


async def test_limit_bounds_the_messages_and_the_earliest_go_first(team: Team) -> None:
    due = [
        await team.due(handoff_at=team.clock() - timedelta(minutes=minutes)) for minutes in range(6)
    ]
    assert counts(await team.run(limit=4, concurrency=1)) == (4, 0, 0)
    assert [team.told(each) for each in due] == [0, 0, 1, 1, 1, 1]
    assert counts(await team.run(limit=4)) == (2, 0, 0)


async def test_lag_is_counted_from_when_the_reminder_could_first_be_sent(team: Team) -> None:
    long_ago = team.clock() - timedelta(days=3)
    await team.due(handoff_at=team.clock() + timedelta(minutes=4), created_at=long_ago)
    await team.due(handoff_at=long_ago)
    await team.run(concurrency=1)
    (_, of_late_news), (outcome, of_the_other) = team.heard
    assert outcome is Outcome.SENT
    assert of_late_news is not None
    assert of_the_other is not None
    assert of_late_news < 60  # created after its time: due from its creation on
    assert 360 <= of_the_other < 420


async def test_failed_message_is_tried_again_and_holds_up_no_other(team: Team) -> None:
    first = await team.due(handoff_at=team.clock() - timedelta(minutes=5))
    second = await team.due()
    team.slack.script(POST, Fault.refused("no_such_word_yet"))
    report = await team.run(concurrency=1)
    assert counts(report) == (1, 0, 1)
    (failed,) = report.failed
    assert failed.handoff == first
    assert "no_such_word_yet" in failed.reason
    assert not report.was_stopped
    assert (team.told(first), team.told(second)) == (0, 1)

    team.ahead += timedelta(seconds=29)
    assert counts(await team.run()) == (0, 0, 0)
    team.ahead += timedelta(seconds=2)
    assert counts(await team.run()) == (1, 0, 0)
    assert [outcome for outcome, _ in team.heard] == [Outcome.FAILED, Outcome.SENT, Outcome.SENT]


async def test_pause_doubles_and_has_an_end(team: Team) -> None:
    await team.due()
    team.slack.always(POST, Fault.refused("no_such_word_yet"))
    for seconds in (30, 60, 120, 240, 480, 960, 1920, 3600, 3600):
        assert counts(await team.run()) == (0, 0, 1)
        team.ahead += timedelta(seconds=seconds - 5)
        assert counts(await team.run()) == (0, 0, 0)
        team.ahead += timedelta(seconds=6)
    assert timedelta(seconds=3600) == LONGEST_PAUSE


async def test_receiver_who_is_not_there_is_tried_once_a_day(team: Team) -> None:
    lost = await team.due(to_user_id=NOBODY)
    told = await team.due()
    report = await team.run()
    assert counts(report) == (1, 0, 1)
    assert (report.failed[0].handoff, team.told(told)) == (lost, 1)
    team.ahead += PERMANENT_PAUSE - timedelta(minutes=1)
    assert counts(await team.run()) == (0, 0, 0)
    team.ahead += timedelta(minutes=2)
    assert counts(await team.run()) == (0, 0, 1)


async def test_run_breaks_off_when_slack_asks_all_to_wait(team: Team) -> None:
    for _ in range(8):
        await team.due()
    team.slack.always(POST, Fault.rate_limited(retry_after=45))
    report = await team.run(concurrency=2)
    assert report.was_stopped
    assert 1 <= len(report.failed) <= 2
    team.slack.always(POST, None)
    assert (await team.run()).sent == 8 - len(report.failed)
    team.ahead += timedelta(seconds=46)
    assert (await team.run()).sent == len(report.failed)


async def test_refused_token_ends_the_run_with_its_own_error(team: Team) -> None:
    for _ in range(8):
        await team.due()
    team.slack.always(POST, Fault.refused("invalid_auth"))
    with pytest.raises(ConfigurationError, match="invalid_auth"):
        await team.run(concurrency=2)
    assert len(team.slack.calls) <= 2
    team.slack.always(POST, None)
    team.ahead += timedelta(minutes=1)
    assert counts(await team.run()) == (8, 0, 0)


@pytest.mark.parametrize("fault", [Fault.cut_after(), Fault.garbage(), Fault.late_answer(60)])
async def test_message_whose_answer_was_lost_is_not_sent_again(team: Team, fault: Fault) -> None:
    given = await team.due()
    team.slack.script(POST, fault)
    assert counts(await team.run(lease=timedelta(seconds=4))) == (0, 0, 1)
    team.ahead += timedelta(seconds=31)
    assert counts(await team.run()) == (0, 1, 0)
    assert team.told(given) == 1
    assert await team.is_reminded(given)
    assert team.heard == [(Outcome.FAILED, None), (Outcome.ALREADY_SENT, None)]


@pytest.mark.parametrize(
    "history", [Fault.refused("missing_scope"), Fault.failing(500), Fault.late(60)]
)
async def test_where_slack_does_not_tell_the_message_comes_a_second_time(
    team: Team, history: Fault
) -> None:
    given = await team.due()
    team.slack.script(POST, Fault.cut_after())
    team.slack.always(HISTORY, history)
    await team.run()
    team.ahead += timedelta(seconds=31)
    assert counts(await team.run(lease=timedelta(seconds=4))) == (1, 0, 0)
    assert team.told(given) == 2


async def test_several_senders_at_once_send_each_message_once(team: Team) -> None:
    due = [await team.due(to_user_id=(SATO, TANAKA)[n % 2]) for n in range(60)]
    reports = await asyncio.gather(*(team.run() for _ in range(5)))
    assert sum(report.sent for report in reports) == 60
    assert sum(report.already_sent + len(report.failed) for report in reports) == 0
    assert [team.told(each) for each in due] == [1] * 60


async def test_cancelled_run_finishes_what_is_under_way(team: Team) -> None:
    due = [await team.due() for _ in range(5)]
    team.slack.always(POST, Fault.late_answer(0.3))
    running = asyncio.create_task(team.run(concurrency=2))
    await team.slack.wait_for_messages(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [team.told(each) for each in due].count(1) == 2
    assert [await team.is_reminded(each) for each in due].count(True) == 2
    team.slack.always(POST, None)
    assert counts(await team.run()) == (3, 0, 0)


async def test_cancelled_run_waits_no_longer_than_its_grace(team: Team) -> None:
    given = await team.due()
    team.slack.always(POST, Fault.late_answer(60))
    running = asyncio.create_task(team.run(grace=timedelta(seconds=0.1)))
    await team.slack.wait_for_messages(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 5)
    team.ahead += LEASE
    assert counts(await team.run()) == (0, 1, 0)
    assert team.told(given) == 1


async def test_stopped_service_ends_its_run_and_begins_none(team: Team) -> None:
    for _ in range(5):
        await team.due()
    service = team.service(concurrency=2)
    team.slack.always(POST, Fault.late_answer(0.3))
    running = asyncio.create_task(service.run())
    await team.slack.wait_for_messages(2)
    service.stop()
    report = await running
    assert (counts(report), report.was_stopped) == ((2, 0, 0), True)
    assert counts(await service.run()) == (0, 0, 0)


async def test_sender_that_slept_through_its_claim_sends_nothing(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await team.due()
    claim = team.handoffs.claim_reminders

    async def claim_and_sleep(*arguments: Any) -> Any:
        claims = await claim(*arguments)
        if claims:
            team.ahead += LEASE
        return claims

    monkeypatch.setattr(team.handoffs, "claim_reminders", claim_and_sleep)
    # It is its own second sender, and sleeps each time; in the end nobody is told by it.
    assert counts(await team.run(limit=3, concurrency=1)) == (0, 0, 0)
    assert team.told(given) == 0
    monkeypatch.undo()
    team.ahead += LEASE
    assert counts(await team.run()) == (1, 0, 0)


def losing_statements(
    monkeypatch: pytest.MonkeyPatch, method: str, beginning: str, *, times: int
) -> None:
    """Let the answers of statements of the driver get lost after they were committed."""
    real: Callable[..., Any] = getattr(asyncpg.Connection, method)
    left = times

    async def commit_and_lose_the_answer(self: asyncpg.Connection, *args: object) -> object:
        nonlocal left
        result = await real(self, *args)
        if left and str(args[0]).strip().startswith(beginning):
            left -= 1
            raise ConnectionResetError("the network went away")
        return result

    monkeypatch.setattr(asyncpg.Connection, method, commit_and_lose_the_answer)


async def test_sender_that_fails_after_its_claim_gives_nobody_elses_away(team: Team) -> None:
    due = await team.due()
    team.slack.script(POST, Fault(error="no_such_word_yet", delay=0.5))
    running = asyncio.create_task(team.run(concurrency=1))
    await team.slack.wait_for(POST)
    team.ahead = LEASE + timedelta(seconds=1)
    (claim,) = await team.handoffs.claim_reminders(1, LEASE)
    assert claim.handoff.id == due.id
    assert counts(await running) == (0, 0, 1)

    team.ahead += LEASE - timedelta(seconds=5)
    assert await team.handoffs.claim_reminders(1, LEASE) == []


async def test_claim_whose_answer_was_lost_waits_for_its_lease(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await team.due(handoff_at=team.clock() - timedelta(minutes=5))
    second = await team.due()
    losing_statements(monkeypatch, "fetch", "WITH due", times=1)
    assert counts(await team.run(concurrency=1)) == (1, 0, 0)
    assert (team.told(first), team.told(second)) == (0, 1)
    team.ahead += LEASE
    assert counts(await team.run()) == (1, 0, 0)
    assert (team.told(first), team.told(second)) == (1, 1)


async def test_mark_is_stored_when_the_database_comes_back(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await team.due()
    marks = 0
    mark = team.handoffs.mark_reminded

    async def away_at_first(*arguments: Any) -> bool:
        nonlocal marks
        marks += 1
        if marks == 1:
            raise StorageUnavailable("the database is restarting.")
        return await mark(*arguments)

    monkeypatch.setattr(team.handoffs, "mark_reminded", away_at_first)
    assert counts(await team.run()) == (1, 0, 0)
    assert (marks, team.told(given), await team.is_reminded(given)) == (2, 1, True)


async def test_unforeseen_error_of_one_handoff_keeps_no_other_back(
    team: Team, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poison = await team.due(progress_note="x", handoff_at=team.clock() - timedelta(minutes=5))
    other = await team.due()
    remind = team.notifier.remind

    async def choke(handoff: Handoff) -> None:
        if handoff.id == poison.id:
            raise RuntimeError("nobody thought of this")
        await remind(handoff)

    monkeypatch.setattr(team.notifier, "remind", choke)
    with caplog.at_level(logging.ERROR):
        report = await team.run(concurrency=1)
    assert counts(report) == (1, 0, 1)
    assert report.failed[0].reason == "an unforeseen RuntimeError ended it."
    assert team.told(other) == 1
    assert "nobody thought of this" in caplog.text


async def test_handoffs_at_the_ends_of_the_calendar_are_told_of(team: Team) -> None:
    first = await team.due(
        handoff_at=datetime(1, 1, 1, 0, 5, tzinfo=UTC),
        created_at=datetime(1, 1, 1, 0, 5, tzinfo=UTC),
    )
    await team.handoffs.claim_reminders(1, timedelta(0))  # so that it is looked for as well
    assert counts(await team.run()) == (1, 0, 0)
    assert team.told(first) == 1
