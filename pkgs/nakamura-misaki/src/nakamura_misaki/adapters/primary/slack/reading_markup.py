"""Slack's markup in the text of a message, and the plain text it stands for.

In a message's text ``&``, ``<`` and ``>`` are escaped, and what stands in angle
brackets is a mention, a channel or a link
(https://docs.slack.dev/messaging/formatting-message-text). People are kept apart
from a typed ``<@U1>``, which Slack sends escaped: here they stand between two
characters that are in no text.
"""

import re

PERSON = "\ufdd0([^\ufdd0\ufdd1]{1,64})\ufdd1"
"""A regular expression for somebody mentioned in plain text; its group is the user id."""

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"  # noncharacters, for internal use only (Unicode, section 23.7)
_RESERVED = re.compile(f"[{_OPEN}{_CLOSE}]")
_MARKUP = re.compile(r"<([^<>|\n]{1,4000})(?:\|([^<>\n]{0,4000}))?>")
_ESCAPED = re.compile("&(lt|gt|amp);")
_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&"}
_USER_ID = re.compile("@([A-Z0-9]{1,64})")
_PERSON = re.compile(PERSON)
# The help's examples, copied and pasted, come as code.
_CODE = re.compile("`([^`\n]{1,4000})`")
_AFTER_NAME = re.compile(
    r"(?:(?:さん|ちゃん|くん|君|様)(?=[\s,:、，：]|\Z))?[ \t\r\n\u3000\u200b,:、，：]*"
)
# Before a name that is no address but what the sentence is about.
_MEANT = (":", "：", "担当", "担当者", "担当は", " to", " for")
_LONGEST_MEANT = max(map(len, _MEANT))


def plain_text(raw: str, self_id: str | None = None) -> str:
    """The text as its writer saw it, people marked as PERSON has it.

    The assistant's own mentions at the beginning and at the end are left out; so are
    white space around the text and the backquotes around text that is code as a whole.
    ``to_content`` gives people back their ``<@U1>``.
    """
    marked = _MARKUP.sub(_plain, _RESERVED.sub("\ufffd", raw))
    text = _ESCAPED.sub(lambda match: _CHARACTERS[match[1]], marked).strip()
    own = f"{_OPEN}{self_id}{_CLOSE}"
    while self_id and text.startswith(own):
        text = _AFTER_NAME.sub("", text[len(own) :], count=1)
    while self_id and text.endswith(own):
        before = text.removesuffix(own).rstrip()
        if before[-_LONGEST_MEANT:].lower().endswith(_MEANT):
            break
        text = before
    copied = _CODE.fullmatch(text)
    return copied[1] if copied else text


def to_content(text: str) -> str:
    """Plain text as it is stored: people are ``<@U1>``."""
    return _PERSON.sub(r"<@\1>", text)


def _plain(match: re.Match[str]) -> str:
    target, label = match[1], match[2] or ""
    if user := _USER_ID.fullmatch(target):
        return f"{_OPEN}{user[1]}{_CLOSE}"
    if target.startswith("#"):
        return f"#{label or target[1:]}"
    if target.startswith("!"):
        name = label or target[1:].partition("^")[0]
        return name if label.startswith("@") or target.startswith("!date") else f"@{name}"
    if target.startswith("@"):
        return f"@{label or target[1:]}"
    if not label or label in target:  # an address that Slack made a link of by itself
        return label if target.startswith("mailto:") and label else target
    return f"{label} ({target})"
