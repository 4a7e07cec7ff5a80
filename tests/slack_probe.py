"""Slack's own clients, unchanged, pointed at the local server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_interval_calculators import FixedValueRetryIntervalCalculator
from slack_sdk.web.async_client import AsyncWebClient

from slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    SIGNING_SECRET,
    SlackServer,
)

Listener = Callable[..., Awaitable[None]]

AT_ONCE = FixedValueRetryIntervalCalculator(0.0)
BUTTON = {
    "type": "button",
    "action_id": "done",
    "text": {"type": "plain_text", "text": "完了"},
    "value": "task-7",
}
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "*DB移行*"}}
BLOCKS = [SECTION, {"type": "actions", "elements": [BUTTON]}]


@asynccontextmanager
async def connected(
    slack: SlackServer, app: AsyncApp, *, ping_interval: float = 10
) -> AsyncIterator[AsyncSocketModeHandler]:
    """An app's own Socket Mode connection."""
    handler = AsyncSocketModeHandler(app, APP_TOKEN, ping_interval=ping_interval)
    try:
        await handler.connect_async()
        yield handler
    finally:
        await handler.close_async()


def app_at(slack: SlackServer, **more: Any) -> AsyncApp:
    client = AsyncWebClient(BOT_TOKEN, base_url=slack.api_url)
    return AsyncApp(client=client, signing_secret=SIGNING_SECRET, **more)


def answering(slack: SlackServer) -> AsyncApp:
    """An app that repeats what it is told."""
    app = app_at(slack)

    async def repeat(event: dict[str, Any], say: Any) -> None:
        await say(text=f"「{event['text']}」ですね", thread_ts=event["ts"])

    app.event("app_mention")(repeat)
    app.event("message")(repeat)
    return app


async def refusal(call: Awaitable[Any]) -> Any:
    with pytest.raises(SlackApiError) as caught:
        await call
    return caught.value.response
