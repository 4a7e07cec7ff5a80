"""What a reminder looks like in Slack: text, blocks and metadata.

In Japanese or in English, as the handoff itself is written. Limits are those of
https://docs.slack.dev/reference/block-kit/blocks; Slack counts UTF-16 code units.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.application.time_expressions import describe_time
from nakamura_misaki.domain.handoff import Handoff

EVENT_TYPE = "nakamura_misaki_reminder"
"""Of the message's metadata, by which a reminder is recognised."""

COMPLETE_ACTION = "handoff_complete"
"""Of the button that completes the handoff; its value is the handoff's id."""

SLACK_USER = re.compile(r"[UW][A-Z0-9]{1,30}")

_MOST_IN_SECTION = 2900
"""Of the 3,000 that a text may have: room for the words before it."""
_MOST_IN_TEXT = 300
_MOST_IN_NAME = 80

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""https://docs.slack.dev/messaging/formatting-message-text#escaping"""

_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uff66-\uff9f]")


class _Words(NamedTuple):
    title: str
    passed: str
    line: str
    progress: str
    next_steps: str
    done: str
    handoff: str
    task: str


_WORDS: Mapping[Literal["ja", "en"], _Words] = {
    "ja": _Words(
        title="引き継ぎの時間が近づいています",
        passed="引き継ぎの時間を過ぎています",
        line="{giver} さんからの引き継ぎ: *{time}*",
        progress="進捗",
        next_steps="次の手順",
        done="完了にする",
        handoff="ハンドオフ",
        task="タスク",
    ),
    "en": _Words(
        title="A handoff is coming up",
        passed="A handoff is overdue",
        line="Handoff from {giver}: *{time}*",
        progress="Progress",
        next_steps="Next steps",
        done="Mark as done",
        handoff="handoff",
        task="task",
    ),
}


def reminder_message(handoff: Handoff, now: datetime) -> dict[str, Any]:
    """The ``text`` and ``blocks`` of chat.postMessage. ``now`` is in the team's time zone."""
    language: Literal["ja", "en"] = (
        "ja" if _JAPANESE.search(f"{handoff.progress_note}{handoff.next_steps}") else "en"
    )
    words = _WORDS[language]
    title = words.title if now <= handoff.handoff_at else words.passed
    time = describe_time(handoff.handoff_at, now, language)
    line = words.line.format(giver=_person(handoff.from_user_id), time=time)
    summary = f"{line.replace('*', '')}: "
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        _section(line),
        _section(f"*{words.progress}*\n{escaped(handoff.progress_note, _MOST_IN_SECTION)}"),
    ]
    if handoff.next_steps.strip():
        blocks.append(
            _section(f"*{words.next_steps}*\n{escaped(handoff.next_steps, _MOST_IN_SECTION)}")
        )
    named = [f"{words.handoff} `{short_id(handoff.id)}`"]
    if handoff.task_id is not None:
        named.append(f"{words.task} `{short_id(handoff.task_id)}`")
    blocks += [
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "  ·  ".join(named)}]},
        {
            "type": "actions",
            "elements": [
                {
                    "type": "button",
                    "style": "primary",
                    "action_id": COMPLETE_ACTION,
                    "value": str(handoff.id),
                    "text": {"type": "plain_text", "text": words.done, "emoji": False},
                }
            ],
        },
    ]
    one_line = " ".join(handoff.progress_note[: 2 * _MOST_IN_TEXT].split())
    return {"text": summary + escaped(one_line, _MOST_IN_TEXT), "blocks": blocks}


def reminder_metadata(handoff: Handoff, workspace_id: str) -> dict[str, Any]:
    """What the message is about, for ``was_sent`` to find it by."""
    payload = {"handoff_id": str(handoff.id), "workspace_id": workspace_id}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def escaped(text: str, most: int) -> str:
    """The text as Slack shows it just so, cut with … where it would be longer than ``most``."""
    parts: list[str] = []
    length = fitting = 0
    for character in text:
        part = _ENTITIES.get(character, character)
        length += len(part) + (character > "\uffff")
        if length > most:
            return f"{''.join(parts[:fitting])}…"
        parts.append(part)
        if length < most:
            fitting = len(parts)
    return "".join(parts)


def _person(user_id: str) -> str:
    if SLACK_USER.fullmatch(user_id):
        return f"<@{user_id}>"
    return escaped(" ".join(user_id.split()), _MOST_IN_NAME)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}
