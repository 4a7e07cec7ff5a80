"""English times of day: 3pm, 3:30 p.m., noon, morning, at 9, tonight at 8.

Midnight is the end of its day (tomorrow at midnight is 24:00 of tomorrow). A part
of the day without a number is: morning 9:00, noon 12:00, afternoon 13:00, evening
18:00, night and tonight 20:00. "at 3" without am or pm is a working hour: 8 to 12 as
they are, 1 to 7 in the afternoon; and it is a time of day only beside a day.
"""

import re
from dataclasses import replace
from datetime import datetime, timedelta

from nakamura_misaki.application.time_expressions.rules import (
    OTHER_ZONE,
    Clock,
    Meaning,
    clock,
    rule,
    words,
)

_DEFAULTS = {"morning": 9, "afternoon": 13, "evening": 18, "night": 20, "tonight": 20}
_NAMED = {"noon": 12, "midday": 12, "midnight": 24}

_END = r"(?![a-z0-9_'])"
_HALF = rf"[ap]\.m\.|[ap]m{_END}"
_FIGURES = r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))?"
_INTRODUCED = re.compile(r"\b(?:at|on|by|until|till|before|from|due|for)[ ]{1,3}\Z")
_LONGEST_INTRODUCTION = 12


def is_introduced(match: re.Match[str]) -> bool:
    """Whether a word before the match, such as by or on, says that a time follows."""
    before = match.string[max(match.start() - _LONGEST_INTRODUCTION, 0) : match.start()]
    return _INTRODUCED.search(before) is not None


def _twelve_hours(match: re.Match[str]) -> Clock:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if hour > 12:
        raise ValueError(hour)
    return clock(hour % 12 + (12 if match["half"][0] == "p" else 0), minute)


def _with_half(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=_twelve_hours(match))


def _working_hour(match: re.Match[str]) -> Clock:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    return clock(hour + 12 if 1 <= hour <= 7 and not match["minute"] else hour, minute)


def _at(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=replace(_working_hour(match), needs_day=True))


def _oclock(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=_working_hour(match))


def _in_part(part: str, match: re.Match[str]) -> Clock:
    """A number after a part of the day: evening at 8, tonight 8:30."""
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if match["half"]:
        return _twelve_hours(match)
    if part != "morning" and 1 <= hour <= 11:
        hour += 12
    elif part not in ("morning", "afternoon") and hour == 12:
        hour = 24
    return clock(hour, minute)


def _part(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=_in_part(match["part"], match))


def _part_alone(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=clock(_DEFAULTS[match["part"]]), is_weak=True)


def _today(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(now.date(), _in_part(match["part"] or "tonight", match))


def _today_alone(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(now.date(), clock(_DEFAULTS[match["part"] or "tonight"]))


def _last_night(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(now.date() - timedelta(days=1), clock(_DEFAULTS["night"]))


def _named(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=clock(_NAMED[match["name"]]), is_weak=not is_introduced(match))


_PARTS = "morning|afternoon|evening|night"
_THIS = "(?:tonight|this[ ](?P<part>morning|afternoon|evening))"
_HOUR_TOO = rf"(?:,?[ ](?:at[ ])?|,[ ]?){_FIGURES}(?![0-9:])(?:[ ]?(?P<half>{_HALF}))?(?![a-z0-9_/%])(?![.][0-9])"
CLOCK_RULES = (
    rule(
        rf"(?:at[ ])?{_FIGURES}[ ]?(?P<half>{_HALF})(?![a-z0-9_])(?![ ]?{OTHER_ZONE})", _with_half
    ),
    rule(rf"(?:at[ ])?{_FIGURES}[ ]?o'?clock{_END}", _oclock),
    rule(rf"at[ ]{_FIGURES}(?![0-9:a-z_/%])(?![.\-][0-9])(?![ ]?{_HALF})", _at),
    rule(rf"(?:at[ ])?(?P<name>{words(_NAMED)}){_END}", _named),
    rule(rf"(?:in[ ]the[ ])?(?P<part>{_PARTS}){_HOUR_TOO}", _part),
    rule(rf"(?:in[ ]the[ ])?(?P<part>{_PARTS}){_END}", _part_alone),
    rule(rf"{_THIS}{_HOUR_TOO}", _today),
    rule(rf"{_THIS}{_END}", _today_alone),
    rule(rf"last[ ]night{_END}", _last_night),
)
