"""What of Slack's requests is answered, and that nothing in one can do harm."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.adapters.primary.slack.incoming import (
    Click,
    Command,
    HomeOpened,
    Identity,
    Ignored,
    Message,
    Shortcut,
    from_body,
    read_incoming,
    to_body,
)
from slack_server import (
    BOT_ID,
    BOT_USER_ID,
    GENERAL,
    SATO,
    SUZUKI,
    TEAM_ID,
    app_mention,
    bot_message,
    button_click,
    channel_message,
    direct_message,
    dm,
    global_shortcut,
    message_shortcut,
    slash_command,
)
from slack_server_events import event_callback

ME = Identity(TEAM_ID, BOT_USER_ID, BOT_ID)


def test_a_mention_and_the_message_that_it_is_are_one() -> None:
    text = f"<@{BOT_USER_ID}> ヘルプ"
    mention = read_incoming(event_callback(app_mention(SATO, text, ts="1.5")), ME)
    message = read_incoming(event_callback(channel_message(SATO, text, ts="1.5")), ME)

    assert mention == message
    assert isinstance(mention, Message)
    assert mention.key == f"message:{GENERAL}:1.5"
    assert not mention.is_direct


@pytest.mark.parametrize(
    ("body", "expected", "key"),
    [
        (event_callback(direct_message(SATO, "a", "1.5")), Message, f"message:{dm(SATO)}:1.5"),
        (slash_command(SATO, "a") | {"trigger_id": "T1"}, Command, "command:T1"),
        (button_click(SATO, "task_start", "{}"), Click, None),
        (
            message_shortcut(SATO, "save_note", channel_message(SUZUKI, "a"))
            | {"trigger_id": "T1"},
            Shortcut,
            "shortcut:T1",
        ),
        (
            event_callback({"type": "app_home_opened", "user": SATO, "tab": "home"}, "Ev1"),
            HomeOpened,
            "home:Ev1",
        ),
    ],
)
def test_what_is_answered_is_kept_and_read_back(
    body: dict[str, Any], expected: type, key: str | None
) -> None:
    incoming = read_incoming(body, ME)

    assert isinstance(incoming, expected)
    assert not isinstance(incoming, Ignored)
    assert key is None or incoming.key == key
    kept = json.loads(json.dumps(to_body(incoming)))
    assert from_body(kept) == incoming
    assert "token" not in kept


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (event_callback(direct_message(SATO, "a"), team_id="T0ELSEWHER"), Ignored.OTHER_TEAM),
        (slash_command(SATO, "a") | {"team_id": "T0ELSEWHER"}, Ignored.OTHER_TEAM),
        (button_click(SATO, "a") | {"team": {"id": "T0ELSEWHER"}}, Ignored.OTHER_TEAM),
        (button_click(SATO, "a") | {"team": None}, Ignored.OTHER_TEAM),
        (button_click(SATO, "a") | {"actions": []}, Ignored.MALFORMED),
        (event_callback(direct_message(SATO, "a") | {"user": 5}), Ignored.MALFORMED),
        (event_callback(direct_message(SATO, "a") | {"ts": None}), Ignored.MALFORMED),
        (event_callback(direct_message(BOT_USER_ID, "a")), Ignored.OWN),
        (event_callback(bot_message("a", dm(SATO), bot_id=BOT_ID)), Ignored.OWN),
        (event_callback(bot_message("a", dm(SATO))), Ignored.BOT),
        (event_callback(direct_message("USLACKBOT", "a")), Ignored.BOT),  # and it would answer back
        (event_callback(direct_message(SATO, "a", bot_profile={"id": "B1"})), Ignored.BOT),
        (event_callback(direct_message(SATO, "a", hidden=True)), Ignored.NOT_A_MESSAGE),
        (event_callback(direct_message(SATO, "", subtype="file_share")), Ignored.NOT_A_MESSAGE),
        (event_callback(channel_message(SATO, f"{BOT_USER_ID} a")), Ignored.NOT_ADDRESSED),
        (event_callback({"type": "app_home_opened", "user": SATO, "tab": "messages"}), Ignored.UNKNOWN),
        (message_shortcut(SATO, "another", channel_message(SUZUKI, "a")), Ignored.UNKNOWN),
        (global_shortcut(SATO, "save_note"), Ignored.UNKNOWN),
        ({"team_id": TEAM_ID}, Ignored.UNKNOWN),
        ({}, Ignored.OTHER_TEAM),
    ],
)  # fmt: skip
def test_what_is_not_answered_is_named(body: dict[str, Any], why: Ignored) -> None:
    assert read_incoming(body, ME) is why


def test_a_person_has_no_bot_id_that_others_could_lack_too() -> None:
    person = Identity(TEAM_ID, SUZUKI, None)
    assert isinstance(read_incoming(event_callback(direct_message(SATO, "a")), person), Message)
    assert read_incoming(event_callback(bot_message("a", dm(SATO))), person) is Ignored.BOT


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
_WHOLE = [
    event_callback(app_mention(SATO, "a")),
    slash_command(SATO, "a"),
    button_click(SATO, "task_start", "{}"),
    message_shortcut(SATO, "save_note", channel_message(SUZUKI, "a")),
]


@given(st.sampled_from(_WHOLE), st.data())
def test_a_body_that_is_wrong_somewhere_is_read_or_ignored(
    body: dict[str, Any], data: st.DataObject
) -> None:
    body = json.loads(json.dumps(body))
    place: Any = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
            place = inner
            continue
        place[key] = data.draw(_JSON)
        break

    read = read_incoming(body, ME)

    if not isinstance(read, Ignored):
        assert from_body(json.loads(json.dumps(to_body(read)))) == read
