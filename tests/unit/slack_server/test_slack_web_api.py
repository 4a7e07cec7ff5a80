"""SlackServer's Web API, by Slack's own client."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

from slack_probe import (
    AT_ONCE,
    BLOCKS,
    BUTTON,
    SECTION,
    refusal,
)
from slack_server import (
    APP_TOKEN,
    ARCHIVED,
    BOT_ID,
    BOT_TOKEN,
    BOT_USER_ID,
    ELSEWHERE,
    EMMA,
    GENERAL,
    LEFT_THE_TEAM,
    NOBODY,
    NOWHERE,
    SATO,
    TOKEN_USER_ID,
    USER_TOKEN,
    Fault,
    SlackServer,
    channel_message,
    dm,
)


async def test_auth_test_tells_a_bots_token_from_a_persons(slack: SlackServer) -> None:
    bot = await AsyncWebClient(BOT_TOKEN, base_url=slack.api_url).auth_test()
    person = await AsyncWebClient(USER_TOKEN, base_url=slack.api_url).auth_test()
    assert (bot["user_id"], bot["bot_id"]) == (BOT_USER_ID, BOT_ID)
    assert person["user_id"] == TOKEN_USER_ID
    assert "bot_id" not in person.data


@pytest.mark.parametrize(
    ("token", "error"),
    [("xoxb-wrong", "invalid_auth"), (APP_TOKEN, "not_allowed_token_type"), (None, "not_authed")],
)
async def test_other_tokens_are_refused(slack: SlackServer, token: str | None, error: str) -> None:
    client = AsyncWebClient(token, base_url=slack.api_url)
    assert (await refusal(client.auth_test()))["error"] == error


async def test_connections_are_opened_with_the_apps_own_token_only(client: AsyncWebClient) -> None:
    opened = await client.apps_connections_open(app_token=APP_TOKEN)
    assert opened["url"].startswith("ws://127.0.0.1:")
    refused = await refusal(client.apps_connections_open(app_token=BOT_TOKEN))
    assert refused["error"] == "not_allowed_token_type"


async def test_an_unknown_method_is_refused(client: AsyncWebClient) -> None:
    assert (await refusal(client.api_call("chat.whisper")))["error"] == "unknown_method"


async def test_a_posted_message_is_kept_with_what_it_was_posted_with(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    metadata = {"event_type": "reminder", "event_payload": {"handoff": "h-1"}}
    posted = await client.chat_postMessage(
        channel=GENERAL, text="DB移行", blocks=BLOCKS, metadata=metadata
    )
    (message,) = slack.messages
    assert (message.channel, message.ts, message.user) == (GENERAL, posted["ts"], BOT_USER_ID)
    assert (message.text, message.metadata) == ("DB移行", metadata)
    assert message.buttons["done"]["value"] == "task-7"
    assert message.words == "*DB移行*\n完了"
    (call,) = slack.calls
    assert (call.method, call.token, call.outcome) == ("chat.postMessage", BOT_TOKEN, "ok")
    assert call.arguments["blocks"] == BLOCKS


async def test_a_form_is_read_as_json_is(slack: SlackServer) -> None:
    form = {"channel": GENERAL, "text": "a", "blocks": json.dumps(BLOCKS), "token": BOT_TOKEN}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{slack.api_url}chat.postMessage", data=form) as answer,
    ):
        assert (await answer.json())["ok"] is True
    (call,) = slack.calls
    assert call.arguments == {"channel": GENERAL, "text": "a", "blocks": BLOCKS}


async def test_what_is_posted_to_a_user_goes_to_the_direct_messages(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=SATO, text="引き継ぎです")
    opened = await client.conversations_open(users=SATO)
    assert posted["channel"] == opened["channel"]["id"] == dm(SATO)
    assert [message.text for message in slack.messages_in(SATO)] == ["引き継ぎです"]


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        (NOWHERE, "channel_not_found"),
        (NOBODY, "channel_not_found"),
        (ELSEWHERE, "not_in_channel"),
        (ARCHIVED, "is_archived"),
        (LEFT_THE_TEAM, "user_disabled"),
        (BOT_USER_ID, "cannot_dm_bot"),
    ],
)
async def test_where_nothing_can_be_posted_is_refused(
    client: AsyncWebClient, channel: str, error: str
) -> None:
    refused = await refusal(client.chat_postMessage(channel=channel, text="a"))
    assert refused["error"] == error


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ([SECTION] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
        (
            [section("x" * 3_001)],
            "must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
        ),
        (
            [SECTION, section("")],
            "must be more than 0 characters [json-pointer:/blocks/1/text/text]",
        ),
        (
            [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
            "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
        ),
        (
            [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
            "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]",
        ),
        (
            [actions(BUTTON | {"value": "x" * 2_001})],
            "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
        ),
        (
            [actions(BUTTON, BUTTON)],
            "`action_id` already exists: done [json-pointer:/blocks/0/elements/1/action_id]",
        ),
        (
            [{"type": "context", "elements": [SECTION["text"]] * 11}],
            "no more than 10 items allowed [json-pointer:/blocks/0/elements]",
        ),
        ([{"type": "banner"}], "unsupported type: banner [json-pointer:/blocks/0/type]"),
        (
            [SECTION | {"accessory": {"type": "lever"}}],
            "unsupported type: lever [json-pointer:/blocks/0/accessory/type]",
        ),
        ([{"type": "section"}], "missing required field: text [json-pointer:/blocks/0]"),
    ],
)
async def test_invalid_blocks_are_refused_with_what_is_wrong_and_where(
    slack: SlackServer, client: AsyncWebClient, blocks: list[dict[str, Any]], problem: str
) -> None:
    refused = await refusal(client.chat_postMessage(channel=GENERAL, text="a", blocks=blocks))
    assert refused["error"] == "invalid_blocks"
    assert refused["errors"] == [problem]
    assert refused["response_metadata"]["messages"] == [f"[ERROR] {problem}"]
    assert slack.messages == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"text": "a", "blocks": [section("x" * 3_000)] * 5}, "msg_blocks_too_long"),
        ({"text": "a", "metadata": {"event_type": "x"}}, "invalid_metadata_schema"),
    ],
)
async def test_messages_that_are_no_messages_are_refused(
    client: AsyncWebClient, arguments: dict[str, Any], error: str
) -> None:
    refused = await refusal(
        client.api_call("chat.postMessage", json={"channel": GENERAL, **arguments})
    )
    assert refused["error"] == error


async def test_a_history_is_paged_bounded_and_tells_metadata_when_asked(
    client: AsyncWebClient,
) -> None:
    metadata = {"event_type": "reminder", "event_payload": {"number": 3}}
    posted = [
        await client.chat_postMessage(channel=GENERAL, text=f"n{number}") for number in range(3)
    ]
    last = await client.chat_postMessage(channel=GENERAL, text="n3", metadata=metadata)
    await client.chat_postMessage(channel=GENERAL, text="reply", thread_ts=last["ts"])

    page = await client.conversations_history(channel=GENERAL, limit=3, include_all_metadata=True)
    assert [message["text"] for message in page["messages"]] == ["n3", "n2", "n1"]
    assert page["messages"][0]["metadata"] == metadata
    cursor = page["response_metadata"]["next_cursor"]
    rest = await client.conversations_history(channel=GENERAL, limit=3, cursor=cursor)
    assert [message["text"] for message in rest["messages"]] == ["n0"]
    assert rest["has_more"] is False

    oldest = posted[1]["ts"]
    after = await client.conversations_history(channel=GENERAL, oldest=oldest)
    assert [message["text"] for message in after["messages"]] == ["n3", "n2"]
    assert "metadata" not in after["messages"][0]
    since = await client.conversations_history(channel=GENERAL, oldest=oldest, inclusive=True)
    assert [message["text"] for message in since["messages"]] == ["n3", "n2", "n1"]
    thread = await client.conversations_replies(channel=GENERAL, ts=last["ts"])
    assert [message["text"] for message in thread["messages"]] == ["n3", "reply"]


async def test_own_messages_are_rewritten_and_deleted(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    posted = await client.chat_postMessage(channel=GENERAL, text="a", blocks=BLOCKS)
    await client.chat_update(channel=GENERAL, ts=posted["ts"], text="b")
    (message,) = slack.messages
    assert (message.words, message.buttons) == ("b", {})
    other = AsyncWebClient(USER_TOKEN, base_url=slack.api_url)
    refused = await refusal(other.chat_update(channel=GENERAL, ts=posted["ts"], text="c"))
    assert refused["error"] == "cant_update_message"
    await client.chat_delete(channel=GENERAL, ts=posted["ts"])
    assert message.deleted
    assert (await client.conversations_history(channel=GENERAL))["messages"] == []
    gone = await refusal(client.chat_delete(channel=GENERAL, ts=posted["ts"]))
    assert gone["error"] == "message_not_found"


async def test_people_and_channels_are_told_of(client: AsyncWebClient) -> None:
    emma = (await client.users_info(user=EMMA))["user"]
    assert emma["tz"] == "America/New_York"
    assert emma["tz_offset"] in (-5 * 3_600, -4 * 3_600)
    assert (await refusal(client.users_info(user=NOBODY)))["error"] == "user_not_found"
    channel = (await client.conversations_info(channel=dm(SATO)))["channel"]
    assert (channel["is_im"], channel["user"]) == (True, SATO)
    assert (await client.bots_info(bot=BOT_ID))["bot"]["user_id"] == BOT_USER_ID


async def test_what_a_user_wrote_can_be_reacted_to(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    event = slack.callback(channel_message(SATO, "誰か見てください"))["event"]
    arguments = {"channel": GENERAL, "timestamp": event["ts"], "name": "eyes"}
    await client.reactions_add(**arguments)
    assert (await refusal(client.reactions_add(**arguments)))["error"] == "already_reacted"
    nowhere = arguments | {"timestamp": "1.000000"}
    assert (await refusal(client.reactions_add(**nowhere)))["error"] == "message_not_found"
    history = await client.conversations_history(channel=GENERAL)
    assert history["messages"][0]["reactions"][0]["name"] == "eyes"


async def test_faults_come_in_order_and_each_method_has_its_own(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    slack.script("chat.postMessage", Fault.failing(503), Fault.refused("fatal_error"))
    await client.auth_test()
    failed = await refusal(client.chat_postMessage(channel=GENERAL, text="a"))
    assert failed.status_code == 503
    refused = await refusal(client.chat_postMessage(channel=GENERAL, text="a"))
    assert refused["error"] == "fatal_error"
    await client.chat_postMessage(channel=GENERAL, text="a")
    assert [call.outcome for call in slack.calls] == ["ok", "http 503", "fatal_error", "ok"]
    slack.always("auth.test", Fault.refused("account_inactive"))
    for _ in range(2):
        assert (await refusal(client.auth_test()))["error"] == "account_inactive"
    slack.always("auth.test", None)
    await client.auth_test()


async def test_a_connection_cut_before_leaves_nothing_and_one_cut_after_leaves_the_message(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    slack.script("chat.postMessage", Fault.cut_before(), Fault.cut_after())
    for kept in (0, 1):
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.chat_postMessage(channel=GENERAL, text="a")
        assert len(slack.messages) == kept
    assert [call.outcome for call in slack.calls] == ["cut before", "cut after"]


async def test_the_sdks_own_retry_posts_twice_what_was_cut_after_it_was_stored(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    client.retry_handlers.append(AsyncConnectionErrorRetryHandler(interval_calculator=AT_ONCE))
    slack.script("chat.postMessage", Fault.cut_after())
    await client.chat_postMessage(channel=GENERAL, text="a")
    assert [message.text for message in slack.messages] == ["a", "a"]


async def test_server_errors_are_retried_by_the_sdks_handler(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    client.retry_handlers.append(AsyncServerErrorRetryHandler(interval_calculator=AT_ONCE))
    slack.script("chat.postMessage", Fault.failing(500))
    await client.chat_postMessage(channel=GENERAL, text="a")
    assert len(slack.messages) == 1


async def test_a_rate_limit_holds_for_each_channel_and_its_retry_after_suffices(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    slack.rate_limit("chat.postMessage", 1)
    await client.chat_postMessage(channel=GENERAL, text="a")
    await client.chat_postMessage(channel=SATO, text="b")
    limited = await refusal(client.chat_postMessage(channel=GENERAL, text="c"))
    assert (limited.status_code, limited["error"]) == (429, "ratelimited")
    assert limited.headers["Retry-After"] == "1"
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=1))
    await client.chat_postMessage(channel=GENERAL, text="c")
    first, second = slack.messages_in(GENERAL)
    assert second.at - first.at >= 1


async def test_a_late_answer_comes_after_the_message_was_stored(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    slack.script("chat.postMessage", Fault.late_answer(60))
    posting = asyncio.create_task(client.chat_postMessage(channel=GENERAL, text="a"))
    await slack.wait_for_messages(1)
    assert not posting.done()
    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting
