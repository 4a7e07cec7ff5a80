"""What Slack sends to an app: events, interactions, commands; shapes as on docs.slack.dev.

An ``event`` becomes a whole body with ``event_callback``. Interactions and commands
get their ``response_url`` and ``trigger_id`` from the server when they are sent.
"""

import itertools
import time
import uuid
from typing import Any

from slack_server_records import Message
from slack_server_world import (
    APP_ID,
    BOT_ID,
    BOT_USER_ID,
    GENERAL,
    OTHER_BOT_ID,
    OTHER_BOT_USER,
    TEAM_ID,
    USERS,
    dm,
    message_payload,
    next_ts,
)

Payload = dict[str, Any]

VERIFICATION_TOKEN = "test-verification-token"
_event_numbers = itertools.count(1)
_names = {user.id: user.name for user in USERS}


def new_event_id() -> str:
    return f"Ev{next(_event_numbers):09d}"


def event_callback(
    event: Payload,
    event_id: str | None = None,
    *,
    authorized_user: str = BOT_USER_ID,
    team_id: str = TEAM_ID,
) -> Payload:
    """The body that an event comes in. ``authorized_user`` is a person where a user token is used."""
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": team_id,
        "api_app_id": APP_ID,
        "event": event,
        "type": "event_callback",
        "event_id": event_id or new_event_id(),
        "event_time": int(time.time()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": team_id,
                "user_id": authorized_user,
                "is_bot": authorized_user == BOT_USER_ID,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": f"4-{uuid.uuid4().hex}",
    }


def url_verification(challenge: str) -> Payload:
    return {"token": VERIFICATION_TOKEN, "challenge": challenge, "type": "url_verification"}


def direct_message(
    user: str, text: str, ts: str | None = None, *, thread_ts: str | None = None, **more: Any
) -> Payload:
    """``message.im``: a person writes to the app."""
    return _message(user, dm(user), "im", text, ts, thread_ts) | more


def channel_message(
    user: str,
    text: str,
    channel: str = GENERAL,
    ts: str | None = None,
    *,
    thread_ts: str | None = None,
    **more: Any,
) -> Payload:
    """``message.channels``. An app that is mentioned gets this one too, with the mention's ``ts``."""
    return _message(user, channel, "channel", text, ts, thread_ts) | more


def app_mention(
    user: str,
    text: str,
    channel: str = GENERAL,
    ts: str | None = None,
    *,
    thread_ts: str | None = None,
    **more: Any,
) -> Payload:
    """A person mentions the app; the mention is put in front of a text that has none."""
    if f"<@{BOT_USER_ID}>" not in text:
        text = f"<@{BOT_USER_ID}> {text}"
    event = _message(user, channel, "channel", text, ts, thread_ts) | {"type": "app_mention"}
    del event["channel_type"]
    return event | more


def bot_message(
    text: str,
    channel: str = GENERAL,
    ts: str | None = None,
    *,
    bot_id: str = OTHER_BOT_ID,
    user: str | None = OTHER_BOT_USER,
    subtype: str | None = None,
) -> Payload:
    """An app's message, another's unless ``bot_id`` says otherwise.

    Old integrations have the subtype ``bot_message`` and no user; apps of today have
    a user and no subtype.
    """
    kind = "im" if channel.startswith("D") else "channel"
    event = _message(user or "", channel, kind, text, ts, None) | {"bot_id": bot_id}
    del event["client_msg_id"]
    if user is None:
        del event["user"]
    return event if subtype is None else event | {"subtype": subtype}


def own_message(message: Message) -> Payload:
    """The event that an app gets of what it wrote itself."""
    kind = "im" if message.channel.startswith("D") else "channel"
    where = {"channel": message.channel, "channel_type": kind, "event_ts": message.ts}
    return message_payload(message) | where


def message_changed(
    user: str, text: str, channel: str, ts: str, *, previous_text: str = ""
) -> Payload:
    now = next_ts()
    kind = "im" if channel.startswith("D") else "channel"
    written = {"type": "message", "user": user, "ts": ts, "team": TEAM_ID}
    return {
        "type": "message",
        "subtype": "message_changed",
        "hidden": True,
        "message": {**written, "text": text, "edited": {"user": user, "ts": now}},
        "previous_message": {**written, "text": previous_text},
        "channel": channel,
        "channel_type": kind,
        "ts": now,
        "event_ts": now,
    }


def message_deleted(user: str, channel: str, ts: str, *, previous_text: str = "") -> Payload:
    now = next_ts()
    return {
        "type": "message",
        "subtype": "message_deleted",
        "hidden": True,
        "deleted_ts": ts,
        "previous_message": {"type": "message", "user": user, "ts": ts, "text": previous_text},
        "channel": channel,
        "channel_type": "im" if channel.startswith("D") else "channel",
        "ts": now,
        "event_ts": now,
    }


def button_click(
    user: str,
    action_id: str,
    value: str | None = None,
    message: Message | None = None,
    channel: str | None = None,
) -> Payload:
    """A ``block_actions`` payload. ``value`` is the button's own, as in ``message``, when not given.

    Raises KeyError when the message has no such button.
    """
    if message is None:
        where = channel or dm(user)
        message = Message(channel=where, ts=next_ts(), user=BOT_USER_ID, bot_id=BOT_ID)
        button: Payload = {"type": "button", "action_id": action_id}
    else:
        button = message.buttons[action_id]
    block_id = next((b["block_id"] for b in message.blocks if _holds(b, action_id)), "b0")
    action = {
        "type": "button",
        "action_id": action_id,
        "block_id": block_id,
        "text": button.get("text", {"type": "plain_text", "text": action_id}),
        "action_ts": next_ts(),
    }
    if (value := value if value is not None else button.get("value")) is not None:
        action["value"] = value
    container: Payload = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel or message.channel,
        "is_ephemeral": message.only_for is not None,
    }
    if message.thread_ts is not None:
        container["thread_ts"] = message.thread_ts
    return _interaction("block_actions", user) | {
        "container": container,
        "channel": _channel(channel or message.channel),
        "message": message_payload(message),
        "state": {"values": {}},
        "actions": [action],
    }


def message_shortcut(
    user: str, callback_id: str, message: Message | Payload, channel: str | None = None
) -> Payload:
    """A ``message_action`` payload; ``message`` may be an event that a builder made."""
    if isinstance(message, Message):
        body, where = message_payload(message), message.channel
    else:
        body, where = message, message["channel"]
    return _interaction("message_action", user) | {
        "callback_id": callback_id,
        "message_ts": body["ts"],
        "message": body,
        "action_ts": next_ts(),
        "channel": _channel(channel or where),
    }


def global_shortcut(user: str, callback_id: str) -> Payload:
    payload = _interaction("shortcut", user)
    del payload["response_url"]
    return payload | {"callback_id": callback_id, "action_ts": next_ts()}


def view_submission(
    user: str,
    callback_id: str,
    values: dict[str, dict[str, Payload]],
    *,
    private_metadata: str = "",
    view_id: str = "V000000001",
) -> Payload:
    """``values`` is ``{block_id: {action_id: {"type": …, "value": …}}}``."""
    payload = _interaction("view_submission", user)
    del payload["response_url"]
    view = {
        "id": view_id,
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": private_metadata,
        "state": {"values": values},
    }
    return payload | {"view": view, "response_urls": []}


def slash_command(
    user: str, text: str = "", *, command: str = "/misaki", channel: str | None = None
) -> Payload:
    """The fields of a slash command, all of them strings."""
    where = channel or dm(user)
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": TEAM_ID,
        "team_domain": "misaki-test",
        "channel_id": where,
        "channel_name": "directmessage" if where.startswith("D") else "general",
        "user_id": user,
        "user_name": _names.get(user, user.lower()),
        "command": command,
        "text": text,
        "api_app_id": APP_ID,
        "is_enterprise_install": "false",
        "response_url": "",
        "trigger_id": "",
    }


def _message(
    user: str, channel: str, kind: str, text: str, ts: str | None, thread_ts: str | None
) -> Payload:
    ts = ts or next_ts()
    event = {
        "type": "message",
        "user": user,
        "text": text,
        "ts": ts,
        "client_msg_id": str(uuid.uuid4()),
        "team": TEAM_ID,
        "channel": channel,
        "channel_type": kind,
        "event_ts": ts,
    }
    return event if thread_ts is None else event | {"thread_ts": thread_ts}


def _interaction(kind: str, user: str) -> Payload:
    name = _names.get(user, user.lower())
    return {
        "type": kind,
        "token": VERIFICATION_TOKEN,
        "api_app_id": APP_ID,
        "team": {"id": TEAM_ID, "domain": "misaki-test"},
        "enterprise": None,
        "is_enterprise_install": False,
        "user": {"id": user, "username": name, "name": name, "team_id": TEAM_ID},
        "response_url": "",
        "trigger_id": "",
    }


def _channel(channel: str) -> Payload:
    return {"id": channel, "name": "directmessage" if channel.startswith("D") else "general"}


def _holds(block: Payload, action_id: str) -> bool:
    parts = [*block.get("elements", []), block.get("accessory") or {}]
    return any(part.get("action_id") == action_id for part in parts)
