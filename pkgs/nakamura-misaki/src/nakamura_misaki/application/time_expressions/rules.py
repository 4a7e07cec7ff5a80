"""What the tables of the languages are made of: rules, and what a matched rule means."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day, as the time since midnight; 25:00 is one o'clock of the next day.

    ``zone`` is set where the text names one. ``needs_day`` marks words that are a
    time of day only beside a day: "at 3".
    """

    since_midnight: timedelta
    zone: tzinfo | None = None
    needs_day: bool = False


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a rule read: a day, a time of day, both, or a moment.

    ``is_weak`` marks words that are a time only where a time is asked for, since
    they have another sense as often: sat, 1/2の, 夜. Beside a time of day they are
    one again.
    """

    day: date | None = None
    clock: Clock | None = None
    moment: datetime | None = None
    is_weak: bool = False


OTHER_ZONE = r"(?:e[sd]t|c[sd]t|m[sd]t|p[sd]t|ces?t|bst|ist|kst)\b"
"""A pattern for names of time zones that several offsets share: no time is better than a wrong one."""

Read = Callable[[re.Match[str], datetime], Meaning]


class Rule(NamedTuple):
    """A pattern in folded text, and its reader.

    The reader gets the match and now. It raises ValueError or OverflowError where
    the words have the form but no meaning: 2月30日.
    """

    pattern: re.Pattern[str]
    read: Read


def rule(pattern: str, read: Read) -> Rule:
    """A rule; the pattern may hold blanks and line breaks for legibility."""
    return Rule(re.compile(pattern, re.VERBOSE), read)


def words(table: Mapping[str, object]) -> str:
    """A pattern for any of a table's keys, the longest first."""
    keys = sorted(table, key=len, reverse=True)
    return "(?:" + "|".join(re.escape(key) for key in keys) + ")"


def clock(hours: int, minutes: int = 0, seconds: int = 0, *, zone: tzinfo | None = None) -> Clock:
    """A time of day from 0:00 to 29:59, as shops and broadcasters count in Japan."""
    if not (0 <= hours < 30 and 0 <= minutes < 60 and 0 <= seconds < 60):
        raise ValueError(hours, minutes, seconds)
    return Clock(timedelta(hours=hours, minutes=minutes, seconds=seconds), zone)
