"""Receiving from Slack: what is stored before it is acknowledged, what is answered once, what never."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from nakamura_misaki.adapters.primary.slack.assistant import SlackAssistant
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.infrastructure.di import compose
from slack_server import (
    BOT_ID,
    BOT_USER_ID,
    ELSEWHERE,
    GENERAL,
    SATO,
    SUZUKI,
    TOKEN_USER_ID,
    USER_TOKEN,
    Fault,
    SlackServer,
    app_mention,
    bot_message,
    button_click,
    channel_message,
    direct_message,
    dm,
    message_changed,
    message_deleted,
    next_ts,
    signed_request,
    slash_command,
)
from slack_stage import Stage, on_stage, served, slack_settings, transcript


@pytest.fixture
async def posted(
    slack: SlackServer, database_url: str, tmp_path: Path
) -> AsyncIterator[tuple[Stage, str]]:
    """An assistant behind a public address, and that address."""
    settings = slack_settings(
        slack, database_url, tmp_path, slack_mode="events", api_max_body_bytes=200_000
    )
    async with on_stage(slack, settings) as stage, served(stage) as url:
        yield stage, url


async def inbox(owner_url: str) -> list[Any]:
    connection = await asyncpg.connect(owner_url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch("SELECT id, body, handled_at FROM inbox_events ORDER BY id")
    finally:
        await connection.close()
    return rows


async def test_the_address_answers_slacks_challenge(posted: tuple[Stage, str]) -> None:
    stage, url = posted
    reply = await stage.slack.post_challenge(url, "abc")
    assert (reply.status, json.loads(reply.text)) == (200, {"challenge": "abc"})


async def test_a_signed_event_is_acknowledged_kept_and_answered(
    posted: tuple[Stage, str], owner_url: str
) -> None:
    stage, url = posted
    event = direct_message(SATO, "ヘルプ")

    reply = await stage.slack.post_event(url, event)
    await stage.wait_for_outcome("message", "answered")

    assert (reply.status, reply.text) == (200, "")
    (answer,) = stage.slack.messages_in(SATO)
    key = f"message:{dm(SATO)}:{event['ts']}"
    assert answer.metadata == {
        "event_type": "nakamura_misaki_answer",
        "event_payload": {"event": key},
    }
    # The id stays known; the words do not.
    ((kept_id, body, handled_at),) = await inbox(owner_url)
    assert (kept_id, body) == (key, None)
    assert handled_at is not None


@pytest.mark.parametrize(
    "forged",
    [
        {"secret": "another-secret"},
        {"timestamp": int(time.time()) - 301},
        {"timestamp": int(time.time()) + 3600},
    ],
)
async def test_what_slack_did_not_just_sign_is_refused(
    posted: tuple[Stage, str], owner_url: str, forged: dict[str, Any]
) -> None:
    stage, url = posted
    reply = await stage.slack.post_event(url, direct_message(SATO, "ヘルプ"), **forged)

    assert reply.status == 401
    assert await inbox(owner_url) == []


async def test_a_request_without_a_signature_or_altered_on_its_way_is_refused(
    posted: tuple[Stage, str], owner_url: str
) -> None:
    stage, url = posted
    body = stage.slack.callback(direct_message(SATO, "ヘルプ"))
    headers, raw = signed_request(body)
    altered = raw.replace(SATO.encode(), SUZUKI.encode())

    assert (await stage.slack.post(url, headers, altered)).status == 401
    unsigned = {"Content-Type": headers["Content-Type"]}
    assert (await stage.slack.post(url, unsigned, raw)).status == 401
    assert await inbox(owner_url) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\xff\xfe", 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"payload=%5B1%5D", 400),
        (b"payload={", 400),
        (b"{}", 200),
        (b'{"type": "event_callback", "team_id": "T0MISAKI01"}', 200),
        (b'{"type": "event_callback", "team_id": "T0MISAKI01", "event": {"type": "message"}}', 200),
        (b'{"' + b"x" * 200_000 + b'":1}', 413),
    ],
)
async def test_what_slack_never_sends_does_no_harm(
    posted: tuple[Stage, str], body: bytes, status: int
) -> None:
    stage, url = posted
    kind = "application/json" if body.startswith((b"[", b"{")) else None
    headers, raw = signed_request(body, content_type=kind)

    assert (await stage.slack.post(url, headers, raw)).status == status
    assert (await stage.slack.post_event(url, direct_message(SATO, "ヘルプ"))).status == 200


async def test_a_replayed_and_a_repeated_event_are_acknowledged_and_answered_once(
    posted: tuple[Stage, str],
) -> None:
    stage, url = posted
    headers, raw = signed_request(stage.slack.callback(direct_message(SATO, "タスク登録: 議事録")))
    again = {**headers, "X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"}

    replies = [await stage.slack.post(url, each, raw) for each in (headers, headers, again)]
    await stage.wait_for_outcome("message", "answered")

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert stage.outcomes.count(("message", "duplicate")) == 2
    assert len(stage.slack.messages) == 1
    assert len(await stage.app.tasks.list_for(SATO)) == 1


async def test_a_mention_that_comes_as_two_events_is_answered_once(
    posted: tuple[Stage, str],
) -> None:
    stage, url = posted
    text, ts = f"<@{BOT_USER_ID}> タスク登録: 議事録", next_ts()

    await stage.slack.post_event(url, channel_message(SATO, text, ts=ts))
    await stage.slack.post_event(url, app_mention(SATO, text, ts=ts))
    await stage.wait_for_outcome("message", "answered")

    assert ("message", "duplicate") in stage.outcomes
    assert len(stage.slack.messages) == 1


async def test_buttons_and_commands_come_over_the_address_too(posted: tuple[Stage, str]) -> None:
    stage, url = posted
    await stage.app.tasks.add(title="議事録", assignee_user_id=SATO, creator_user_id=SATO)
    command = stage.slack.prepared(slash_command(SATO, "タスク一覧"))
    for _ in range(2):  # the second is a replay
        assert (await stage.slack.post_slash_command(url, command)).status == 200
    await stage.wait_for_outcome("command", "answered")
    (listed,) = stage.slack.ephemerals

    click = stage.slack.prepared(button_click(SATO, "task_start", message=listed))
    for _ in range(2):
        assert (await stage.slack.post_interaction(url, click)).status == 200
    await stage.wait_for_outcome("action", "answered")

    assert "進行中" in transcript(listed.blocks)
    assert stage.outcomes.count(("command", "duplicate")) == 1
    assert stage.outcomes.count(("action", "duplicate")) == 1


async def test_without_a_database_nothing_is_acknowledged_and_the_redelivery_is_answered_once(
    posted: tuple[Stage, str], database: str, owner_url: str
) -> None:
    stage, url = posted
    event, event_id = direct_message(SATO, "タスク登録: 議事録"), "Ev00000001"

    await stop_taking_connections(owner_url, database, stop=True)
    refused = await stage.slack.post_event(url, event, event_id=event_id)
    await stop_taking_connections(owner_url, database, stop=False)
    taken = await stage.slack.post_event(url, event, event_id=event_id, retry_num=1)
    await stage.wait_for_outcome("message", "answered")

    assert (refused.status, taken.status) == (503, 200)
    assert ("message", "refused") in stage.outcomes
    assert len(stage.slack.messages) == 1
    assert len(await stage.app.tasks.list_for(SATO)) == 1


async def test_without_a_database_no_envelope_is_acknowledged(
    stage: Stage, database: str, owner_url: str
) -> None:
    await stop_taking_connections(owner_url, database, stop=True)
    lost = stage.slack.send_event(direct_message(SATO, "タスク登録: 議事録"))
    await stage.wait_for_outcome("message", "refused")
    assert stage.slack.acks == []
    await stop_taking_connections(owner_url, database, stop=False)

    again = stage.slack.redeliver(lost)
    await stage.wait_for_outcome("message", "answered")

    assert [ack.envelope_id for ack in stage.slack.acks] == [again]
    assert len(stage.slack.messages) == 1


async def stop_taking_connections(owner_url: str, database: str, *, stop: bool) -> None:
    """As an outage looks to clients: present connections end, and no new one is let in."""
    admin = await asyncpg.connect(owner_url.replace("+asyncpg", "").replace(database, "postgres"))
    try:
        limit = 0 if stop else -1
        await admin.execute(f'ALTER DATABASE "{database}" CONNECTION LIMIT {limit}')
        if stop:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                database,
            )
    finally:
        await admin.close()


async def test_it_answers_neither_itself_nor_other_bots_nor_changes_nor_talk_among_others(
    stage: Stage,
) -> None:
    mention = f"<@{BOT_USER_ID}> ヘルプ"
    ignored = [
        (bot_message(mention), "bot"),
        (bot_message(mention, subtype="bot_message", user=None), "not_a_message"),
        (bot_message("ヘルプ", dm(SATO), bot_id=BOT_ID, user=BOT_USER_ID), "own"),
        (direct_message(BOT_USER_ID, "ヘルプ"), "own"),
        (message_changed(SATO, "ヘルプ", dm(SATO), next_ts()), "not_a_message"),
        (message_deleted(SATO, dm(SATO), next_ts()), "not_a_message"),
        (channel_message(SATO, "ヘルプ"), "not_addressed"),
        (channel_message(SATO, f"<@{SUZUKI}> ヘルプ"), "not_addressed"),
        (channel_message(SATO, "ヘルプ", "G0GROUP001", channel_type="mpim"), "not_addressed"),
        (channel_message(SATO, mention, subtype="channel_join"), "not_a_message"),
        (channel_message(SATO, "", subtype="file_share"), "not_addressed"),
        ({"type": "reaction_added", "user": SATO}, "unknown"),
    ]
    for event, why in ignored:
        envelope = stage.slack.send_event(event)
        await stage.slack.wait_for_ack(envelope)
        assert stage.outcomes[-1] == ("other", why)
    foreign = stage.slack.callback(direct_message(SATO, "ヘルプ")) | {"team_id": "T0ELSEWHER"}
    stage.slack.sockets.send("events_api", foreign, None)
    await stage.wait_for_outcome("other", "other_team")

    await stage.ask(SATO, "ヘルプ")
    assert len(stage.slack.messages) == 1


async def test_its_own_answers_come_back_to_it_and_are_left_alone(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        SlackServer(echoes=True) as slack,
        on_stage(slack, slack_settings(slack, database_url, tmp_path)) as stage,
    ):
        await stage.ask(SATO, "ヘルプ")
        await stage.wait_for_outcome("other", "own")
        await stage.mention(SATO, "ヘルプ")
        await stage.wait_for_outcome("other", "own", 2)

        assert len(slack.messages) == 2


async def test_words_to_a_file_and_in_a_broadcast_reply_are_answered(stage: Stage) -> None:
    for subtype in ("file_share", "thread_broadcast"):
        stage.slack.send_event(direct_message(SATO, "ヘルプ", subtype=subtype))
    await stage.slack.wait_for_messages(2, dm(SATO))


async def test_with_a_persons_token_it_is_that_person(database_url: str, tmp_path: Path) -> None:
    async with SlackServer(authorized_user=TOKEN_USER_ID, echoes=True) as slack:
        settings = slack_settings(slack, database_url, tmp_path, slack_bot_token=USER_TOKEN)
        async with on_stage(slack, settings) as stage:
            # There is no app_mention for a person: the mention is in a message as any other.
            slack.send_event(channel_message(SATO, f"<@{TOKEN_USER_ID}> メモ: リリースは金曜"))
            (answer,) = await slack.wait_for_messages(1, GENERAL)
            await stage.wait_for_outcome("other", "own")
            slack.send_event(channel_message(TOKEN_USER_ID, f"<@{TOKEN_USER_ID}> ヘルプ"))
            await stage.wait_for_outcome("other", "own", 2)
            slack.send_event(channel_message(SATO, f"<@{BOT_USER_ID}> ヘルプ"))
            await stage.wait_for_outcome("other", "not_addressed")
            await stage.ask(SUZUKI, "ヘルプ")

    assert transcript(answer.blocks).startswith("📝 メモしました\nリリースは金曜")
    assert answer.user == TOKEN_USER_ID
    assert len(slack.messages) == 2


async def test_text_that_no_database_holds_is_answered_all_the_same(
    posted: tuple[Stage, str],
) -> None:
    stage, url = posted
    event = direct_message(SATO, "メモ: a\x00b")
    # JSON can spell half a character, too.
    body = json.dumps(stage.slack.callback(event)).replace("\\u0000b", "\\u0000b\\ud800c").encode()
    await stage.slack.post(url, *signed_request(body, content_type="application/json"))
    await stage.wait_for_outcome("message", "answered")

    (note,) = await stage.app.notes.list_for(SATO)
    assert note.content == "a\ufffdb\ufffdc"


async def test_where_it_may_not_write_it_gives_up_at_once(stage: Stage) -> None:
    stage.slack.send_event(app_mention(SATO, "ヘルプ", ELSEWHERE))
    await stage.wait_for_outcome("message", "failed")
    assert len(await stage.slack.wait_for("chat.postMessage")) == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"slack_mode": "off"}, "Slack is off"),
        ({"slack_bot_token": None}, "SLACK_MODE=socket needs SLACK_BOT_TOKEN."),
        ({"slack_app_token": None}, "SLACK_MODE=socket needs SLACK_APP_TOKEN."),
        ({"slack_mode": "events", "slack_signing_secret": None}, "SLACK_MODE=events needs SLACK_SIGNING_SECRET."),
        ({"slack_bot_token": "xoxb-wrong-token"}, "Slack does not take SLACK_BOT_TOKEN (invalid_auth)"),
        ({"slack_app_token": "xapp-wrong-token"}, "Slack does not take SLACK_APP_TOKEN (invalid_auth)"),
    ],
)  # fmt: skip
async def test_a_setting_that_is_missing_or_wrong_is_named(
    slack: SlackServer,
    database_url: str,
    tmp_path: Path,
    settings: dict[str, Any],
    sentence: str,
) -> None:
    async with compose(slack_settings(slack, database_url, tmp_path, **settings)) as app:
        with pytest.raises(ConfigurationError) as error:
            await SlackAssistant(app).start()
    assert str(error.value).startswith(sentence)


async def test_there_is_no_address_in_socket_mode(stage: Stage) -> None:
    assert stage.assistant.router.routes == []


async def test_slack_may_be_away_at_the_start(
    slack: SlackServer, database_url: str, tmp_path: Path
) -> None:
    slack.always("auth.test", Fault.failing(503))
    settings = slack_settings(slack, database_url, tmp_path, slack_mode="events")
    async with on_stage(slack, settings) as stage, served(stage) as url:
        event = direct_message(SATO, "ヘルプ")
        assert (await slack.post_event(url, event)).status == 503
        slack.always("auth.test", None)
        assert (await slack.post_event(url, event, retry_num=1)).status == 200
        await stage.wait_for_outcome("message", "answered")


async def test_nothing_is_acknowledged_once_it_stops(
    posted: tuple[Stage, str], owner_url: str
) -> None:
    stage, url = posted
    await stage.assistant.stop(5)

    reply = await stage.slack.post_event(url, direct_message(SATO, "ヘルプ"))

    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert await inbox(owner_url) == []
