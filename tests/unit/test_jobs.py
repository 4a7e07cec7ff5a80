"""Jobs: what timers do elsewhere, in loops inside a process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from nakamura_misaki.adapters.primary.jobs import Jobs, Schedule
from nakamura_misaki.application.reminders import Notifier, Outcome
from nakamura_misaki.domain.errors import ConfigurationError, StorageUnavailable
from nakamura_misaki.infrastructure.di import App, compose
from nakamura_misaki.infrastructure.di.notifier import build_notifier
from nakamura_misaki.infrastructure.settings import Settings
from openai_server import Fault as EmbeddingFault
from openai_server import OpenAIServer
from repository_backend import handoff, note, session
from slack_server import BOT_TOKEN, SATO, SUZUKI, Fault, SlackServer

POST = "chat.postMessage"
OFTEN = timedelta(milliseconds=20)
SELDOM = timedelta(days=1)


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as server:
        yield server


@pytest.fixture
def settings(
    slack: SlackServer, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(
        database_url=SecretStr(database_url),
        embedding_provider="hashing",
        slack_bot_token=SecretStr(BOT_TOKEN),
        slack_api_url=slack.api_url,
        data_dir=tmp_path / "no-server-here",
    )


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[App]:
    async with compose(settings) as made:
        yield made


@pytest.fixture
async def notifier(settings: Settings) -> AsyncIterator[Notifier]:
    made = build_notifier(settings)
    yield made
    await made.close()


async def add_due(app: App) -> UUID:
    at = datetime.now(UTC)
    given = handoff(from_user_id=SUZUKI, to_user_id=SATO, handoff_at=at)
    return (await app.own.handoff_repository.create(given)).id


class Heard:
    """What a callback was told, and a way to wait for more of it."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._changed = asyncio.Event()

    def __call__(self, *told: Any) -> None:
        self.all.append(told)
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await self._changed.wait()
                self._changed.clear()


class HeardLog(logging.Handler):
    """The log as one hears it, to wait for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = Heard()

    def emit(self, record: logging.LogRecord) -> None:
        self.heard((record.levelname, record.getMessage()))

    @property
    def lines(self) -> list[str]:
        return [line for ((_, line),) in self.heard.all]


@pytest.fixture
def log() -> Iterator[HeardLog]:
    handler = HeardLog()
    logger = logging.getLogger("nakamura_misaki.adapters.primary.jobs")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_jobs_remind_again_and_again(
    app: App, notifier: Notifier, slack: SlackServer
) -> None:
    heard = Heard()
    jobs = Jobs(app, notifier, on_reminder=heard, schedule=Schedule(remind=OFTEN))
    await add_due(app)
    await jobs.start()
    await slack.wait_for_messages(1)
    await add_due(app)
    await heard.until(lambda: len(heard.all) == 2)
    await jobs.stop(5)
    assert [outcome for outcome, _ in heard.all] == [Outcome.SENT] * 2
    await add_due(app)
    assert len(slack.messages) == 2


async def test_jobs_without_slack_remind_nobody_and_say_so_once(
    app: App, slack: SlackServer, log: HeardLog
) -> None:
    await add_due(app)
    jobs = Jobs(app, None, schedule=Schedule(remind=OFTEN, prune=OFTEN))
    await jobs.start()
    await log.heard.until(lambda: len([line for line in log.lines if "prune" in line]) >= 2)
    await jobs.stop(5)
    assert len([line for line in log.lines if "nobody is reminded" in line]) == 1
    assert slack.calls == []


def test_no_token_no_notifier(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="SLACK_BOT_TOKEN"):
        build_notifier(settings.model_copy(update={"slack_bot_token": None}))


async def test_jobs_prune_what_is_older_than_the_settings_say(app: App, log: HeardLog) -> None:
    now = datetime.now(UTC)
    for days in (1, 31):
        old = session(
            f"s{days}",
            last_active_at=now - timedelta(days=days),
            created_at=now - timedelta(days=99),
        )
        await app.own.session_repository.create(old)
    jobs = Jobs(app, None, schedule=Schedule(prune=OFTEN))
    await jobs.start()
    await log.heard.until(lambda: any("deleted 1 sessions" in line for line in log.lines))
    await jobs.stop(5)
    assert await app.own.session_repository.get("s31") is None
    assert await app.own.session_repository.get("s1") is not None


async def test_jobs_embed_what_was_written_while_the_embedder_was_away(
    settings: Settings, log: HeardLog
) -> None:
    async with OpenAIServer() as server:
        with_server = settings.model_copy(
            update={
                "embedding_provider": "openai",
                "openai_base_url": server.base_url,
                "openai_api_key": SecretStr(server.key),
            }
        )
        async with compose(with_server) as app:
            server.always = EmbeddingFault.unauthorized()
            await app.own.note_repository.save(note("決定: PostgreSQLを採用"))
            store = app.embedding_store
            assert await store.count_pending() == 1
            jobs = Jobs(app, None, schedule=Schedule(embed_pending=OFTEN, prune=SELDOM))
            await jobs.start()
            await log.heard.until(lambda: any("embed-pending failed" in s for s in log.lines))
            server.always = None
            await log.heard.until(lambda: any("1 notes got a vector" in s for s in log.lines))
            await jobs.stop(5)
            assert await store.count_pending() == 0
    assert len([line for line in log.lines if "failed" in line]) == 1
    assert any("embed-pending works again" in line for line in log.lines)


async def test_error_ends_no_loop_and_is_said_once(
    app: App, notifier: Notifier, slack: SlackServer, log: HeardLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = Heard()
    claim = app.own.handoff_repository.claim_reminders
    errors: list[Exception] = [StorageUnavailable("the database is away.")] * 9
    errors += [RuntimeError("a bug")] * 9

    async def failing_at_first(*arguments: Any) -> Any:
        claims()
        if errors:
            raise errors.pop(0)
        return await claim(*arguments)

    monkeypatch.setattr(app.own.handoff_repository, "claim_reminders", failing_at_first)
    await add_due(app)
    jobs = Jobs(app, notifier, schedule=Schedule(remind=OFTEN))
    await jobs.start()
    await slack.wait_for_messages(1)
    await log.heard.until(lambda: any("works again" in line for line in log.lines))
    await jobs.stop(5)
    failed = [line for line in log.lines if "failed" in line]
    assert failed[0] == "the job remind failed: the database is away."
    assert failed[1:] == ["the job remind failed: an unforeseen RuntimeError"]


async def test_stop_lets_a_message_under_way_end_and_begins_none(
    app: App, notifier: Notifier, slack: SlackServer
) -> None:
    ids = [await add_due(app) for _ in range(9)]
    slack.always(POST, Fault.late_answer(0.3))
    jobs = Jobs(app, notifier, schedule=Schedule(remind=OFTEN))
    await jobs.start()
    await slack.wait_for_messages(4)
    await jobs.stop(5)
    stored = [await app.own.handoff_repository.get(each) for each in ids]
    assert len([each for each in stored if each and each.reminded_at]) == len(slack.messages) == 4


async def test_stop_cuts_off_what_takes_too_long(
    app: App, notifier: Notifier, slack: SlackServer, log: HeardLog
) -> None:
    await add_due(app)
    slack.always(POST, Fault.late_answer(60))
    jobs = Jobs(app, notifier, schedule=Schedule(remind=OFTEN))
    await jobs.start()
    await slack.wait_for_messages(1)
    async with asyncio.timeout(5):
        await jobs.stop(0.1)
    assert "the job remind was cut off" in log.lines
    await jobs.stop(0.1)


async def test_jobs_run_on_json_files(
    settings: Settings, notifier: Notifier, slack: SlackServer, tmp_path: Path
) -> None:
    update = {"storage_backend": "json", "json_data_dir": tmp_path / "team"}
    async with compose(settings.model_copy(update=update)) as app:
        await add_due(app)
        jobs = Jobs(app, notifier, schedule=Schedule(OFTEN, OFTEN, OFTEN))
        await jobs.start()
        await slack.wait_for_messages(1)
        await jobs.stop(5)
        assert await app.own.handoff_repository.list_pending_reminders() == []
