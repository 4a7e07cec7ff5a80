"""SlackServer's Socket Mode and Events API, by bolt."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from slack_probe import (
    BLOCKS,
    SECTION,
    answering,
    app_at,
    connected,
)
from slack_server import (
    APP_TOKEN,
    BOT_ID,
    BOT_USER_ID,
    GENERAL,
    LINK,
    RESPONSE,
    SATO,
    SUZUKI,
    Connection,
    Fault,
    SlackServer,
    app_mention,
    bot_message,
    button_click,
    channel_message,
    direct_message,
    global_shortcut,
    message_changed,
    message_shortcut,
    slash_command,
    view_submission,
)


async def test_a_mention_comes_in_the_answer_goes_out_and_the_ack_is_recorded(
    slack: SlackServer,
) -> None:
    async with connected(slack, answering(slack)):
        event = app_mention(SATO, "ヘルプ")
        sent = slack.send_event(event, event_id="Ev1")
        (answer,) = await slack.wait_for_messages(1)
        ack = await slack.wait_for_ack(sent)
    assert answer.text == f"「<@{BOT_USER_ID}> ヘルプ」ですね"
    assert (answer.channel, answer.thread_ts) == (GENERAL, event["ts"])
    assert (ack.envelope_id, ack.payload) == (sent, None)
    assert [envelope.event_id for envelope in slack.envelopes] == ["Ev1"]
    assert slack.unacked == []


async def test_an_app_gets_its_own_messages_back_and_leaves_them_alone() -> None:
    async with SlackServer(echoes=True) as slack, connected(slack, answering(slack)):
        slack.send_event(direct_message(SATO, "こんにちは"))
        await slack.wait_until(lambda: len(slack.acks) == 2)
        assert [envelope.payload["event"].get("bot_id") for envelope in slack.envelopes] == [
            None,
            BOT_ID,
        ]
        assert len(slack.messages) == 1


async def test_other_kinds_of_messages_reach_the_app_in_their_shapes(slack: SlackServer) -> None:
    app, seen = app_at(slack), []

    async def keep(event: dict[str, Any]) -> None:
        seen.append(event)

    app.event("message")(keep)
    app.event({"type": "message", "subtype": "message_changed"})(keep)
    app.event({"type": "message", "subtype": "bot_message"})(keep)
    async with connected(slack, app):
        sent = [
            slack.send_event(message_changed(SATO, "b", GENERAL, "1700000000.000100")),
            slack.send_event(bot_message("build is green", user=None, subtype="bot_message")),
            slack.send_event(direct_message(SUZUKI, "c", thread_ts="1700000000.000100")),
        ]
        for envelope_id in sent:
            await slack.wait_for_ack(envelope_id)
    subtypes = {event.get("subtype") for event in seen}
    assert subtypes == {"message_changed", "bot_message", None}


async def test_one_event_over_two_connections_is_one_event_id_in_two_envelopes(
    slack: SlackServer,
) -> None:
    app, seen = app_at(slack), []

    async def keep(body: dict[str, Any]) -> None:
        seen.append(body["event_id"])

    app.event("app_mention")(keep)
    async with connected(slack, app), connected(slack, app):
        await slack.wait_for_connections(2)
        sent = slack.send_event_to_all(app_mention(SATO, "a"), event_id="Ev7")
        acks = [await slack.wait_for_ack(envelope_id) for envelope_id in sent]
        assert sorted(ack.connection for ack in acks) == [1, 2]
        assert seen == ["Ev7", "Ev7"]
        in_turn = [slack.send_event(app_mention(SATO, "a")) for _ in range(2)]
        acks = [await slack.wait_for_ack(envelope_id) for envelope_id in in_turn]
        assert sorted(ack.connection for ack in acks) == [1, 2]


async def test_what_was_not_acked_in_time_is_delivered_again_as_the_next_attempt(
    slack: SlackServer,
) -> None:
    app, attempts = app_at(slack), []

    async def keep(request: Any, body: dict[str, Any]) -> None:
        attempts.append((body["event_id"], request.headers.get("x-slack-retry-num")))

    app.event("app_mention")(keep)
    slack.ignore_acks()
    async with connected(slack, app):
        first = slack.send_event(app_mention(SATO, "a"), event_id="Ev8")
        assert (await slack.wait_for_ack(first)).counted is False
        assert [envelope.envelope_id for envelope in slack.unacked] == [first]
        slack.ignore_acks(False)
        second = slack.redeliver(first)
        assert (await slack.wait_for_ack(second)).counted is True
    assert slack.envelopes[-1].retry_attempt == 1
    assert slack.envelopes[-1].retry_reason == "timeout"
    assert attempts == [("Ev8", ["0"]), ("Ev8", ["1"])]


async def test_what_is_held_back_comes_in_the_order_that_is_asked_for(slack: SlackServer) -> None:
    app, seen = app_at(slack), []

    async def keep(event: dict[str, Any]) -> None:
        seen.append(event["text"])

    app.event("message")(keep)
    async with connected(slack, app):
        slack.hold()
        sent = [slack.send_event(direct_message(SATO, text)) for text in "abc"]
        slack.release(lambda held: held[::-1])
        for envelope_id in sent:
            await slack.wait_for_ack(envelope_id)
    assert seen == ["c", "b", "a"]


async def test_acks_out_of_order_are_recorded_in_the_order_they_came(slack: SlackServer) -> None:
    app, second_is_acked = app_at(slack), asyncio.Event()

    async def wait_for_the_other(ack: Any, action: dict[str, Any]) -> None:
        if action["value"] == "first":
            await second_is_acked.wait()
        await ack()

    app.action("done")(wait_for_the_other)
    async with connected(slack, app):
        first = slack.send_interaction(button_click(SATO, "done", "first"))
        second = slack.send_interaction(button_click(SATO, "done", "second"))
        await slack.wait_for_ack(second)
        second_is_acked.set()
        await slack.wait_for_ack(first)
    assert [ack.envelope_id for ack in slack.acks] == [second, first]


@pytest.mark.parametrize(
    "end",
    [lambda c: c.cut(), lambda c: c.close(), lambda c: c.disconnect("refresh_requested")],
    ids=["cut", "closed", "asked to refresh"],
)
async def test_an_app_comes_back_when_its_connection_ends(
    slack: SlackServer, end: Callable[[Connection], None]
) -> None:
    async with connected(slack, answering(slack), ping_interval=0.05):
        (connection,) = slack.connections
        end(connection)
        await slack.wait_until(lambda: any(c.number > connection.number for c in slack.connections))
        sent = slack.send_event(direct_message(SATO, "まだいますか"))
        await slack.wait_for_ack(sent)
    assert not connection.is_open


async def test_a_ping_is_answered(slack: SlackServer) -> None:
    async with connected(slack, app_at(slack)):
        (connection,) = slack.connections
        connection.ping(b"still there?")
        await slack.wait_until(lambda: connection.pongs == [b"still there?"])


async def test_a_ticket_opens_one_connection_and_faults_none(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    opened = await client.apps_connections_open(app_token=APP_TOKEN)
    slack.script(LINK, Fault.failing(503))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as failed:
            await session.ws_connect(opened["url"])
        assert failed.value.status == 503
        async with session.ws_connect(opened["url"]) as socket:
            assert (await socket.receive_json())["type"] == "hello"
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(opened["url"])
            assert refused.value.status == 403


async def test_a_click_opens_a_view_and_replaces_its_message(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    app = app_at(slack)

    async def finish(ack: Any, body: dict[str, Any], respond: Any, client: Any) -> None:
        await ack()
        title = {"type": "plain_text", "text": "完了"}
        view = {"type": "modal", "title": title, "blocks": [SECTION]}
        await client.views_open(trigger_id=body["trigger_id"], view=view)
        await respond(text=f"{body['actions'][0]['value']} を完了しました", replace_original=True)

    app.action("done")(finish)
    await client.chat_postMessage(channel=SATO, text="a", blocks=BLOCKS)
    (message,) = slack.messages
    async with connected(slack, app):
        await slack.wait_for_ack(slack.send_interaction(button_click(SATO, "done", None, message)))
        await slack.wait_for(RESPONSE)
    assert message.words == "task-7 を完了しました"
    assert [view["type"] for view in slack.views] == ["modal"]


async def test_a_response_url_takes_five_answers(slack: SlackServer) -> None:
    payload = slack.prepared(slash_command(SATO, "ヘルプ"))
    webhook = AsyncWebhookClient(payload["response_url"])
    for number in range(5):
        answer = await webhook.send(text=f"n{number}")
        assert answer.status_code == 200
    sixth = await webhook.send(text="n5")
    assert (sixth.status_code, json.loads(sixth.body)["error"]) == (404, "used_url")
    assert [(m.text, m.only_for) for m in slack.ephemerals[:1]] == [("n0", SATO)]
    assert len(slack.ephemerals) == 5


async def test_commands_shortcuts_and_submissions_reach_their_listeners(
    slack: SlackServer,
) -> None:
    app, seen = app_at(slack), []

    async def keep(ack: Any, body: dict[str, Any]) -> None:
        seen.append(body.get("command") or body["type"])
        await ack()

    async def answer(ack: Any, body: dict[str, Any]) -> None:
        seen.append(body["command"])
        await ack(text=f"{body['user_name']}: {body['text']}")

    app.command("/misaki")(answer)
    app.shortcut("save_note")(keep)
    app.shortcut("new_task")(keep)
    app.view("task")(keep)
    async with connected(slack, app):
        command = slack.send_slash_command(slash_command(SATO, "ヘルプ"))
        sent = [
            slack.send_interaction(
                message_shortcut(SATO, "save_note", channel_message(SUZUKI, "決定です"))
            ),
            slack.send_interaction(global_shortcut(SATO, "new_task")),
            slack.send_interaction(view_submission(SATO, "task", {})),
        ]
        assert (await slack.wait_for_ack(command)).payload == {"text": "sato: ヘルプ"}
        for envelope_id in sent:
            await slack.wait_for_ack(envelope_id)
    assert set(seen) == {"/misaki", "message_action", "shortcut", "view_submission"}


@asynccontextmanager
async def served(app: AsyncApp) -> AsyncIterator[str]:
    """The address of an app behind a real HTTP server."""
    handler = AsyncSlackRequestHandler(app)

    async def endpoint(request: Request) -> Response:
        return await handler.handle(request)

    routes = [Route("/slack/events", endpoint, methods=["POST"])]
    config = uvicorn.Config(
        Starlette(routes=routes), port=0, log_config=None, lifespan="off", ws="none"
    )
    config.load()
    socket = config.bind_socket()
    socket.listen()  # connections may come before the server is up
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[socket]))
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/slack/events"
    finally:
        server.should_exit = True
        await serving


async def test_signed_requests_are_taken_and_wrongly_signed_ones_refused(
    slack: SlackServer,
) -> None:
    event = direct_message(SATO, "こんにちは")
    async with served(answering(slack)) as url:
        taken = await slack.post_event(url, event, retry_num=1)
        await slack.wait_for_messages(1)
        wrong = await slack.post_event(url, event, secret="not the secret")
        old = await slack.post_event(url, event, timestamp=int(time.time()) - 301)
        headers, body = slack.signed_request(slack.callback(event))
        altered = await slack.post(url, headers, body.replace(b"im", b"it"))
        challenge = await slack.post_challenge(url, "c-1")
    assert [reply.status for reply in (taken, wrong, old, altered)] == [200, 401, 401, 401]
    assert (challenge.status, json.loads(challenge.text)) == (200, {"challenge": "c-1"})
    assert len(slack.messages) == 1


async def test_clicks_and_commands_are_posted_as_forms(slack: SlackServer) -> None:
    app, seen = app_at(slack), []

    async def keep(ack: Any, payload: dict[str, Any]) -> None:
        seen.append(payload.get("value") or payload["text"])
        await ack()

    app.action("done")(keep)
    app.command("/misaki")(keep)
    async with served(app) as url:
        clicked = await slack.post_interaction(url, button_click(SATO, "done", "task-7"))
        commanded = await slack.post_slash_command(url, slash_command(SATO, "タスク一覧"))
    assert (clicked.status, commanded.status) == (200, 200)
    assert seen == ["task-7", "タスク一覧"]
