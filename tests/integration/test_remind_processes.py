"""Four ``remind`` processes at once, one of them killed with -9: who is told, and how often."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from integration.command import MODULE, Command
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.application.reminders import CONCURRENCY
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import handoff
from slack_server import BOT_TOKEN, EMMA, SATO, SUZUKI, TANAKA, Fault, SlackServer

POST = "chat.postMessage"
PROCESSES = 4
PATIENCE = 60.0


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def remind(tmp_path: Path, database_url: str, slack: SlackServer) -> Command:
    return Command(
        tmp_path,
        DATABASE_URL=database_url,
        SLACK_BOT_TOKEN=BOT_TOKEN,
        SLACK_API_URL=slack.api_url,
    )


async def fill(manager: DatabaseManager, count: int) -> set[UUID]:
    """So many due handoffs."""
    now = datetime.now(UTC)
    due = [
        handoff(
            from_user_id="U0NAKAMURA",
            to_user_id=(SATO, SUZUKI, TANAKA, EMMA)[number % 4],
            handoff_at=now + timedelta(seconds=number / 10),
        )
        for number in range(count)
    ]
    await PostgreSQLHandoffRepository(manager).create_many(due)
    return {each.id for each in due}


def start(command: Command, processes: ExitStack) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [*MODULE, "remind", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=command.directory,
        env=command.environment,
        text=True,
    )
    processes.enter_context(process)
    processes.callback(process.kill)
    return process


async def report_of(process: "subprocess.Popen[str]") -> dict[str, object]:
    out, err = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    report: dict[str, object] = json.loads(out)
    assert report["failed"] == []
    return report


def told(slack: SlackServer) -> Counter[UUID]:
    """How many messages there are about each handoff."""
    return Counter(
        UUID(message.metadata["event_payload"]["handoff_id"])
        for message in slack.messages
        if message.metadata is not None
    )


async def unmarked(look: asyncpg.Connection) -> set[UUID]:
    rows = await look.fetch("SELECT id FROM handoffs WHERE reminded_at IS NULL")
    return {row["id"] for row in rows}


async def kill_one_midway(
    slack: SlackServer, processes: list["subprocess.Popen[str]"], after: int
) -> None:
    """``kill -9`` while each sender of each process waits for the answer to a message that was taken."""
    await slack.wait_for_messages(after, timeout=PATIENCE)
    slack.always(POST, Fault.late_answer(1.5))
    held = len(slack.calls) + PROCESSES * CONCURRENCY
    await slack.wait_for(POST, count=held, timeout=PATIENCE)
    os.kill(processes[0].pid, signal.SIGKILL)
    processes[0].wait()
    slack.always(POST, None)


@pytest.mark.parametrize(("count", "can_look"), [(1000, True), (200, False)])
async def test_killed_reminders_are_sent_by_the_next_run_and_only_what_was_under_way_twice(
    manager: DatabaseManager,
    look: asyncpg.Connection,
    remind: Command,
    slack: SlackServer,
    count: int,
    can_look: bool,
) -> None:
    due = await fill(manager, count)
    if not can_look:
        slack.always("conversations.history", Fault.refused("missing_scope"))
    with ExitStack() as opened:
        processes = [start(remind, opened) for _ in range(PROCESSES)]
        await kill_one_midway(slack, processes, after=count // 4)
        reports = [await report_of(process) for process in processes[1:]]

        # Everybody was told once, also those whose message the killed process had under way.
        assert told(slack) == Counter(due)
        under_way = await unmarked(look)
        assert 1 <= len(under_way) <= CONCURRENCY
        if can_look:  # the dead process's claims still hold
            nothing = {"sent": 0, "already_sent": 0, "failed": []}
            assert await report_of(start(remind, opened)) == nothing

        await look.execute("UPDATE handoffs SET reminder_claimed_until = now()")
        last = await report_of(start(remind, opened))
    assert await unmarked(look) == set()
    assert all(report["sent"] for report in reports)  # they did share the work
    if can_look:
        assert last == {"sent": 0, "already_sent": len(under_way), "failed": []}
        assert told(slack) == Counter(due)
    else:
        assert last == {"sent": len(under_way), "already_sent": 0, "failed": []}
        assert told(slack) == Counter([*due, *under_way])


async def test_terminated_process_finishes_what_is_under_way(
    manager: DatabaseManager, look: asyncpg.Connection, remind: Command, slack: SlackServer
) -> None:
    due = await fill(manager, 50)
    slack.always(POST, Fault.late_answer(0.5))
    with ExitStack() as opened:
        process = start(remind, opened)
        await slack.wait_for_messages(CONCURRENCY, timeout=PATIENCE)
        process.terminate()
        report = await report_of(process)
    assert report["sent"] == len(slack.messages)
    assert CONCURRENCY <= len(slack.messages) < len(due)
    assert len(await unmarked(look)) == len(due) - len(slack.messages)
