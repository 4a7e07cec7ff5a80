"""Dates and times in figures, the same in both languages: 10/15, 2026-10-15T15:00+09:00, 15:00.

10/15 is month and day, 2026/10/15 year, month and day, 10/15/2026 month, day and year.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

from nakamura_misaki.application.time_expressions.days import moment, on_month_day
from nakamura_misaki.application.time_expressions.rules import (
    OTHER_ZONE,
    Clock,
    Meaning,
    clock,
    rule,
)

_END = r"(?![0-9a-z_/%])(?![.\-][0-9])"
_WEEKDAY = r"(?:[ ]?\([月火水木金土日](?:曜日?)?\))?"
_CLOCK = "(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(?::(?P<s>[0-9]{2})(?:[.,][0-9]{1,9})?)?"
_ZONES = {"z": UTC, "utc": UTC, "gmt": UTC, "jst": timezone(timedelta(hours=9), "JST")}


def _full_date(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(_date(match))


def _date(match: re.Match[str]) -> date:
    return date(int(match["year"]), int(match["month"]), int(match["day"]))


def _month_day(match: re.Match[str], now: datetime) -> Meaning:
    day = on_month_day(now.date(), int(match["month"]), int(match["day"]))
    # 1/2の費用 is a fraction; 10/15の15時 is a date again, since a time of day follows.
    return Meaning(day, is_weak=match["of"] is not None)


def _clock(match: re.Match[str]) -> Clock:
    return clock(int(match["h"]), int(match["m"]), int(match["s"] or 0), zone=_zone(match["zone"]))


def _zone(text: str | None) -> tzinfo | None:
    if not text or text in _ZONES:
        return _ZONES[text] if text else None
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _iso(match: re.Match[str], now: datetime) -> Meaning:
    time = _clock(match)
    at = moment(_date(match), time.since_midnight, time.zone or now.tzinfo)
    return Meaning(moment=at.astimezone(now.tzinfo))


RULES = (
    rule(
        rf"""(?P<year>[0-9]{{4}})-(?P<month>[0-9]{{1,2}})-(?P<day>[0-9]{{1,2}})
        (?:t{_CLOCK}(?P<zone>z|[+\-][0-9]{{2}}:?[0-9]{{2}})?)(?![0-9a-z_:])""",
        _iso,
    ),
    rule(
        rf"""(?P<year>[0-9]{{4}})(?P<by>[-/])(?P<month>[0-9]{{1,2}})(?P=by)(?P<day>[0-9]{{1,2}})
        [ ]{{1,3}}{_CLOCK}(?P<zone>z|\+[0-9]{{2}}:?[0-9]{{2}})(?![0-9a-z_:])""",
        _iso,
    ),
    rule(
        rf"""(?P<year>[0-9]{{4}})(?P<by>[-/])(?P<month>[0-9]{{1,2}})(?P=by)(?P<day>[0-9]{{1,2}})
        {_END}{_WEEKDAY}""",
        _full_date,
    ),
    rule(
        rf"(?P<month>[0-9]{{1,2}})/(?P<day>[0-9]{{1,2}})/(?P<year>[0-9]{{4}}){_END}",
        _full_date,
    ),
    rule(
        rf"""(?P<month>[0-9]{{1,2}})/(?P<day>[0-9]{{1,2}}){_END}{_WEEKDAY}
        (?P<of>(?=の|[ ]of\b))?""",
        _month_day,
    ),
    rule(
        rf"""{_CLOCK}(?:[ ]?(?P<zone>{"|".join(_ZONES)})\b)?
        (?![0-9a-z_/%:])(?![.][0-9])(?![ ]?{OTHER_ZONE})(?![ ]?[ap]\.?m\b)
        (?:頃|ごろ|ころ|ちょうど|きっかり)?""",
        lambda match, now: Meaning(clock=_clock(match)),
    ),
)
