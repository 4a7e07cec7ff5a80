"""What Slack sends, cut down to what is answered; everything else is named and left alone.

What is kept of an event until it is answered is only this (``to_body``): no
profile, no team, no token of the request.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, TypeAlias

SAVE_NOTE = "save_note"
"""The callback_id of the message shortcut."""

# What a person wrote; every other subtype tells of a change or comes from a program
# (https://docs.slack.dev/reference/events/message#subtypes).
_SUBTYPES = frozenset({None, "thread_broadcast", "file_share"})
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_SLACKBOT = "USLACKBOT"
"""Slack's own program. Its messages carry no bot_id, and it answers what is written to it."""

_MOST_CHARACTERS = 100_000
"""Slack cuts messages at 40,000 (https://docs.slack.dev/changelog/2018-truncating-really-long-messages)."""


class Ignored(StrEnum):
    """Why something is not answered."""

    OWN = "own"
    BOT = "bot"
    NOT_A_MESSAGE = "not_a_message"
    NOT_ADDRESSED = "not_addressed"
    OTHER_TEAM = "other_team"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"


class Identity(NamedTuple):
    """Whom the token stands for, as ``auth.test`` says. A user token has no ``bot_id``."""

    team_id: str
    user_id: str
    bot_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Words to the assistant: a direct message, or a mention in a channel.

    ``thread_ts`` is the first message of the thread in which it was written.
    """

    kind: ClassVar = "message"
    user: str
    channel: str
    text: str
    ts: str
    thread_ts: str | None
    is_direct: bool

    @property
    def key(self) -> str:
        # A mention comes as two events with ids of their own; this is the same in both.
        return f"message:{self.channel}:{self.ts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``/misaki`` and the words after it. ``response_url`` takes the answer for 30 minutes."""

    kind: ClassVar = "command"
    user: str
    channel: str
    text: str
    response_url: str
    trigger: str

    @property
    def key(self) -> str:
        return f"command:{self.trigger}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """A button of the assistant's own message was pressed; ``value`` is what the button carries."""

    kind: ClassVar = "action"
    user: str
    action: str
    value: str
    response_url: str
    at: str

    @property
    def key(self) -> str:
        return f"action:{self.at}:{self.user}:{self.action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """A message that a person wants to be kept as a note; ``author`` wrote it."""

    kind: ClassVar = "shortcut"
    user: str
    author: str
    channel: str
    text: str
    ts: str
    response_url: str
    trigger: str

    @property
    def key(self) -> str:
        return f"shortcut:{self.trigger}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeOpened:
    """A person looks at the app's Home tab."""

    kind: ClassVar = "home"
    user: str
    event_id: str

    @property
    def key(self) -> str:
        return f"home:{self.event_id}"


Incoming: TypeAlias = Message | Command | Click | Shortcut | HomeOpened

_KINDS: dict[str, type[Incoming]] = {
    each.kind: each for each in (Message, Command, Click, Shortcut, HomeOpened)
}


def read_incoming(body: Mapping[str, Any], identity: Identity) -> Incoming | Ignored:
    """What a request's body asks for. Never raises, whatever is in the body."""
    try:
        return _read(body, identity)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        return Ignored.MALFORMED


def to_body(incoming: Incoming) -> dict[str, Any]:
    """What the inbox keeps."""
    return {"kind": incoming.kind, **asdict(incoming)}


def from_body(body: Mapping[str, Any]) -> Incoming:
    """What ``to_body`` was given. Raises KeyError or TypeError for anything else."""
    fields = dict(body)
    return _KINDS[fields.pop("kind")](**fields)


def _read(body: Mapping[str, Any], identity: Identity) -> Incoming | Ignored:
    if _team(body) != identity.team_id:
        return Ignored.OTHER_TEAM
    match body.get("type"):
        case "event_callback":
            return _event(body, body["event"], identity)
        case "block_actions":
            return _click(body)
        case "message_action" if body["callback_id"] == SAVE_NOTE:
            return _shortcut(body)
        case None if "command" in body:
            return Command(
                user=_text(body["user_id"]),
                channel=_text(body["channel_id"]),
                text=_text(body.get("text") or ""),
                response_url=_text(body["response_url"]),
                trigger=_text(body["trigger_id"]),
            )
    return Ignored.UNKNOWN


def _team(body: Mapping[str, Any]) -> Any:
    if isinstance(body.get("team"), Mapping):
        return body["team"].get("id")
    return body.get("team_id")


def _event(
    body: Mapping[str, Any], event: Mapping[str, Any], identity: Identity
) -> Incoming | Ignored:
    match event.get("type"):
        case "message" | "app_mention":
            return _message(event, identity)
        case "app_home_opened" if event.get("tab") == "home":
            return HomeOpened(user=_text(event["user"]), event_id=_text(body["event_id"]))
    return Ignored.UNKNOWN


def _message(event: Mapping[str, Any], identity: Identity) -> Incoming | Ignored:
    if event.get("subtype") not in _SUBTYPES or event.get("hidden"):
        return Ignored.NOT_A_MESSAGE
    if event.get("user") == identity.user_id:
        return Ignored.OWN
    if event.get("user") == _SLACKBOT:
        return Ignored.BOT
    if event.get("bot_id") or event.get("bot_profile"):
        return Ignored.OWN if event.get("bot_id") == identity.bot_id else Ignored.BOT
    text, channel = _text(event.get("text") or ""), _text(event["channel"])
    is_direct = event.get("channel_type", "im") == "im" and channel.startswith("D")
    is_mention = event["type"] == "app_mention" or _mentions(text, identity.user_id)
    if not is_direct and not is_mention:
        return Ignored.NOT_ADDRESSED
    if not text.strip() and event.get("subtype") is not None:
        return Ignored.NOT_A_MESSAGE  # a file without a word to it
    thread_ts = event.get("thread_ts")
    return Message(
        user=_text(event["user"]),
        channel=channel,
        text=text,
        ts=_text(event["ts"]),
        thread_ts=None if thread_ts is None else _text(thread_ts),
        is_direct=is_direct,
    )


def _mentions(text: str, user_id: str) -> bool:
    return f"<@{user_id}>" in text or f"<@{user_id}|" in text


def _click(body: Mapping[str, Any]) -> Incoming | Ignored:
    action = body["actions"][0]
    return Click(
        user=_text(body["user"]["id"]),
        action=_text(action["action_id"]),
        value=_text(action.get("value") or ""),
        response_url=_text(body.get("response_url") or ""),
        at=_text(action["action_ts"]),
    )


def _shortcut(body: Mapping[str, Any]) -> Incoming:
    message = body["message"]
    return Shortcut(
        user=_text(body["user"]["id"]),
        author=_text(message.get("user") or message.get("bot_id") or ""),
        channel=_text(body["channel"]["id"]),
        text=_text(message.get("text") or ""),
        ts=_text(message["ts"]),
        response_url=_text(body["response_url"]),
        trigger=_text(body["trigger_id"]),
    )


def _text(value: Any) -> str:
    """Text that can be stored: JSON can spell NUL and half characters, a database can't hold them."""
    if not isinstance(value, str):
        raise TypeError(f"text was expected, not {type(value).__name__}")
    return _NO_TEXT.sub("\ufffd", value[:_MOST_CHARACTERS])
