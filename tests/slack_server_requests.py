"""Requests as Slack's servers make them to an app's public address: signed, over a real socket."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import aiohttp

from slack_server_world import SIGNING_SECRET

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Reply(NamedTuple):
    """What an app answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


def signature(body: bytes, timestamp: int | str, secret: str = SIGNING_SECRET) -> str:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    signed = b"v0:%s:%s" % (str(timestamp).encode(), body)
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def signed_request(
    body: Mapping[str, Any] | bytes,
    *,
    timestamp: int | None = None,
    secret: str | None = None,
    retry_num: int | None = None,
    retry_reason: str | None = None,
    content_type: str | None = None,
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request of Slack's; a mapping goes as JSON, bytes as a form.

    ``timestamp`` is Unix time in seconds, now unless given; ``secret`` another than
    SIGNING_SECRET makes a signature that the app must refuse.
    """
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    headers = {
        "Content-Type": content_type or (FORM if isinstance(body, bytes) else JSON),
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": signature(raw, stamp, secret or SIGNING_SECRET),
    }
    if retry_num is not None:
        headers["X-Slack-Retry-Num"] = str(retry_num)
        headers["X-Slack-Retry-Reason"] = retry_reason or "http_timeout"
    return headers, raw


def interaction_form(payload: Mapping[str, Any]) -> bytes:
    return urlencode({"payload": json.dumps(payload, ensure_ascii=False)}).encode()


def command_form(command: Mapping[str, str]) -> bytes:
    return urlencode(command).encode()


async def post(url: str, headers: Mapping[str, str], body: bytes, timeout: float = 3.0) -> Reply:
    """Send the bytes as they are. Raises TimeoutError after so many seconds: Slack waits for 3."""
    limit = aiohttp.ClientTimeout(total=timeout)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        text = await answer.text()
        return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, text)
