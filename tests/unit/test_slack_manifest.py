"""The Slack app's manifests ask for what the code uses, and for nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nakamura_misaki.adapters.primary.slack.incoming import (
    SAVE_NOTE,
    Identity,
    Ignored,
    read_incoming,
)
from slack_server import (
    BOT_USER_ID,
    SATO,
    TEAM_ID,
    app_mention,
    channel_message,
    direct_message,
)
from slack_server_events import event_callback

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "pkgs/nakamura-misaki/src/nakamura_misaki"
BOT, PERSON = "manifest.yaml", "manifest-user-token.yaml"

HISTORY = {"channels:history", "groups:history", "im:history", "mpim:history"}
# Of each method that is called: https://docs.slack.dev/reference/methods
SCOPES_OF_METHODS: dict[str, set[str]] = {
    "apps_connections_open": set(),  # the app token's
    "auth_test": set(),
    "chat_postMessage": {"chat:write"},
    "conversations_history": HISTORY,
    "conversations_open": {"im:write"},
    "conversations_replies": HISTORY,
    "views_publish": set(),
}
# Of each event: https://docs.slack.dev/reference/events
SCOPES_OF_EVENTS: dict[str, set[str]] = {
    "app_home_opened": set(),
    "app_mention": {"app_mentions:read"},
    "message.channels": {"channels:history"},
    "message.groups": {"groups:history"},
    "message.im": {"im:history"},
    "message.mpim": {"mpim:history"},
}
# https://docs.slack.dev/reference/app-manifest
MOST_CHARACTERS = {"name": 35, "description": 140, "command": 32, "usage_hint": 1000}
MOST_OF_SHORTCUT = {"name": 24, "description": 150, "callback_id": 255}


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "slack" / name).read_text("utf-8"))
    return loaded


def events(of: dict[str, Any]) -> set[str]:
    subscribed = of["settings"]["event_subscriptions"]
    return {*subscribed.get("bot_events", []), *subscribed.get("user_events", [])}


def methods_called() -> set[str]:
    files = [
        *(SOURCE / "adapters/primary/slack").glob("*.py"),
        *(SOURCE / "adapters/secondary").glob("slack_*.py"),
    ]
    text = "\n".join(path.read_text("utf-8") for path in files)
    namespaces = "apps|auth|bots|chat|conversations|reactions|users|views"
    return set(re.findall(rf"\.((?:{namespaces})_[A-Za-z_]+)\(", text))


def test_every_method_that_is_called_has_its_scopes_here() -> None:
    assert methods_called() <= SCOPES_OF_METHODS.keys()
    assert {"auth_test", "chat_postMessage", "conversations_history"} <= methods_called()


@pytest.mark.parametrize(("name", "kind"), [(BOT, "bot"), (PERSON, "user")])
def test_scopes_are_those_of_the_methods_and_events_and_no_more(name: str, kind: str) -> None:
    given = manifest(name)
    asked = set(given["oauth_config"]["scopes"][kind])
    needed: set[str] = set()
    for method in methods_called():
        needed |= SCOPES_OF_METHODS[method]
    for event in events(given):
        needed |= SCOPES_OF_EVENTS[event]
    if kind == "bot":
        needed.add("commands")
    else:
        assert given["oauth_config"]["scopes"]["bot"] == ["commands"]
    assert asked == needed


@pytest.mark.parametrize("name", [BOT, PERSON])
def test_every_event_that_is_subscribed_to_is_understood(name: str) -> None:
    me = Identity(TEAM_ID, BOT_USER_ID, None)
    said = f"<@{BOT_USER_ID}> ヘルプ"
    examples = {
        "app_home_opened": {"type": "app_home_opened", "user": SATO, "tab": "home"},
        "app_mention": app_mention(SATO, said),
        "message.channels": channel_message(SATO, said),
        "message.groups": channel_message(SATO, said, "G0GROUP001", channel_type="group"),
        "message.im": direct_message(SATO, "ヘルプ"),
        "message.mpim": channel_message(SATO, said, "G0GROUP001", channel_type="mpim"),
    }
    for event in events(manifest(name)):
        read = read_incoming(event_callback(examples[event]), me)
        assert not isinstance(read, Ignored), event


@pytest.mark.parametrize("name", [BOT, PERSON])
def test_the_manifest_keeps_slacks_limits_and_names_what_the_code_answers(name: str) -> None:
    given = manifest(name)
    features = given["features"]
    (command,), (shortcut,) = features["slash_commands"], features["shortcuts"]

    for part in (given["display_information"], command):
        for key, most in MOST_CHARACTERS.items():
            assert len(part.get(key, "")) <= most
    for key, most in MOST_OF_SHORTCUT.items():
        assert len(shortcut[key]) <= most
    assert (shortcut["callback_id"], shortcut["type"]) == (SAVE_NOTE, "message")
    assert command["command"] == "/misaki"
    assert command["should_escape"] is True
    assert given["settings"]["interactivity"]["is_enabled"] is True
    assert given["settings"]["socket_mode_enabled"] is True
    assert ("app_home" in features) == ("app_home_opened" in events(given)) == (name == BOT)
    assert "request_url" not in given["settings"]["event_subscriptions"]
