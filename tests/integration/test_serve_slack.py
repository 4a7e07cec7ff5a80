"""The service as the team meets it: connected to Slack, or to a Slack that is away or refuses."""

import re
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from integration.service_process import ServiceProcess, metric
from integration.test_serve import refusal
from nakamura_misaki.domain.rules import utc_now
from slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    SATO,
    SIGNING_SECRET,
    SUZUKI,
    SlackServer,
    direct_message,
)

ANSWERED = 'slack_events_total{kind="message",outcome="answered"}'


def by_socket(directory: Path, database_url: str, api_url: str) -> ServiceProcess:
    return ServiceProcess(
        directory,
        "--with-jobs",
        DATABASE_URL=database_url,
        SLACK_API_URL=api_url,
        SLACK_BOT_TOKEN=BOT_TOKEN,
        SLACK_APP_TOKEN=APP_TOKEN,
    )


async def test_answers_over_socket_mode_and_reminds(tmp_path: Path, database_url: str) -> None:
    async with SlackServer() as slack:
        service = by_socket(tmp_path, database_url, slack.api_url)
        soon = (utc_now() + timedelta(minutes=1)).isoformat()
        words = ("handoff", "add", "半分まで", "--next", "残りを")
        made = service.command(*words, "--user", SATO, "--to", SUZUKI, "--at", soon)
        assert made.returncode == 0, made.stderr
        with service:
            assert "Slack: socket; jobs: on" in service.told[-1]
            await slack.wait_for_connections(1)
            envelope = slack.send_event(direct_message(SATO, "メモ: DB移行は10月に決定した。"))
            await slack.wait_for_ack(envelope)
            # An answer to the one, a reminder to the other, in whichever order.
            await slack.wait_for_messages(2)
            async with service.client() as client:
                scraped = (await client.get("/metrics")).text
                asked = {"q": "DB移行の決定事項は？", "user_id": SATO}
                found = (await client.get("/v1/notes/search", params=asked)).json()
            assert len(found["results"]) == 1
            assert service.end() == 0
        assert metric(scraped, ANSWERED) == 1
        assert metric(scraped, 'reminders_total{outcome="sent"}') == 1
        assert metric(scraped, "reminder_lag_seconds_count") == 1
    assert "Traceback" not in service.log


async def test_takes_events_at_the_route_and_signed_only(tmp_path: Path, database_url: str) -> None:
    async with SlackServer() as slack:
        service = ServiceProcess(
            tmp_path,
            DATABASE_URL=database_url,
            SLACK_API_URL=slack.api_url,
            SLACK_BOT_TOKEN=BOT_TOKEN,
            SLACK_SIGNING_SECRET=SIGNING_SECRET,
        )
        with service:
            assert "Slack: events" in service.told[-1]
            url = f"{service.url}/slack/events"
            event = direct_message(SATO, "ヘルプ")
            assert (await slack.post_event(url, event)).status == 200
            await slack.wait_for_messages(1)
            forged = await slack.post_event(url, event, secret="wrong" * 8)
            assert forged.status == 401
            assert service.end() == 0
        assert len(slack.messages) == 1


async def test_slack_that_is_away_keeps_nobody_waiting_and_is_found_when_it_comes(
    tmp_path: Path, database_url: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    service = by_socket(tmp_path, database_url, f"http://127.0.0.1:{port}/api")
    with service:
        async with service.client() as client:
            assert (await client.get("/health/ready")).status_code == 200
        async with SlackServer(port=port) as slack:
            await slack.wait_for_connections(1, timeout=30)
            slack.send_event(direct_message(SATO, "ヘルプ"))
            await slack.wait_for_messages(1, timeout=30)
        assert service.end() == 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"SLACK_MODE": "socket", "SLACK_BOT_TOKEN": BOT_TOKEN},
            r"Error: SLACK_MODE=socket needs SLACK_APP_TOKEN\.",
        ),
        (
            {"SLACK_MODE": "events", "SLACK_BOT_TOKEN": BOT_TOKEN},
            r"Error: SLACK_MODE=events needs SLACK_SIGNING_SECRET\.",
        ),
        ({"SLACK_MODE": "socket"}, r"Error: SLACK_MODE=socket needs SLACK_BOT_TOKEN\."),
    ],
)
def test_missing_token_is_one_sentence(
    tmp_path: Path, database_url: str, settings: dict[str, str], sentence: str
) -> None:
    code, error = refusal(tmp_path, DATABASE_URL=database_url, **settings)
    assert code == 5
    assert re.fullmatch(sentence, error)


@pytest.mark.parametrize("wrong", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"])
def test_token_that_slack_refuses_is_one_sentence(
    tmp_path: Path, database_url: str, wrong: str
) -> None:
    with SlackServer() as slack:
        tokens = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN}
        tokens[wrong] = f"{tokens[wrong][:5]}wrong-but-secret"
        code, error = refusal(
            tmp_path, DATABASE_URL=database_url, SLACK_API_URL=slack.api_url, **tokens
        )
    assert code == 5
    assert wrong in error
    assert "wrong-but-secret" not in error
