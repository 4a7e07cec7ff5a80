"""What the assistant asks of Slack: who it is, and to take an answer.

A connection that breaks while a message is posted leaves it open whether the
message is there. So posting is not simply tried again: the answer carries, as
its metadata, the event that it answers, and is looked for first. Where the app may
not read the conversation (no ``history`` scope), it is posted again.
"""

import asyncio
import logging
from weakref import WeakValueDictionary

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.async_handler import AsyncRetryHandler
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from nakamura_misaki.adapters.primary.slack.blocks import Answer, Blocks
from nakamura_misaki.adapters.primary.slack.incoming import Identity
from nakamura_misaki.adapters.primary.slack.sdk_logging import SDK_LOGGER
from nakamura_misaki.domain.errors import ConfigurationError, NakamuraMisakiError

_logger = logging.getLogger(__name__)

ANSWER_EVENT_TYPE = "nakamura_misaki_answer"
_TIMEOUT = 15.0
_INTRODUCING = 2.0
"""Slack waits for 3 seconds for an acknowledgement, before which this may have to be asked."""

_TRIES = 3
_FIRST_PAUSE = 0.5
_MOST_LOOKED_AT = 200

# https://docs.slack.dev/reference/methods/auth.test#errors
_NOT_OURS = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}
)
_PASSING = _NOT_OURS | {
    "fatal_error",
    "internal_error",
    "ratelimited",
    "rate_limited",
    "request_timeout",
    "service_unavailable",
}
_CANT_LOOK = frozenset({"missing_scope", "not_in_channel", "channel_not_found", "thread_not_found"})


class SlackUnavailable(NakamuraMisakiError):
    """Slack can't be reached or does not work now; later it may."""

    exit_code = 9


class SlackRefused(NakamuraMisakiError):
    """Slack won't do this, now or later."""

    exit_code = 9


class Delivery:
    """Slack's Web API, as far as the assistant needs it. ``open`` first, ``close`` at the end."""

    def __init__(self, token: str, base_url: str) -> None:
        rate_limit = AsyncRateLimitErrorRetryHandler(max_retry_count=3)
        again: list[AsyncRetryHandler] = [
            rate_limit,
            AsyncConnectionErrorRetryHandler(max_retry_count=2),
            AsyncServerErrorRetryHandler(max_retry_count=2),
        ]
        self.client = AsyncWebClient(
            token, base_url=base_url, retry_handlers=again, logger=SDK_LOGGER
        )
        # A request that was rate-limited was not carried out; of other failures nobody knows.
        self._poster = AsyncWebClient(
            token, base_url=base_url, retry_handlers=[rate_limit], logger=SDK_LOGGER
        )
        self._impatient = AsyncWebClient(
            token, base_url=base_url, retry_handlers=[], logger=SDK_LOGGER
        )
        self._session: aiohttp.ClientSession | None = None
        self._identity: Identity | None = None
        self._asking = asyncio.Lock()
        self._posting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(self) -> None:
        """Open the one session that all requests use."""
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        self._session = aiohttp.ClientSession(timeout=timeout)
        for client in (self.client, self._poster, self._impatient):
            client.session = self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def identity(self) -> Identity:
        """Whom the token stands for; asked once. Raises ConfigurationError, SlackUnavailable."""
        if self._identity is None:
            async with self._asking:
                self._identity = self._identity or await self._ask_identity()
        return self._identity

    async def _ask_identity(self) -> Identity:
        try:
            async with asyncio.timeout(_INTRODUCING):
                answer = await self._impatient.auth_test()
        except _FAILURES as error:
            if isinstance(error, SlackApiError) and _code(error) in _NOT_OURS:
                raise ConfigurationError(
                    f"Slack does not take SLACK_BOT_TOKEN ({_code(error)}); copy the token of the"
                    " installed app again."
                ) from None
            raise _failure(error) from error
        return Identity(answer["team_id"], answer["user_id"], answer.get("bot_id"))

    async def post(
        self,
        channel: str,
        answer: Answer,
        *,
        key: str,
        since: str,
        thread_ts: str | None,
    ) -> None:
        """Post an answer to the event ``key``, once as far as can be known.

        ``since`` is the ``ts`` of what is answered. Raises SlackUnavailable, SlackRefused.
        """
        # One after the other: of many at once Slack takes one a second in a channel
        # (https://docs.slack.dev/apis/web-api/rate-limits), and the rest would wait in vain.
        lock = self._posting.setdefault(channel, asyncio.Lock())
        async with lock:
            for attempt in range(1, _TRIES + 1):
                if attempt > 1 and await self.has_answer(
                    channel, key=key, since=since, thread_ts=thread_ts
                ):
                    return
                try:
                    await self._poster.chat_postMessage(
                        channel=channel,
                        text=answer.text,
                        blocks=answer.blocks,
                        thread_ts=thread_ts,
                        metadata={"event_type": ANSWER_EVENT_TYPE, "event_payload": {"event": key}},
                        unfurl_links=False,
                        unfurl_media=False,
                    )
                except _FAILURES as error:
                    failure = _failure(error)
                    if isinstance(failure, SlackRefused) or attempt == _TRIES:
                        raise failure from error
                    _logger.info("posting failed, attempt %d: %s", attempt, failure)
                else:
                    return
                await asyncio.sleep(_FIRST_PAUSE * 2 ** (attempt - 1))

    async def has_answer(
        self, channel: str, *, key: str, since: str, thread_ts: str | None
    ) -> bool:
        """Whether the event ``key`` was answered, as far as the app may look. Raises SlackUnavailable."""
        try:
            if thread_ts is None:
                found = await self.client.conversations_history(
                    channel=channel, oldest=since, include_all_metadata=True, limit=_MOST_LOOKED_AT
                )
            else:
                found = await self.client.conversations_replies(
                    channel=channel,
                    ts=thread_ts,
                    oldest=since,
                    include_all_metadata=True,
                    limit=_MOST_LOOKED_AT,
                )
        except _FAILURES as error:
            if isinstance(error, SlackApiError) and _code(error) in _CANT_LOOK:
                return False
            raise _failure(error) from error
        messages: list[dict[str, object]] = found.get("messages", [])
        return any(_answers(message, key) for message in messages)

    async def respond(self, url: str, answer: Answer, *, replaces: bool) -> None:
        """Answer a button or a command, seen by its user only, or in place of the message.

        May come twice when the connection breaks: nothing tells whether it came.
        Raises SlackUnavailable, SlackRefused.
        """
        webhook = AsyncWebhookClient(
            url,
            session=self._session,
            retry_handlers=self.client.retry_handlers,
            logger=SDK_LOGGER,
        )
        try:
            response = await webhook.send(
                text=answer.text,
                blocks=answer.blocks,
                response_type="ephemeral",
                replace_original=replaces,
            )
        except _FAILURES as error:
            raise _failure(error) from error
        if response.status_code == 429 or response.status_code >= 500:
            raise SlackUnavailable(f"Slack answered {response.status_code} to an answer.")
        if response.status_code != 200:
            raise SlackRefused(f"Slack did not take an answer: {response.body[:200]}.")

    async def publish_home(self, user: str, blocks: Blocks) -> None:
        """Show a person these blocks in the Home tab. Raises SlackUnavailable, SlackRefused."""
        try:
            await self.client.views_publish(user_id=user, view={"type": "home", "blocks": blocks})
        except _FAILURES as error:
            raise _failure(error) from error


_FAILURES = (SlackClientError, aiohttp.ClientError, TimeoutError, OSError)


def _failure(error: BaseException) -> SlackUnavailable | SlackRefused:
    if not isinstance(error, SlackApiError):
        return SlackUnavailable(f"Slack can't be reached ({type(error).__name__}).")
    code = _code(error)
    if code is None or code in _PASSING:
        return SlackUnavailable(f"Slack does not work now ({code or 'no proper answer'}).")
    return SlackRefused(f"Slack refuses: {code}.")


def _code(error: SlackApiError) -> str | None:
    """Slack's name of the error; None where the answer was none of Slack's."""
    data = getattr(error.response, "data", error.response)
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) else None


def _answers(message: dict[str, object], key: str) -> bool:
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != ANSWER_EVENT_TYPE:
        return False
    payload = metadata.get("event_payload")
    return isinstance(payload, dict) and payload.get("event") == key
