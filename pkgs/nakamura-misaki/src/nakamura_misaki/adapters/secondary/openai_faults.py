"""What went wrong when an embedding server was asked, and whether to ask again."""

import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import APIStatusError, OpenAIError

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 8.0
LONGEST_RETRY_AFTER = 20.0
"""Seconds; a server that asks for more is not waited for."""

_REJECTIONS = frozenset({400, 413, 422})
_TRANSIENT_STATUSES = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt failed. ``reason`` continues a sentence that begins with the server.

    ``is_rejection``: the server will not take these very texts. ``retry_after`` is how many seconds the server asked to wait, if it did.
    """

    reason: str
    is_transient: bool = True
    is_rejection: bool = False
    retry_after: float | None = None


def backoff(attempt: int) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (from 0): doubling, with jitter."""
    pause: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
    # The jitter keeps clients apart; nobody gains from guessing it.
    return pause * random.uniform(0.5, 1.0)  # noqa: S311  (see above)


def no_answer(seconds: float) -> Fault:
    return Fault(f"gave no answer within {seconds:.3g} s")


def fault_of(error: "OpenAIError", seconds: float, api_key: str | None) -> Fault:
    """What an error of the openai library means; the key is never part of it."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    match error:
        case APITimeoutError():
            return no_answer(seconds)
        case APIConnectionError():
            return Fault("can't be reached or cut the connection")
        case APIStatusError():
            return _fault_of_status(error, api_key)
        case _:
            return Fault("gave an answer that the openai library can't read", is_transient=False)


def _fault_of_status(error: "APIStatusError", api_key: str | None) -> Fault:
    status = error.status_code
    if status in (401, 403):
        return Fault(f"refused the key (HTTP {status}); check OPENAI_API_KEY", is_transient=False)
    if error.code == "insufficient_quota":
        return Fault(
            f"says that the account's quota is used up (HTTP {status})", is_transient=False
        )
    if status in _TRANSIENT_STATUSES or status >= 500:
        retry_after = _retry_after(error.response.headers)
        if retry_after is not None and retry_after > LONGEST_RETRY_AFTER:
            return Fault(
                f"answered HTTP {status} and asks to wait {retry_after:.0f} s", is_transient=False
            )
        return Fault(f"answered HTTP {status}", retry_after=retry_after)
    return Fault(
        f"answered HTTP {status}{_words_of(error, api_key)}",
        is_transient=False,
        is_rejection=status in _REJECTIONS,
    )


def _retry_after(headers: "Mapping[str, str]") -> float | None:
    """Seconds, from ``retry-after-ms`` or ``Retry-After`` (a number or an HTTP date)."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after")
        return max(0.0, float(value)) if value else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(headers["retry-after"])
    except (ValueError, KeyError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _words_of(error: "APIStatusError", api_key: str | None) -> str:
    """The server's own message, shortened to one line, without anything like a key."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, str):
        return ""
    if api_key:
        message = message.replace(api_key, "***")
    message = re.sub(r"\bsk-[\w-]+", "***", " ".join(message.split()))
    return f": {message[:200].rstrip('.')}" if message else ""
