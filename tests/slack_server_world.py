"""The workspace that ``slack_server`` serves: who and what is in it, and what was written there."""

import itertools
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from slack_server_records import Blocks, Message, elements

TEAM_ID = "T0MISAKI01"
APP_ID = "A0MISAKI01"
BOT_ID = "B0MISAKI01"
BOT_USER_ID = "U0MISAKI01"
TOKEN_USER_ID = "U0NAKAMURA"
"""Who a user token acts as: a person's account."""

BOT_TOKEN = "xoxb-test-bot-token-of-no-workspace"
USER_TOKEN = "xoxp-test-user-token-of-no-workspace"
APP_TOKEN = "xapp-test-app-token-of-no-workspace"
SIGNING_SECRET = "test-signing-secret-of-no-app"

SATO = "U0SATO0001"
SUZUKI = "U0SUZUKI01"
TANAKA = "U0TANAKA01"
EMMA = "U0EMMA0001"
"""In New York; everyone else is in Tokyo."""
LEFT_THE_TEAM = "U0LEFT0001"
OTHER_BOT_USER = "U0OTHERBOT"
OTHER_BOT_ID = "B0OTHERBOT"
NOBODY = "U0NOBODY01"
"""An id that no user has."""

GENERAL = "C0GENERAL1"
ELSEWHERE = "C0ELSEWHER"
"""A channel that the app was not invited to."""
ARCHIVED = "C0ARCHIVED"
NOWHERE = "C0NOWHERE1"
"""An id that no channel has."""


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    real_name: str
    tz: str = "Asia/Tokyo"
    is_bot: bool = False
    deleted: bool = False

    def payload(self) -> dict[str, Any]:
        """The user object of users.info."""
        offset = datetime.now(ZoneInfo(self.tz)).utcoffset()
        return {
            "id": self.id,
            "team_id": TEAM_ID,
            "name": self.name,
            "deleted": self.deleted,
            "real_name": self.real_name,
            "tz": self.tz,
            "tz_label": self.tz.rsplit("/", 1)[-1].replace("_", " "),
            "tz_offset": int(offset.total_seconds()) if offset else 0,
            "profile": {
                "real_name": self.real_name,
                "display_name": self.name,
                "real_name_normalized": self.real_name,
                "display_name_normalized": self.name,
                "team": TEAM_ID,
            },
            "is_admin": False,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "updated": 1_700_000_000,
        }


USERS = (
    User(BOT_USER_ID, "misaki", "nakamura-misaki", is_bot=True),
    User(TOKEN_USER_ID, "nakamura", "中村 美咲"),
    User(SATO, "sato", "佐藤 健"),
    User(SUZUKI, "suzuki", "鈴木 花子"),
    User(TANAKA, "tanaka", "田中 一郎"),
    User(EMMA, "emma", "Emma Stone", tz="America/New_York"),
    User(LEFT_THE_TEAM, "yamada", "山田 太郎", deleted=True),
    User(OTHER_BOT_USER, "otherbot", "Other Bot", is_bot=True),
)


@dataclass(frozen=True, slots=True)
class Channel:
    id: str
    name: str = ""
    is_member: bool = True
    is_archived: bool = False
    with_user: str | None = None
    """The other side of a direct message."""

    def payload(self) -> dict[str, Any]:
        """The conversation object of conversations.info."""
        common = {"id": self.id, "created": 1_700_000_000, "is_archived": self.is_archived}
        if self.with_user is not None:
            return {**common, "is_im": True, "user": self.with_user, "is_org_shared": False}
        return {
            **common,
            "name": self.name,
            "is_channel": True,
            "is_im": False,
            "is_private": False,
            "is_member": self.is_member,
        }


CHANNELS = (
    Channel(GENERAL, "general"),
    Channel(ELSEWHERE, "elsewhere", is_member=False),
    Channel(ARCHIVED, "archived", is_archived=True),
)


def dm(user: str) -> str:
    """The channel of the direct messages between the app and a user."""
    return f"D{user[1:]}"


_clock = threading.Lock()
_last_ts = 0


def next_ts() -> str:
    """The time now as Slack writes it, later than every one before."""
    global _last_ts
    with _clock:
        _last_ts = max(time.time_ns() // 1_000, _last_ts + 1)
        return f"{_last_ts // 1_000_000}.{_last_ts % 1_000_000:06d}"


@dataclass(slots=True)
class Workspace:
    """Users, channels, and what was written: ``posted`` by the app, ``history`` by anyone.

    ``ephemerals`` are what only one user saw; they are in no history.
    """

    users: dict[str, User] = field(default_factory=lambda: {user.id: user for user in USERS})
    channels: dict[str, Channel] = field(default_factory=lambda: {c.id: c for c in CHANNELS})
    posted: list[Message] = field(default_factory=list)
    history: dict[str, dict[str, Message]] = field(default_factory=dict)
    ephemerals: list[Message] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    triggers: dict[str, bool] = field(default_factory=dict)
    """The trigger_ids that were given out, and whether each was used."""
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        for user in self.users.values():
            if not user.is_bot:
                self.channels[dm(user.id)] = Channel(dm(user.id), with_user=user.id)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._ids):09d}"

    def add(self, message: Message) -> None:
        self.history.setdefault(message.channel, {})[message.ts] = message

    def heard(self, event: dict[str, Any]) -> None:
        """Keep what a user wrote, as an event tells it; one message may come in several events."""
        if event.get("type") not in ("message", "app_mention") or "subtype" in event:
            return
        if event["ts"] not in self.history.get(event["channel"], {}):
            self.add(
                Message(
                    channel=event["channel"],
                    ts=event["ts"],
                    user=event["user"],
                    text=event.get("text", ""),
                    thread_ts=event.get("thread_ts"),
                    bot_id=event.get("bot_id"),
                )
            )

    def find(self, channel: str, ts: str) -> Message | None:
        found = self.history.get(channel, {}).get(ts)
        return None if found is None or found.deleted else found

    def messages(self, channel: str) -> list[Message]:
        """What stands in a channel, newest first."""
        written = list(self.history.get(channel, {}).values())
        return sorted((m for m in written if not m.deleted), key=lambda m: m.ts, reverse=True)

    def named(self, blocks: Blocks) -> Blocks:
        """Blocks with the block_ids and action_ids that Slack gives where an app gave none."""
        for block in blocks:
            block.setdefault("block_id", self.new_id("b"))
            for element in elements(block):
                if element.get("type") in ("button", "overflow") and element is not block:
                    element.setdefault("action_id", self.new_id("a"))
        return blocks


def message_payload(message: Message, *, with_metadata: bool = True) -> dict[str, Any]:
    """The message object of chat.postMessage, of a history and of an interaction."""
    payload: dict[str, Any] = {
        "type": "message",
        "user": message.user,
        "text": message.text,
        "ts": message.ts,
        "team": TEAM_ID,
    }
    if message.bot_id is not None:
        profile = {"id": message.bot_id, "app_id": APP_ID, "name": "nakamura-misaki"}
        payload |= {"bot_id": message.bot_id, "app_id": APP_ID, "bot_profile": profile}
    if message.blocks:
        payload["blocks"] = message.blocks
    if message.attachments:
        payload["attachments"] = message.attachments
    if message.thread_ts is not None:
        payload["thread_ts"] = message.thread_ts
    if message.edited_ts is not None:
        payload["edited"] = {"user": message.user, "ts": message.edited_ts}
    if message.metadata is not None and with_metadata:
        payload["metadata"] = message.metadata
    if message.reactions:
        payload["reactions"] = [
            {"name": name, "users": [user], "count": 1} for name, user in message.reactions
        ]
    return payload
