"""The local Slack, with nothing between it and its clients."""

from collections.abc import AsyncIterator

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from slack_server import (
    BOT_TOKEN,
    SlackServer,
)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine between client and server."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as running:
        yield running


@pytest.fixture
def client(slack: SlackServer) -> AsyncWebClient:
    """Without the retries that slack_sdk makes by itself."""
    return AsyncWebClient(BOT_TOKEN, base_url=slack.api_url, retry_handlers=[])
