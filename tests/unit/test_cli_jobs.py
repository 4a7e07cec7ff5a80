"""``remind`` and ``prune`` against a real database and the local Slack server."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from cli_driver import CommandLine
from database_server import Server
from nakamura_misaki.adapters.secondary.postgresql_idempotency_store import (
    PostgreSQLIdempotencyStore,
)
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.application.idempotency import Reservation
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import session
from slack_server import BOT_TOKEN, NOBODY, SATO, SUZUKI, Fault, SlackServer

POST = "chat.postMessage"
NOTHING = "No handoff is to be reminded of now.\n"


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def cli(cli: CommandLine, slack: SlackServer) -> CommandLine:
    cli.set(SLACK_BOT_TOKEN=BOT_TOKEN, SLACK_API_URL=slack.api_url)
    return cli


def add(cli: CommandLine, *, to: str = SATO, minutes: int = 5) -> str:
    at = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(timespec="seconds")
    added = cli("handoff", "add", "半分まで", "--to", to, "--at", at, "--user", SUZUKI, "--json")
    handoff_id: str = added.json["id"]
    return handoff_id


def test_cli_remind_tells_each_receiver_once(cli: CommandLine, slack: SlackServer) -> None:
    assert (cli("remind").code, cli("remind").out) == (0, NOTHING)
    due = add(cli)
    add(cli, minutes=60)
    outcome = cli("remind")
    assert (outcome.code, outcome.out, outcome.err) == (0, "Sent 1 reminder.\n", "")
    assert [m.buttons["handoff_complete"]["value"] for m in slack.messages_in(SATO)] == [due]
    assert cli("handoff", "show", due, "--json").json["reminded_at"] is not None
    assert cli("remind", "--json").json == {"sent": 0, "already_sent": 0, "failed": []}
    assert len(slack.messages) == 1


def test_cli_remind_obeys_the_lead_that_is_set(cli: CommandLine, slack: SlackServer) -> None:
    add(cli, minutes=25)
    assert cli("remind", "--dry-run").out == NOTHING
    cli.set(REMINDER_LEAD_MINUTES="30")
    assert cli("remind", "--json").json["sent"] == 1


def test_cli_remind_dry_run_lists_and_sends_nothing(cli: CommandLine, slack: SlackServer) -> None:
    first, second = add(cli, minutes=1), add(cli, minutes=2)
    cli.set(SLACK_BOT_TOKEN="")  # none is needed to look
    assert [each["id"] for each in cli("remind", "--dry-run", "--json").json] == [first, second]
    assert [each["id"] for each in cli("remind", "--dry-run", "--limit", "1", "--json").json] == [
        first
    ]
    assert first[-8:] in cli("remind", "--dry-run").out
    assert slack.calls == []


def test_cli_remind_limit_leaves_the_rest_to_the_next_run(
    cli: CommandLine, slack: SlackServer
) -> None:
    for minutes in range(3):
        add(cli, minutes=minutes)
    assert cli("remind", "--limit", "2", "--json").json["sent"] == 2
    assert cli("remind", "--json").json["sent"] == 1
    assert cli("remind", "--limit", "0").code == 2


def test_cli_remind_that_fails_for_some_exits_9_and_says_which(
    cli: CommandLine, slack: SlackServer
) -> None:
    lost, _ = add(cli, to=NOBODY), add(cli)
    outcome = cli("remind", "--json")
    assert outcome.code == 9
    assert (outcome.json["sent"], outcome.json["already_sent"]) == (1, 0)
    (failed,) = outcome.json["failed"]
    assert (failed["handoff_id"], failed["to_user_id"]) == (lost, NOBODY)
    assert "user_not_found" in failed["reason"]
    assert cli("remind").code == 0  # it is not due again before tomorrow

    lost = add(cli, to="tanaka")
    outcome = cli("remind")
    assert outcome.code == 9
    assert outcome.out == "Sent 0 reminders; 1 failed and will be tried again.\n"
    assert outcome.err.startswith(f"Warning: handoff {lost}: 'tanaka' is no Slack user's id")


def test_cli_remind_without_a_token_or_with_a_wrong_one_exits_5(
    cli: CommandLine, slack: SlackServer
) -> None:
    add(cli)
    slack.script(POST, Fault.refused("token_revoked"))
    outcome = cli("remind")
    assert (outcome.code, outcome.out) == (5, "")
    assert outcome.err == "Error: Slack refuses SLACK_BOT_TOKEN (token_revoked); correct it.\n"
    cli.set(SLACK_BOT_TOKEN="")
    outcome = cli("remind", "--json")
    assert outcome.code == 5
    assert "SLACK_BOT_TOKEN is not set" in outcome.error["error"]


def test_cli_remind_says_what_an_interrupted_run_had_sent(
    cli: CommandLine, slack: SlackServer, server: Server, database: str
) -> None:
    add(cli)
    slack.script(POST, Fault.cut_after())
    assert cli("remind").code == 9
    server.run("UPDATE handoffs SET reminder_claimed_until = now()", database=database)
    outcome = cli("remind")
    assert outcome.code == 0
    assert outcome.out == "Sent 0 reminders; 1 had been sent by a run that was interrupted.\n"
    assert len(slack.messages) == 1


def test_cli_remind_and_prune_work_on_json_files(
    cli: CommandLine, slack: SlackServer, tmp_path: Path
) -> None:
    cli.set(STORAGE_BACKEND="json", JSON_DATA_DIR=str(tmp_path / "team"))
    add(cli)
    assert cli("remind", "--json").json["sent"] == 1
    assert cli("remind", "--json").json["sent"] == 0
    assert len(slack.messages) == 1
    pruned = cli("prune", "--json")
    assert pruned.json == {"sessions": 0, "events": 0, "keys": 0, "days": 30}


def test_cli_prune_deletes_what_is_old_and_nothing_else(
    cli: CommandLine, database_url: str, server: Server, database: str
) -> None:
    now = datetime.now(UTC)

    async def fill(manager: DatabaseManager) -> None:
        sessions = PostgreSQLSessionRepository(manager)
        keys = PostgreSQLIdempotencyStore(manager, "default")
        for days in (1, 29, 31, 50):
            await sessions.create(
                session(
                    f"s{days}",
                    last_active_at=now - timedelta(days=days),
                    created_at=now - timedelta(days=99),
                )
            )
        for name, hours in (("young", 23), ("old", 25)):
            reserved = Reservation(uuid4(), now - timedelta(hours=hours), b"f")
            await keys.reserve("scope", name, reserved)

    _on(database_url, fill)
    inbox = (
        "INSERT INTO inbox_events (workspace_id, id, body, entity_id, received_at, claimed_until,"
        f" handled_at) VALUES ('default', '%s', %s, '{UUID(int=7)}', now() - interval '%s days',"
        " now(), %s)"
    )
    server.run(
        inbox % ("old", "NULL", 8, "now() - interval '8 days'"),
        inbox % ("young", "NULL", 6, "now()"),
        inbox % ("unfinished", "'{}'", 8, "NULL"),
        database=database,
    )
    assert cli("prune", "--json").json == {"sessions": 2, "events": 1, "keys": 1, "days": 30}
    assert cli("prune", "--json").json == {"sessions": 0, "events": 0, "keys": 0, "days": 30}
    cli.set(SESSION_RETENTION_DAYS="20")
    assert cli("prune").out == (
        "Deleted 1 session without activity for 20 days, 0 handled events and 0 request keys.\n"
    )
    assert cli("prune", "--days", "1", "--json").json["sessions"] == 1
    assert cli("prune", "--days", "0").code == 2


def _on(database_url: str, work: Callable[[DatabaseManager], Any]) -> None:
    async def run() -> None:
        manager = DatabaseManager(database_url)
        try:
            await work(manager)
        finally:
            await manager.close()

    asyncio.run(run())
