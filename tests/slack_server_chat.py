"""The methods of Slack's Web API that write: chat.*, reactions.* and views.*."""

import json
from dataclasses import dataclass
from typing import Any

from slack_server_blocks import MOST_IN_VIEW, problems, too_much_text
from slack_server_records import Blocks, Message
from slack_server_world import BOT_ID, Channel, Workspace, dm, message_payload, next_ts

MOST_TEXT = 40_000
MOST_METADATA_BYTES = 16_000

Arguments = dict[str, Any]
Answer = dict[str, Any]


class Refused(Exception):
    """What Slack answers with ``ok: false``; ``more`` is added to the answer."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token stands for. ``bot_id`` is None for a person's token."""

    user_id: str
    bot_id: str | None


def need(arguments: Arguments, name: str, error: str = "invalid_arguments") -> str:
    if not (value := arguments.get(name)):
        raise Refused(
            error,
            response_metadata={"messages": [f"[ERROR] missing required field: {name}"]},
        )
    return str(value)


def find_channel(workspace: Workspace, named: str) -> Channel:
    """By id or ``#name``. Raises Refused."""
    if named in workspace.channels:
        return workspace.channels[named]
    for channel in workspace.channels.values():
        if channel.name and channel.name == named.removeprefix("#"):
            return channel
    raise Refused("channel_not_found")


def channel_to_write(workspace: Workspace, named: str) -> Channel:
    """Where a message goes: a user's id stands for the direct messages with the user."""
    if named in workspace.users:
        user = workspace.users[named]
        if user.is_bot:
            raise Refused("cannot_dm_bot")
        if user.deleted:
            raise Refused("user_disabled")
        named = dm(named)
    channel = find_channel(workspace, named)
    if channel.is_archived:
        raise Refused("is_archived")
    if not channel.is_member:
        raise Refused("not_in_channel")
    return channel


def post_message(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    channel = channel_to_write(workspace, need(arguments, "channel", "channel_not_found"))
    message = _written(workspace, caller, channel.id, arguments)
    workspace.add(message)
    workspace.posted.append(message)
    return {"channel": channel.id, "ts": message.ts, "message": message_payload(message)}


def post_ephemeral(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    channel = channel_to_write(workspace, need(arguments, "channel", "channel_not_found"))
    user = need(arguments, "user", "user_not_in_channel")
    if user not in workspace.users:
        raise Refused("user_not_in_channel")
    message = _written(workspace, caller, channel.id, arguments)
    message.only_for = user
    workspace.ephemerals.append(message)
    return {"message_ts": message.ts}


def update(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    message = _own(workspace, caller, arguments, "cant_update_message")
    rewrite(workspace, message, arguments)
    return {
        "channel": message.channel,
        "ts": message.ts,
        "text": message.text,
        "message": message_payload(message),
    }


def rewrite(workspace: Workspace, message: Message, arguments: Arguments) -> None:
    """Give a message what is in the arguments. Raises Refused."""
    blocks = _blocks(workspace, arguments)
    if "text" not in arguments and blocks is None:
        raise Refused("no_text")
    message.text = _text(arguments)
    # Text without blocks takes the blocks away, as Slack does.
    message.blocks = blocks or []
    if "metadata" in arguments:
        message.metadata = _metadata(arguments)
    message.edited_ts = next_ts()


def delete(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    message = _own(workspace, caller, arguments, "cant_delete_message")
    message.deleted = True
    return {"channel": message.channel, "ts": message.ts}


def add_reaction(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    channel = find_channel(workspace, need(arguments, "channel", "channel_not_found"))
    name = need(arguments, "name", "invalid_name")
    message = workspace.find(channel.id, need(arguments, "timestamp", "bad_timestamp"))
    if message is None:
        raise Refused("message_not_found")
    if (name, caller.user_id) in message.reactions:
        raise Refused("already_reacted")
    message.reactions.append((name, caller.user_id))
    return {}


def open_view(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    trigger = need(arguments, "trigger_id")
    if trigger not in workspace.triggers:
        raise Refused("invalid_trigger_id")
    if workspace.triggers[trigger]:
        raise Refused("exchanged_trigger_id")
    view = _view(workspace, arguments, "modal")
    workspace.triggers[trigger] = True
    workspace.views.append(view)
    return {"view": view}


def publish_view(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    user = need(arguments, "user_id")
    if user not in workspace.users:
        raise Refused("user_not_found")
    view = _view(workspace, arguments, "home") | {"user_id": user}
    workspace.views.append(view)
    return {"view": view}


def _view(workspace: Workspace, arguments: Arguments, kind: str) -> dict[str, Any]:
    view = arguments.get("view")
    found = [] if isinstance(view, dict) else ["must provide an object [json-pointer:/view]"]
    if isinstance(view, dict):
        if view.get("type") != kind:
            found.append(f"unsupported type: {view.get('type')} [json-pointer:/view/type]")
        title = view.get("title", {}).get("text", "")
        if kind == "modal" and not 1 <= len(title) <= 24:
            found.append("must be less than 25 characters [json-pointer:/view/title/text]")
        found += problems(view.get("blocks", []), "/view/blocks", MOST_IN_VIEW)
    if found:
        raise _refused_for("invalid_arguments", found)
    return {"id": workspace.new_id("V"), **view}


def _written(workspace: Workspace, caller: Caller, channel: str, arguments: Arguments) -> Message:
    blocks = _blocks(workspace, arguments)
    attachments = arguments.get("attachments") or []
    text = _text(arguments)
    if not (text or blocks or attachments):
        raise Refused("no_text")
    thread_ts = arguments.get("thread_ts")
    return Message(
        channel=channel,
        ts=next_ts(),
        user=caller.user_id,
        text=text,
        blocks=blocks or [],
        attachments=attachments,
        thread_ts=None if thread_ts is None else str(thread_ts),
        metadata=_metadata(arguments),
        # What an app writes with a person's token shows the app as well.
        bot_id=caller.bot_id or BOT_ID,
    )


def _own(workspace: Workspace, caller: Caller, arguments: Arguments, refusal: str) -> Message:
    channel = find_channel(workspace, need(arguments, "channel", "channel_not_found"))
    message = workspace.find(channel.id, need(arguments, "ts", "message_not_found"))
    if message is None:
        raise Refused("message_not_found")
    if message.user != caller.user_id:
        raise Refused(refusal)
    return message


def _text(arguments: Arguments) -> str:
    text = str(arguments.get("text") or "")
    if len(text) > MOST_TEXT:
        raise Refused("msg_too_long")
    return text


def _blocks(workspace: Workspace, arguments: Arguments) -> Blocks | None:
    """A copy of the blocks with their ids, or None where none are given."""
    blocks = arguments.get("blocks")
    if blocks is None:
        return None
    if not isinstance(blocks, list):
        raise Refused("invalid_blocks_format")
    if found := problems(blocks):
        raise _refused_for("invalid_blocks", found)
    if too_much_text(blocks):
        raise Refused("msg_blocks_too_long")
    return workspace.named(json.loads(json.dumps(blocks)))


def _metadata(arguments: Arguments) -> dict[str, Any] | None:
    metadata = arguments.get("metadata")
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise Refused("invalid_metadata_format")
    if not isinstance(metadata.get("event_type"), str) or not isinstance(
        metadata.get("event_payload"), dict
    ):
        raise Refused("invalid_metadata_schema")
    if len(json.dumps(metadata).encode()) > MOST_METADATA_BYTES:
        raise Refused("metadata_too_large")
    return metadata


def _refused_for(error: str, found: list[str]) -> Refused:
    messages = [f"[ERROR] {problem}" for problem in found]
    return Refused(error, errors=found, response_metadata={"messages": messages})
