"""The ways to Slack and back: a connection that breaks, limits of rate, many events at once."""

import logging
import re
from pathlib import Path

import pytest

from nakamura_misaki.adapters.primary.slack.incoming import Identity
from openai_server import Fault as EmbeddingFault
from openai_server import OpenAIServer
from slack_server import (
    APP_TOKEN,
    BOT_ID,
    BOT_TOKEN,
    BOT_USER_ID,
    GENERAL,
    LINK,
    RESPONSE,
    SATO,
    SUZUKI,
    TEAM_ID,
    Fault,
    SlackServer,
    app_mention,
    direct_message,
    slash_command,
)
from slack_stage import Stage, on_stage, slack_settings, transcript

ME = Identity(TEAM_ID, BOT_USER_ID, BOT_ID)


async def test_an_answer_that_was_stored_before_the_connection_broke_is_not_repeated(
    stage: Stage,
) -> None:
    stage.slack.script("chat.postMessage", Fault.cut_after())
    await stage.ask(SATO, "ヘルプ")
    await stage.wait_for_outcome("message", "answered")

    assert [call.method for call in stage.slack.calls][-2:] == [
        "chat.postMessage",
        "conversations.history",
    ]
    assert len(stage.slack.messages) == 1


@pytest.mark.parametrize(
    "fault", [Fault.cut_before(), Fault.failing(503), Fault.refused("internal_error")]
)
async def test_an_answer_that_was_not_stored_is_posted_again(stage: Stage, fault: Fault) -> None:
    stage.slack.script("chat.postMessage", fault)
    await stage.ask(SATO, "ヘルプ")
    await stage.wait_for_outcome("message", "answered")

    assert len(stage.slack.messages) == 1


async def test_an_answer_to_which_nothing_sensible_was_said_is_not_repeated(stage: Stage) -> None:
    stage.slack.script("chat.postMessage", Fault.garbage())
    await stage.ask(SATO, "ヘルプ")
    await stage.wait_for_outcome("message", "answered")

    assert len(stage.slack.messages) == 1


async def test_slacks_rate_limit_is_waited_for(stage: Stage) -> None:
    stage.slack.script("chat.postMessage", Fault.rate_limited(1))
    await stage.ask(SATO, "ヘルプ")

    limited, posted = await stage.slack.wait_for("chat.postMessage", 2)
    assert (limited.outcome, posted.outcome) == ("http 429", "ok")
    assert posted.at - limited.at >= 1


async def test_the_acknowledgement_does_not_wait_for_slow_work(
    slack: SlackServer, database_url: str, tmp_path: Path
) -> None:
    async with OpenAIServer() as embeddings:
        settings = slack_settings(
            slack,
            database_url,
            tmp_path,
            embedding_provider="openai",
            openai_api_key=embeddings.key,
            openai_base_url=embeddings.base_url,
        )
        async with on_stage(slack, settings) as stage:
            embeddings.script(EmbeddingFault.late(0.5))
            envelope = slack.send_event(direct_message(SATO, "リリースはいつ？"))
            ack = await slack.wait_for_ack(envelope)
            assert slack.messages == []
            (answer,) = await slack.wait_for_messages()
            assert len(embeddings.requests) == 1
            await stage.wait_for_outcome("message", "answered")
    assert ack.at < answer.at


async def test_events_out_of_order_and_all_at_once_are_each_answered_once(stage: Stage) -> None:
    stage.slack.hold()
    envelopes = [
        stage.slack.send_event(direct_message(user, f"タスク登録: 仕事{number}"))
        for number in range(6)
        for user in (SATO, SUZUKI)
    ]
    stage.slack.release(lambda held: held[::-1])
    await stage.slack.wait_for_messages(12)
    redelivered = [stage.slack.redeliver(envelope) for envelope in envelopes]
    for envelope in redelivered:
        await stage.slack.wait_for_ack(envelope)

    assert stage.outcomes.count(("message", "duplicate")) == 12
    assert len(stage.slack.messages) == 12
    told = [transcript(message.blocks).split("\n")[1] for message in stage.slack.messages_in(SATO)]
    assert sorted(told) == [f"*仕事{number}*" for number in range(6)]


async def test_it_stays_connected(stage: Stage) -> None:
    first = stage.slack.connections[0]
    first.disconnect("refresh_requested")
    await stage.slack.wait_until(lambda: len(stage.slack.sockets.opened) == 2)
    await stage.slack.wait_for_connections(1)
    await stage.ask(SATO, "ヘルプ")

    stage.slack.connections[0].cut()
    await stage.slack.wait_until(lambda: len(stage.slack.sockets.opened) == 3, 10)
    await stage.slack.wait_for_connections(1)
    await stage.ask(SATO, "ヘルプ")


async def test_a_websocket_whose_ticket_is_spent_is_asked_for_anew(
    slack: SlackServer, database_url: str, tmp_path: Path
) -> None:
    settings = slack_settings(slack, database_url, tmp_path)
    async with on_stage(slack, settings, ping_interval=0.2) as stage:
        opened = len(slack.sockets.opened)
        slack.always(LINK, Fault.failing(503))
        slack.connections[0].cut()
        await slack.wait_for("apps.connections.open", 2)
        # slack_sdk by itself would show this ticket for ever.
        slack.sockets._tickets.clear()
        slack.always(LINK, None)

        await slack.wait_until(lambda: len(slack.sockets.opened) > opened, 15)
        await slack.wait_for_connections(1)
        await stage.ask(SATO, "ヘルプ")


async def test_a_response_url_that_ran_out_costs_nothing_else(stage: Stage) -> None:
    stage.slack.script(RESPONSE, Fault.refused("expired_url"), Fault.failing(500))
    stage.slack.send_slash_command(slash_command(SATO, "ヘルプ"))
    await stage.wait_for_outcome("command", "failed")
    stage.slack.send_slash_command(slash_command(SATO, "ヘルプ"))
    await stage.wait_for_outcome("command", "answered")

    assert len(stage.slack.ephemerals) == 1


async def test_a_message_storm_keeps_to_slacks_limit_and_loses_nothing(stage: Stage) -> None:
    stage.slack.rate_limit("chat.postMessage", 5)
    envelopes = [stage.slack.send_event(app_mention(SATO, "ヘルプ")) for _ in range(8)]
    for envelope in envelopes:
        await stage.slack.wait_for_ack(envelope)
    await stage.slack.wait_for_messages(8, GENERAL, 20)

    assert len(stage.slack.messages_in(GENERAL)) == 8


async def test_answers_to_one_channel_are_posted_one_after_the_other(stage: Stage) -> None:
    stage.slack.script("chat.postMessage", Fault.late_answer(0.2))
    for user in (SATO, SUZUKI):
        stage.slack.send_event(app_mention(user, "ヘルプ"))
    await stage.slack.wait_for_messages(2, GENERAL)

    first, second = await stage.slack.wait_for("chat.postMessage", 2)
    assert second.at - first.at >= 0.2


async def test_neither_secrets_nor_what_people_write_goes_into_the_log(
    slack: SlackServer,
    database_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = slack_settings(slack, database_url, tmp_path)
    async with on_stage(slack, settings, ping_interval=0.1) as stage:
        slack.script("chat.postMessage", Fault.failing(500), Fault.garbage())
        await stage.ask(SATO, "メモ: 誰にも言わない")
        slack.script(LINK, Fault.failing(503))
        opened = len(slack.sockets.opened)
        slack.connections[0].cut()
        await slack.wait_until(lambda: len(slack.sockets.opened) > opened, 15)

    formatter = logging.Formatter("%(name)s %(message)s")
    logged = [formatter.format(record) for record in caplog.records]
    assert any("Failed to connect" in line and "ticket=***" in line for line in logged)
    for line in logged:
        if line.startswith(("asyncio ", "aiohttp.access")):
            continue
        for secret in (BOT_TOKEN, APP_TOKEN, "誰にも言わない"):
            assert secret not in line
        assert not re.search("ticket=[0-9a-f]", line)
