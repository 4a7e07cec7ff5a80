"""How days and times of day are put together to one expression.

    expression = moment | day [day] [time of day] | time of day [day]

An expression begins with any rule of the tables that matches. Two days beside
each other are one only when they agree: 明日(10/15).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nakamura_misaki.application.time_expressions import english, japanese, numeric
from nakamura_misaki.application.time_expressions.days import moment
from nakamura_misaki.application.time_expressions.japanese_clock import CLOCK_RULES
from nakamura_misaki.application.time_expressions.numerals import KANJI_DIGITS
from nakamura_misaki.application.time_expressions.rules import Clock, Meaning, Rule

_ALL = (*numeric.RULES, *japanese.RULES, *english.RULES)
_LATIN = (*english.RULES, *CLOCK_RULES)

# Between a day and what belongs to it.
_JOINS = (
    re.compile(r"[ ]{0,3}[の、,]?[ ]{0,3}"),
    re.compile(r"[ ]{0,3},?[ ](?:at|by|around|@)[ ]"),
)
_JOIN_DAY = re.compile(r"[ ]{0,3}(?:,|[ ]on)?[ ]{1,3}(?=[0-9a-z])", re.VERBOSE)
_ENCLOSED_WEEKDAY = re.compile(rf"[ ]?\(([{japanese.WEEKDAYS}])(?:曜日?)?\)")
_JOIN_SAME = re.compile(r"[ ]{0,3}[、,]?[ ]{0,3}(?P<open>\()?")

_START = re.compile(
    f"[0-9]+|[a-z]+|[{KANJI_DIGITS}]+|[(今本明翌昨来再さ先次去令月火水木金土日週年朝早午正昼お夕夜晩深半現きあしおつ]"
)
_INSIDE = re.compile(r"(?:[0-9a-z_./\\$#\-第]|[0-9][:,])\Z")


@dataclass(frozen=True, slots=True)
class Expression:
    """A part of a folded text, from ``start`` to ``end``, that is a time."""

    start: int
    end: int
    at: datetime
    has_time: bool
    is_weak: bool


@dataclass(frozen=True, slots=True)
class _Piece:
    end: int
    meaning: Meaning


def starts(text: str, begin: int = 0) -> Iterator[int]:
    """Where in a folded text an expression can begin, in order."""
    for match in _START.finditer(text, begin):
        if not is_inside(text, match.start()):
            yield match.start()


def is_inside(text: str, at: int) -> bool:
    """Whether ``at`` lies inside a number, a word, a version or a path, such as 16.14 or v3."""
    first = text[at]
    if first.isascii() and first.isalnum():
        return _INSIDE.search(text[max(at - 2, 0) : at]) is not None
    return first in KANJI_DIGITS and at > 0 and text[at - 1] in KANJI_DIGITS + "第"


def expressions(text: str, at: int, now: datetime) -> list[Expression]:
    """Every expression that begins at that place of a folded text, the longest first."""
    pieces = list(_pieces(text, at, now))
    found = [
        expression
        for piece in pieces
        for end, meaning in ((piece.end, piece.meaning), *_joined(text, piece, now))
        if (expression := _expression(at, end, meaning, now)) is not None
    ]
    # A stable sort: of equally long ones a rule of its own comes before a combination.
    return sorted(found, key=lambda expression: -expression.end)


def _pieces(text: str, at: int, now: datetime) -> Iterator[_Piece]:
    for pattern, read in _rules(text, at):
        if match := pattern.match(text, at):
            try:
                meaning = read(match, now)
            except (ValueError, OverflowError):
                continue
            yield _Piece(match.end(), meaning)


def _rules(text: str, at: int) -> tuple[Rule, ...]:
    first = text[at : at + 1]
    if not first.isascii() or first == "(":
        return japanese.RULES
    return _LATIN if first.isalpha() else _ALL


def _joined(text: str, piece: _Piece, now: datetime) -> Iterator[tuple[int, Meaning]]:
    """The piece with what follows it, where that belongs to it."""
    day, clock = piece.meaning.day, piece.meaning.clock
    if day is not None and clock is None:
        yield from _with_clock(text, piece, now)
        for same in _with_same_day(text, piece, now):
            yield same.end, same.meaning
            yield from _with_clock(text, same, now)
    elif clock is not None and day is None and (join := _JOIN_DAY.match(text, piece.end)):
        for other in _pieces(text, join.end(), now):
            if other.meaning.day is not None:
                yield other.end, Meaning(other.meaning.day, clock)


def _with_clock(text: str, piece: _Piece, now: datetime) -> Iterator[tuple[int, Meaning]]:
    for join in _JOINS:
        if match := join.match(text, piece.end):
            for other in _pieces(text, match.end(), now):
                if other.meaning.clock is not None and other.meaning.day is None:
                    yield other.end, Meaning(piece.meaning.day, other.meaning.clock)


def _with_same_day(text: str, piece: _Piece, now: datetime) -> Iterator[_Piece]:
    enclosed = _ENCLOSED_WEEKDAY.match(text, piece.end)
    if (
        enclosed
        and piece.meaning.day
        and japanese.WEEKDAYS[piece.meaning.day.weekday()] == enclosed[1]
    ):
        yield _Piece(enclosed.end(), piece.meaning)
    join = _JOIN_SAME.match(text, piece.end)
    if join is None or join.end() == piece.end:
        return
    for other in _pieces(text, join.end(), now):
        if other.meaning.day == piece.meaning.day and other.meaning.clock is None:
            if not join["open"]:
                yield _Piece(other.end, piece.meaning)
            elif text.startswith(")", other.end):
                yield _Piece(other.end + 1, piece.meaning)


def _expression(start: int, end: int, meaning: Meaning, now: datetime) -> Expression | None:
    try:
        at = meaning.moment or _at(meaning, now)
    except (ValueError, OverflowError):
        return None
    if at is None:
        return None
    has_time = meaning.moment is not None or meaning.clock is not None
    return Expression(start, end, at, has_time, meaning.is_weak)


def _at(meaning: Meaning, now: datetime) -> datetime | None:
    """The moment of a day, or of the next time clocks show a time of day."""
    clock = meaning.clock or Clock(timedelta())
    zone = clock.zone or now.tzinfo
    if meaning.day is not None:
        return moment(meaning.day, clock.since_midnight, zone).astimezone(now.tzinfo)
    if clock.needs_day:
        return None
    today = now.astimezone(zone).date()
    at = moment(today, clock.since_midnight, zone)
    # Of two moments in one zone Python compares what clocks show, which an hour twice a day breaks.
    if at.astimezone(UTC) <= now.astimezone(UTC):
        at = moment(today + timedelta(days=1), clock.since_midnight, zone)
    return at.astimezone(now.tzinfo)
