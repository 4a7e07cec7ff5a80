"""Reminders as direct messages in Slack."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.http_retry.response import HttpResponse
from slack_sdk.http_retry.state import RetryState
from slack_sdk.web.async_client import AsyncWebClient

from nakamura_misaki.adapters.secondary.slack_reminder import (
    SLACK_USER,
    reminder_message,
    reminder_metadata,
)
from nakamura_misaki.application.reminders import DeliveryFailed
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.rules import utc_now

REQUEST_TIMEOUT = 7.0
"""Seconds for one request. With its retries and the waits between them a message takes less
than the quarter of ``application.reminders.LEASE`` that is for sending it."""

RATE_LIMIT_RETRIES = 2
LONGEST_WAIT = 3.0
"""Seconds; where Slack asks for more, the whole run waits, not the request."""

HISTORY_PAGE = 200
HISTORY_PAGES = 20
"""How far ``was_sent`` reads: that many messages in one person's channel since the reminder was due."""

# https://docs.slack.dev/reference/methods/chat.postMessage#errors
_SETTINGS_ERRORS = frozenset(
    [
        "access_denied",
        "account_inactive",  # the token's account, not the receiver's
        "ekm_access_denied",
        "enterprise_is_restricted",
        "invalid_auth",
        "missing_scope",
        "no_permission",
        "not_allowed_token_type",
        "not_authed",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
    ]
)
_RECEIVER_ERRORS = frozenset(
    [
        "cannot_dm_bot",
        "channel_not_found",
        "is_archived",
        "messages_tab_disabled",
        "not_in_channel",
        "restricted_action",
        "user_disabled",
        "user_not_found",
        "user_not_visible",
        "users_not_found",
    ]
)
_CONTENT_ERRORS = frozenset(
    [
        "invalid_arguments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "metadata_too_large",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
    ]
)


class SlackNotifier:
    """The port ``Notifier``: the receiver is a Slack user's id.

    ``token`` is a bot's (scope chat:write) or a user's; to find out whether a
    message was sent takes the scopes im:write and im:history as well. Times are
    shown in ``time_zone``. Messages of different workspaces in one Slack are told
    apart by ``workspace_id``.
    """

    def __init__(
        self,
        token: str,
        *,
        api_url: str = "https://slack.com/api",
        time_zone: tzinfo,
        workspace_id: str = "default",
        request_timeout: float = REQUEST_TIMEOUT,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._token = token
        self._api_url = f"{api_url.rstrip('/')}/"
        self._time_zone = time_zone
        self._workspace_id = workspace_id
        self._timeout = request_timeout
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def remind(self, handoff: Handoff) -> None:
        user = handoff.to_user_id
        if not SLACK_USER.fullmatch(user):
            # Slack would take a channel's name just as well, and show everybody what is in it.
            raise DeliveryFailed(
                f"{user!r} is no Slack user's id, so nobody was told; give handoffs to ids such"
                " as U01ABC123.",
                is_permanent=True,
            )
        message = reminder_message(handoff, self._clock().astimezone(self._time_zone))
        metadata = reminder_metadata(handoff, self._workspace_id)
        client = self._connected()

        async def post(channel: str) -> "_Answer":
            return await self._answer(
                client.chat_postMessage(
                    channel=channel,
                    metadata=metadata,
                    unfurl_links=False,
                    unfurl_media=False,
                    **message,
                )
            )

        answer = await post(user)
        if answer.error == "channel_not_found":
            # To some tokens a user's id is no channel before the direct messages are opened.
            opened = await self._answer(client.conversations_open(users=user))
            if opened.error is None:
                answer = await post(opened.data["channel"]["id"])
            elif opened.error in _RECEIVER_ERRORS:
                answer = opened
        if answer.error is not None:
            raise _failure(answer, user)

    async def was_sent(self, handoff: Handoff, since: datetime) -> bool | None:
        client = self._connected()
        opened = await self._answer(client.conversations_open(users=handoff.to_user_id))
        if opened.error is not None:
            return None
        wanted = reminder_metadata(handoff, self._workspace_id)
        oldest = f"{max(0.0, since.timestamp()):.6f}"
        cursor = None
        for _ in range(HISTORY_PAGES):
            page = await self._answer(
                client.conversations_history(
                    channel=opened.data["channel"]["id"],
                    oldest=oldest,
                    include_all_metadata=True,
                    limit=HISTORY_PAGE,
                    cursor=cursor,
                )
            )
            if page.error is not None:
                return None
            if any(_is_about(message, wanted) for message in page.data.get("messages", ())):
                return True
            cursor = (page.data.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return False
        return None

    async def close(self) -> None:
        """Close the connections. The next message opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> AsyncWebClient:
        if self._session is None:
            # One for all requests: by itself the client opens a connection for each.
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout)
            )
        return AsyncWebClient(
            self._token,
            base_url=self._api_url,
            session=self._session,
            # Not the SDK's default, which sends a message again when the connection is lost
            # after it: perhaps Slack has it.
            retry_handlers=[_ShortRateLimitRetryHandler(max_retry_count=RATE_LIMIT_RETRIES)],
        )

    async def _answer(self, request: Awaitable[Any]) -> "_Answer":
        """What came of a request, with nothing of the request itself: that holds the token."""
        try:
            response = await request
        except SlackApiError as error:
            return _refusal(error.response)
        except TimeoutError:
            return _Answer(error=f"no answer within {self._timeout:.3g} s")
        except (aiohttp.ClientError, OSError, SlackClientError, ValueError) as error:
            return _Answer(error=f"can't be reached: {type(error).__name__}")
        return _Answer(data=response.data if isinstance(response.data, Mapping) else {})


class _Answer(NamedTuple):
    """``error`` None: Slack did what was asked. ``status`` 0: Slack gave no answer."""

    data: Mapping[str, Any] = {}
    error: str | None = None
    status: int = 0
    retry_after: float | None = None


class _ShortRateLimitRetryHandler(AsyncRateLimitErrorRetryHandler):
    """Waits as long as Slack asks, unless that is longer than a claim could bear."""

    async def _can_retry_async(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        seconds = _retry_after(response.headers)
        return seconds is not None and seconds <= LONGEST_WAIT


def _refusal(response: Any) -> _Answer:
    """What a SlackApiError's response says: the SDK's own, or the bare one if it is not JSON."""
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    data = getattr(response, "data", None)
    word = data.get("error") if isinstance(data, Mapping) else None
    if status == 200 and not word:
        return _Answer(error="an answer that can't be read")
    return _Answer(
        data=data if isinstance(data, Mapping) else {},
        error=str(word) if status == 200 else f"HTTP {status}",
        status=status,
        retry_after=_retry_after(getattr(response, "headers", None) or {}),
    )


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    """Seconds, from the header of that name."""
    for name, value in headers.items():
        if name.lower() == "retry-after":
            try:
                return max(0.0, float(value[0] if isinstance(value, list) else value))
            except ValueError:
                return None
    return None


def _failure(answer: _Answer, user: str) -> DeliveryFailed | ConfigurationError:
    word = answer.error or ""
    if answer.status == 429 or word in ("ratelimited", "rate_limited"):
        wait = timedelta(seconds=answer.retry_after or 0.0)
        return DeliveryFailed(
            f"Slack takes no more messages for now and asks to wait {wait.total_seconds():.0f} s.",
            retry_after=wait,
            is_general=wait.total_seconds() > LONGEST_WAIT,
        )
    if word in _SETTINGS_ERRORS:
        needed = answer.data.get("needed")
        scope = f"; it needs the scope {needed}" if needed else ""
        return ConfigurationError(f"Slack refuses SLACK_BOT_TOKEN ({word}){scope}; correct it.")
    if word in _RECEIVER_ERRORS:
        return DeliveryFailed(
            f"Slack does not deliver to {user} ({word}); tell them yourself and complete the"
            " handoff.",
            is_permanent=True,
        )
    if word in _CONTENT_ERRORS:
        return DeliveryFailed(f"Slack refuses the message's form ({word}).", is_permanent=True)
    if answer.status == 200:
        is_general = word in ("fatal_error", "internal_error", "service_unavailable")
        return DeliveryFailed(f"Slack did not take the message ({word}).", is_general=is_general)
    return DeliveryFailed(f"Slack did not take the message ({word}).", is_general=True)


def _is_about(message: Any, wanted: Mapping[str, Any]) -> bool:
    metadata = message.get("metadata") if isinstance(message, Mapping) else None
    return isinstance(metadata, Mapping) and all(
        metadata.get(key) == value for key, value in wanted.items()
    )
