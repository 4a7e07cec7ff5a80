"""Slack's Block Kit, as far as the answers use it: every limit is kept here.

What people wrote goes only where Slack reads no markup: into ``plain_text`` and
into the elements of ``rich_text``, which are shown letter by letter. Limits:
https://docs.slack.dev/reference/block-kit/blocks
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Block: TypeAlias = dict[str, Any]
Blocks: TypeAlias = list[Block]

MOST_BLOCKS = 50
_HEADER = 150
_SECTION = 3000
_LABEL = 75
_FALLBACK = 1000
_NOTHING = "-"
_USER_ID = re.compile(r"[UW][A-Z0-9]{1,30}")
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its blocks, and the text that a notification shows."""

    text: str
    blocks: Blocks


@dataclass(frozen=True, slots=True)
class Bold:
    """A word set off."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Something to be typed as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Person:
    """A user, named by Slack. One who is none of Slack's, from elsewhere, is named by the id."""

    id: str


Piece: TypeAlias = str | Bold | Code | Person


def answer(fallback: str, *blocks: Block) -> Answer:
    """An answer of at most MOST_BLOCKS blocks; ``fallback`` is plain text of any length."""
    return Answer(cut(_shown(fallback), _FALLBACK).translate(_MARKUP), list(blocks)[:MOST_BLOCKS])


def sentence(text: str) -> Answer:
    """An answer of one sentence."""
    return answer(text, plain(text))


def header(text: str) -> Block:
    return {"type": "header", "text": _plain(text, _HEADER)}


def plain(text: str, accessory: Block | None = None) -> Block:
    """A paragraph, shown as it is."""
    block: Block = {"type": "section", "text": _plain(text, _SECTION)}
    return block if accessory is None else {**block, "accessory": accessory}


def context(*texts: str) -> Block:
    """Small print."""
    return {"type": "context", "elements": [_plain(" ・ ".join(filter(None, texts)), _SECTION)]}


def rich(*lines: Iterable[Piece]) -> Block:
    """Lines of words, some set off, and people."""
    elements: list[Block] = []
    for number, line in enumerate(lines):
        if number:
            elements.append({"type": "text", "text": "\n"})
        elements += [_element(piece) for piece in line if not isinstance(piece, str) or piece]
    return {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": elements or [_text(_NOTHING)]}],
    }


def button(label: str, action: str, value: dict[str, Any], *, style: str | None = None) -> Block:
    """A button. ``value`` comes back when it is pressed; ``style`` is primary or danger."""
    made: Block = {
        "type": "button",
        "text": _plain(label, _LABEL),
        "action_id": action,
        "value": json.dumps(value, separators=(",", ":")),
    }
    return made if style is None else {**made, "style": style}


def actions(buttons: Sequence[Block]) -> Block:
    return {"type": "actions", "elements": list(buttons)}


def cut(text: str, most: int) -> str:
    """The text in at most so many UTF-16 units, as Slack counts them."""
    if _length(text) <= most:
        return text
    kept = text[: most - 1]
    while _length(kept) > most - 1:
        kept = kept[: -max(1, (_length(kept) - most + 1) // 2)]
    return f"{kept}…"


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _shown(text: str) -> str:
    return text if text.strip() else _NOTHING


def _plain(text: str, most: int) -> Block:
    # Without ``emoji: false`` an entry about :warning: would show a picture.
    return {"type": "plain_text", "text": cut(_shown(text), most), "emoji": False}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _element(piece: Piece) -> Block:
    match piece:
        case Person():
            if _USER_ID.fullmatch(piece.id):
                return {"type": "user", "user_id": piece.id}
            return _text(cut(piece.id, _LABEL) or _NOTHING)
        case Bold():
            return {**_text(piece.text or _NOTHING), "style": {"bold": True}}
        case Code():
            return {**_text(piece.text or _NOTHING), "style": {"code": True}}
    return _text(piece)
