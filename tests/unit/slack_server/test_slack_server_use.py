"""SlackServer as a thing to be used: by a plain test, waited on, stopped, as a program."""

import asyncio
import logging
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

import slack_server
from slack_probe import (
    answering,
    connected,
)
from slack_server import (
    APP_TOKEN,
    SATO,
    Fault,
    SlackServer,
    direct_message,
)


def test_a_plain_test_can_use_it_as_well() -> None:
    with SlackServer() as slack:

        async def one_answer() -> None:
            async with connected(slack, answering(slack)):
                sent = await asyncio.to_thread(slack.send_event, direct_message(SATO, "a"))
                await asyncio.to_thread(slack.wait_for_ack_sync, sent)
                await asyncio.to_thread(slack.wait_for_messages_sync)

        asyncio.run(one_answer())
        slack.wait_for_connections_sync(0)
        assert [call.outcome for call in slack.wait_for_sync("auth.test")] == ["ok"]


async def test_a_wait_that_ends_in_vain_tells_what_came_instead(
    slack: SlackServer, client: AsyncWebClient
) -> None:
    await client.auth_test()
    with pytest.raises(TimeoutError, match=r"0 messages were posted; .*: auth.test \(ok\)"):
        await slack.wait_for_messages(timeout=0.01)
    with pytest.raises(ConnectionError, match="no app is connected"):
        slack.send_event(direct_message(SATO, "a"))


async def test_it_stops_at_once_whatever_is_under_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "aiohttp")
    async with aiohttp.ClientSession() as session:
        async with SlackServer() as slack:
            slack.script("auth.test", Fault.late(60))
            opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(
                app_token=APP_TOKEN
            )
            socket = await session.ws_connect(opened["url"])
            asking = asyncio.create_task(session.post(f"{slack.api_url}auth.test"))
            await slack.wait_until(lambda: len(slack.calls) == 2)
            began = time.monotonic()
        assert time.monotonic() - began < 2
        await socket.close()
        (ended,) = await asyncio.gather(asking, return_exceptions=True)
        assert not isinstance(ended, asyncio.CancelledError)
    assert caplog.records == []


async def test_as_a_program_it_passes_on_what_is_typed_and_prints_what_is_answered() -> None:
    program = Path(slack_server.__file__)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), "--chat"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    api_url, bot_token, app_token = (await process.stdout.readline()).decode().split()
    app = AsyncApp(client=AsyncWebClient(bot_token, base_url=api_url))

    async def repeat(event: dict[str, Any], say: Any) -> None:
        await say(f"「{event['text']}」ですね")

    app.event("message")(repeat)
    handler = AsyncSocketModeHandler(app, app_token)
    await handler.connect_async()
    process.stdin.write("ヘルプ\n".encode())
    assert (await process.stdout.readline()).decode() == "「ヘルプ」ですね\n"
    await handler.close_async()
    process.stdin.close()
    assert await process.wait() == 0
