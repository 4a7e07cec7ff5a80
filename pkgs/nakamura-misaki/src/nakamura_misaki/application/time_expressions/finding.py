"""Finding a point in time in what a person wrote."""

import re
from dataclasses import dataclass
from datetime import datetime

from nakamura_misaki.application.time_expressions.folding import Folded, fold
from nakamura_misaki.application.time_expressions.grammar import (
    Expression,
    expressions,
    is_inside,
    starts,
)
from nakamura_misaki.domain.errors import InvalidInput

MAX_SEARCHED_CHARACTERS = 20_000
"""How much of a text is searched for a time."""

MAX_EXPRESSION_CHARACTERS = 100
"""The longest text that is read as one expression."""

_SHOWN_CHARACTERS = 40
_SKIPPED = re.compile(
    r"[a-z][a-z0-9+.\-]{1,20}://[!-~]*|`[^`\n]{0,500}`|[\w.+\-]{1,64}@[\w.\-]{1,255}"
)
_RECURRING = re.compile(r"毎(?:[日朝晩夕夜週月年]|営業日)の?[ ]?|隔週の?[ ]?|\bevery[ ]")
_BEFORE = re.compile(r"[\s、。,.:;(]*(?:(?:by|until|till|before|from|on|due)[ ]+)?")
_AFTER = re.compile(r"[ ]{0,3}(?:まで(?:に)?|迄に?|に|から|より|以降|は|で|です)?[\s、。,.!;:]*\Z")


@dataclass(frozen=True, slots=True)
class FoundTime:
    """A point in time and where it is said, in code points of the text given.

    ``at`` is in now's time zone. Without a time of day (``has_time`` is false) it is
    the first moment of the day meant: 今日中 and "by Friday" hold to that day's end.
    """

    start: int
    end: int
    at: datetime
    has_time: bool


def find_time(text: str, now: datetime) -> FoundTime | None:
    """The time that a text names, or None.

    Of several the first counts that is not before today, else the first; each is
    taken as long as possible. Words that are as often no time at all (sat, may,
    1/2の, 夜) are left out, and so are URLs, code, versions and what recurs
    (毎週月曜). ``now`` is aware; its zone is the one meant. Only the first
    MAX_SEARCHED_CHARACTERS are searched.
    """
    folded = fold(text[:MAX_SEARCHED_CHARACTERS])
    first: Expression | None = None
    for expression in _strong(folded.text, now):
        if expression.at.date() >= now.date():
            return _found(folded, expression)
        first = first or expression
    return _found(folded, first) if first else None


def _strong(text: str, now: datetime) -> list[Expression]:
    skipped = [(match.start(), match.end()) for match in _SKIPPED.finditer(text)]
    skipped += [_recurring(text, match, now) for match in _RECURRING.finditer(text)]
    skipped.sort()
    found: list[Expression] = []
    free, next_skipped = 0, 0
    for start in starts(text):
        while next_skipped < len(skipped) and skipped[next_skipped][0] <= start:
            free = max(free, skipped[next_skipped][1])
            next_skipped += 1
        if start < free:
            continue
        strong = (found for found in expressions(text, start, now) if not found.is_weak)
        if expression := next(strong, None):
            found.append(expression)
            free = expression.end
    return found


def _recurring(text: str, match: re.Match[str], now: datetime) -> tuple[int, int]:
    """The part of the text that says when something is done again and again."""
    end = match.end()
    longest = expressions(text, end, now)[:1]
    return match.start(), longest[0].end if longest else end


def find_time_at_end(text: str, now: datetime) -> FoundTime | None:
    """The longest expression that reaches to the very end of a text, or None. Weak ones count."""
    offset = max(len(text) - MAX_EXPRESSION_CHARACTERS, 0)
    folded = fold(text[offset:])
    for start in starts(folded.text):
        for expression in expressions(folded.text, start, now):
            if expression.end == len(folded.text) and not _is_skipped(folded.text, start):
                found = _found(folded, expression)
                return FoundTime(found.start + offset, found.end + offset, found.at, found.has_time)
    return None


def _is_skipped(text: str, at: int) -> bool:
    return any(match.start() <= at < match.end() for match in _SKIPPED.finditer(text)) or any(
        match.end() == at for match in _RECURRING.finditer(text)
    )


def read_time(text: str, now: datetime) -> FoundTime:
    """The time that the whole text is.

    Blanks and punctuation around it, a particle after it (まで, に, から) and a word
    before it (by, until) are allowed. Raises InvalidInput for anything else.
    """
    if len(text) <= MAX_EXPRESSION_CHARACTERS:
        folded = fold(text)
        introduced = _BEFORE.match(folded.text)
        for start in {introduced.end() if introduced else 0, 0}:
            found = _whole(folded, start, now)
            if found is not None:
                return found
    shown = text.strip()
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
    raise InvalidInput(
        f"{shown!r} is no time; write it like 明日15時, 来週月曜, 10/15 9:00 or tomorrow 3pm."
    )


def _whole(folded: Folded, start: int, now: datetime) -> FoundTime | None:
    if start >= len(folded.text) or is_inside(folded.text, start):
        return None
    for expression in expressions(folded.text, start, now):
        if _AFTER.match(folded.text, expression.end):
            return _found(folded, expression)
    return None


def _found(folded: Folded, expression: Expression) -> FoundTime:
    start, end = folded.span(expression.start, expression.end)
    return FoundTime(start, end, expression.at, expression.has_time)
