"""Which methods of Slack's Web API ``slack_server`` knows, and those that only read."""

import base64
from collections.abc import Callable

import slack_server_chat as chat
from slack_server_chat import Answer, Arguments, Caller, Refused, find_channel, need
from slack_server_records import Message
from slack_server_world import (
    APP_ID,
    APP_TOKEN,
    BOT_ID,
    BOT_TOKEN,
    BOT_USER_ID,
    TEAM_ID,
    TOKEN_USER_ID,
    USER_TOKEN,
    Workspace,
    dm,
    message_payload,
)

OPEN_CONNECTION = "apps.connections.open"
MOST_IN_PAGE = 999

_CALLERS = {BOT_TOKEN: Caller(BOT_USER_ID, BOT_ID), USER_TOKEN: Caller(TOKEN_USER_ID, None)}


def perform(workspace: Workspace, method: str, token: str | None, arguments: Arguments) -> Answer:
    """The answer to a request, without its ``ok``. Raises Refused."""
    if method not in METHODS:
        raise Refused("unknown_method")
    return METHODS[method](workspace, caller_of(token), arguments)


def caller_of(token: str | None) -> Caller:
    """Whom a token for the Web API stands for. Raises Refused."""
    if not token:
        raise Refused("not_authed")
    if token == APP_TOKEN:
        raise Refused("not_allowed_token_type")
    if token not in _CALLERS:
        raise Refused("invalid_auth")
    return _CALLERS[token]


def check_app_token(token: str | None) -> None:
    """apps.connections.open takes the app's own token and no other. Raises Refused."""
    if not token:
        raise Refused("not_authed")
    if token in _CALLERS:
        raise Refused("not_allowed_token_type")
    if token != APP_TOKEN:
        raise Refused("invalid_auth")


def _auth_test(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    answer = {
        "url": "https://misaki-test.slack.com/",
        "team": "美咲テスト",
        "user": workspace.users[caller.user_id].name,
        "team_id": TEAM_ID,
        "user_id": caller.user_id,
        "is_enterprise_install": False,
    }
    return answer if caller.bot_id is None else {**answer, "bot_id": caller.bot_id}


def _bot_info(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    if arguments.get("bot", BOT_ID) != BOT_ID:
        raise Refused("bot_not_found")
    bot = {"id": BOT_ID, "deleted": False, "name": "nakamura-misaki"}
    return {"bot": {**bot, "app_id": APP_ID, "user_id": BOT_USER_ID}}


def _user_info(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    user = workspace.users.get(need(arguments, "user", "user_not_found"))
    if user is None:
        raise Refused("user_not_found")
    return {"user": user.payload()}


def _users(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    members = [user.payload() for user in workspace.users.values()]
    return {"members": members, "response_metadata": {"next_cursor": ""}}


def _channel_info(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    named = need(arguments, "channel", "channel_not_found")
    return {"channel": find_channel(workspace, named).payload()}


def _open_conversation(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    if arguments.get("channel"):
        return {"channel": {"id": find_channel(workspace, str(arguments["channel"])).id}}
    users = need(arguments, "users", "users_list_not_supplied").split(",")
    if len(users) > 1:
        raise Refused("not_supported_by_test_server")
    if users[0] not in workspace.users:
        raise Refused("user_not_found")
    return {"channel": {"id": chat.channel_to_write(workspace, dm(users[0])).id}}


def _history(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    """What stands in a channel itself: replies in threads are read with conversations.replies."""
    channel = _readable(workspace, arguments)
    messages = [m for m in workspace.messages(channel) if m.thread_ts in (None, m.ts)]
    return _page(messages, arguments)


def _replies(workspace: Workspace, caller: Caller, arguments: Arguments) -> Answer:
    """A thread with its first message, oldest first."""
    channel, thread = _readable(workspace, arguments), need(arguments, "ts", "thread_not_found")
    messages = [m for m in workspace.messages(channel) if thread in (m.ts, m.thread_ts)]
    if not messages:
        raise Refused("thread_not_found")
    return _page(messages[::-1], arguments)


def _readable(workspace: Workspace, arguments: Arguments) -> str:
    channel = find_channel(workspace, need(arguments, "channel", "channel_not_found"))
    if not channel.is_member:
        raise Refused("not_in_channel")
    return channel.id


def _page(messages: list[Message], arguments: Arguments) -> Answer:
    oldest, latest = str(arguments.get("oldest") or "0"), str(arguments.get("latest") or "")
    bounds = [bound for bound in (oldest, latest) if _is_true(arguments.get("inclusive"))]
    kept = [
        message
        for message in messages
        if message.ts in bounds
        or (float(oldest) < float(message.ts) and (not latest or float(message.ts) < float(latest)))
    ]
    start = _start(arguments)
    try:
        limit = int(arguments.get("limit") or 100)
    except ValueError:
        raise Refused("invalid_limit") from None
    end = start + min(limit, MOST_IN_PAGE)
    with_metadata = _is_true(arguments.get("include_all_metadata"))
    answer: Answer = {
        "messages": [message_payload(m, with_metadata=with_metadata) for m in kept[start:end]],
        "has_more": end < len(kept),
    }
    if end < len(kept):
        cursor = base64.b64encode(f"next:{end}".encode()).decode()
        answer["response_metadata"] = {"next_cursor": cursor}
    return answer


def _start(arguments: Arguments) -> int:
    if not (cursor := arguments.get("cursor")):
        return 0
    try:
        return int(base64.b64decode(str(cursor)).removeprefix(b"next:"))
    except ValueError:
        raise Refused("invalid_cursor") from None


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() in ("1", "true")


METHODS: dict[str, Callable[[Workspace, Caller, Arguments], Answer]] = {
    "auth.test": _auth_test,
    "bots.info": _bot_info,
    "chat.delete": chat.delete,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.postMessage": chat.post_message,
    "chat.update": chat.update,
    "conversations.history": _history,
    "conversations.info": _channel_info,
    "conversations.open": _open_conversation,
    "conversations.replies": _replies,
    "reactions.add": chat.add_reaction,
    "users.info": _user_info,
    "users.list": _users,
    "views.open": chat.open_view,
    "views.publish": chat.publish_view,
}
