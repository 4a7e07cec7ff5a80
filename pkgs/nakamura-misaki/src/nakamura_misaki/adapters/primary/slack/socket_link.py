"""Socket Mode: a websocket that the assistant opens, so that it needs no public address.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import logging
import time
from typing import Any

import aiohttp
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.adapter.socket_mode.internals import build_headers
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from nakamura_misaki.adapters.primary.slack.receiving import Receiver
from nakamura_misaki.adapters.primary.slack.sdk_logging import SDK_LOGGER
from nakamura_misaki.domain.errors import ConfigurationError

_logger = logging.getLogger(__name__)

_CONNECTING = 10.0
_RECEIVING = 2.0
_WRONG_TOKEN = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "not_allowed_token_type",
        "token_revoked",
        "account_inactive",
        "forbidden_team",
    }
)


class SocketLink:
    """Keeps a connection to Slack, and hands on what comes over it.

    slack_sdk connects anew by itself, but for ever to the address that it was given
    last, which is good for one connection only. So a connection that stays away
    is replaced here. ``ping_interval`` is in seconds.
    """

    def __init__(
        self,
        bolt: AsyncApp,
        client: AsyncWebClient,
        receiver: Receiver,
        app_token: str,
        ping_interval: float,
    ) -> None:
        self._bolt = bolt
        self._client = client
        self._receiver = receiver
        self._app_token = app_token
        self._ping_interval = ping_interval
        self._handler: _Handler | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect; where Slack can't be reached now, go on trying. Raises ConfigurationError."""
        await self._try_to_connect()
        self._watch = asyncio.create_task(self._keep_connected(), name="slack-socket")

    async def stop(self) -> None:
        """Acknowledge what is being received, then close the connection."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self._close()

    async def _try_to_connect(self) -> None:
        try:
            await self._connect()
        except SlackApiError as error:
            if (code := error.response.get("error")) in _WRONG_TOKEN:
                raise ConfigurationError(
                    f"Slack does not take SLACK_APP_TOKEN ({code}); it is the app-level token with"
                    " the scope connections:write."
                ) from None
            _logger.warning("Slack refuses a connection (%s); trying again", code)
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            _logger.warning(
                "Slack can't be reached over Socket Mode (%s); trying again", type(error).__name__
            )

    async def _connect(self) -> None:
        handler = _Handler(
            self._receiver,
            self._bolt,
            self._app_token,
            logger=SDK_LOGGER,
            web_client=self._client,
            ping_interval=self._ping_interval,
        )
        self._handler = handler
        try:
            async with asyncio.timeout(_CONNECTING):
                handler.client.wss_uri = await handler.client.issue_new_wss_url()
                await handler.connect_async()  # type: ignore[no-untyped-call]  # bolt's
        except BaseException:
            await self._close()
            raise
        _logger.info("connected to Slack over Socket Mode")

    async def _keep_connected(self) -> None:
        down_since: float | None = None
        while True:
            await asyncio.sleep(self._ping_interval / 2)
            if self._handler is not None and await self._handler.client.is_connected():
                down_since = None
                continue
            now = time.monotonic()
            down_since = down_since or now
            # Less than that, and slack_sdk is still at it.
            if self._handler is None or now - down_since > 3 * self._ping_interval:
                await self._close()
                try:
                    await self._try_to_connect()
                except ConfigurationError as error:
                    _logger.error("no connection to Slack: %s", error)
                down_since = None

    async def _close(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            await handler.finish()


class _Handler(AsyncSocketModeHandler):
    """bolt's handler, but for the work, which begins after the acknowledgement was sent."""

    def __init__(self, receiver: Receiver, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._receiver = receiver
        self._handling: set[asyncio.Task[object]] = set()

    async def handle(self, client: SocketModeClient, req: SocketModeRequest) -> None:  # type: ignore[override]  # only ever this client
        task = asyncio.current_task()
        assert task is not None  # the client runs each envelope in a task of its own
        self._handling.add(task)
        try:
            request = AsyncBoltRequest(
                mode="socket_mode", body=req.payload, headers=build_headers(req)
            )
            response = await self.app.async_dispatch(request)
            try:
                await send_async_response(client, req, response, time.time())
            finally:
                # Also when the connection broke: what is stored is worked on.
                self._receiver.begin(request)
        finally:
            self._handling.discard(task)

    async def finish(self) -> None:
        """Let what is being received be acknowledged, then end every task and connection."""
        if self._handling:
            await asyncio.wait(set(self._handling), timeout=_RECEIVING)
        client = self.client
        await client.close()  # type: ignore[no-untyped-call]  # the SDK's
        tasks = (client.message_processor, client.current_session_monitor, client.message_receiver)
        running = [task for task in tasks if task is not None]
        if running:
            await asyncio.wait(running, timeout=_RECEIVING)
