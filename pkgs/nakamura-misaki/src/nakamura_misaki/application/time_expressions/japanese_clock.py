"""Japanese times of day: 15時半, 午後3時, 夜8時, 正午, 今朝."""

import re
from datetime import datetime, timedelta

from nakamura_misaki.application.time_expressions.numerals import NUMBER, read_number
from nakamura_misaki.application.time_expressions.rules import Clock, Meaning, clock, rule, words

# A part of the day: its hour without a number, then ranges of hours as said and what to add.
_Part = tuple[int, tuple[tuple[range, int], ...]]
_MORNING: _Part = (9, ((range(12), 0),))
_BEFORE_NOON: _Part = (9, ((range(12), 0), (range(12, 13), -12)))
_AFTERNOON: _Part = (13, ((range(12), 12), (range(12, 24), 0)))
_MIDDAY: _Part = (12, ((range(1), 12), (range(1, 5), 12), (range(10, 17), 0)))
_EVENING: _Part = (17, ((range(3, 8), 12), (range(15, 20), 0)))
_NIGHT: _Part = (20, ((range(5), 24), (range(5, 12), 12), (range(12, 13), 12), (range(17, 30), 0)))
_DEEP_NIGHT: _Part = (
    24,
    ((range(6), 24), (range(10, 12), 12), (range(12, 13), 12), (range(22, 30), 0)),
)
_PARTS: dict[str, _Part] = {
    "早朝": (6, ((range(3, 10), 0),)), "朝": _MORNING, "朝一": _MORNING, "朝一番": _MORNING,
    "朝イチ": _MORNING, "午前": _BEFORE_NOON, "am": _BEFORE_NOON, "午後": _AFTERNOON,
    "午後一": _AFTERNOON, "午後イチ": _AFTERNOON, "pm": _AFTERNOON, "昼": _MIDDAY,
    "お昼": _MIDDAY, "夕方": _EVENING, "夕": _EVENING, "夜": _NIGHT, "晩": _NIGHT,
    "深夜": _DEEP_NIGHT, "午前中": (12, ()),
}  # fmt: skip
_PARTS_OF_DAYS = {
    "今朝": (0, "朝"), "今夕": (0, "夕"), "今夜": (0, "夜"), "今晩": (0, "夜"),
    "明朝": (1, "朝"), "明晩": (1, "夜"), "翌朝": (1, "朝"), "翌晩": (1, "夜"),
    "昨夜": (-1, "夜"), "昨晩": (-1, "夜"),
}  # fmt: skip
_ALONE = {name: part for name, part in _PARTS.items() if not name.isascii() and name != "夕"}

_ABOUT = "(?:頃|ごろ|ころ|ちょうど|きっかり)?"
# 15時間, 定時, 3時点 and 25時99分 are no times of day.
_HOURS = rf"""(?P<hour>{NUMBER})[ ]?時(?!間|点|刻|系|限|代|給|短)
    (?:(?P<minute>{NUMBER})分(?!後|前|間)|(?P<half>半))?(?![0-9]){_ABOUT}"""
_FIGURES = rf"(?P<hour>[0-9]{{1,2}}):(?P<minute>[0-9]{{2}})(?![0-9a-z_:]){_ABOUT}"


def _said(match: re.Match[str], part: str | None) -> Clock:
    hour = read_number(match["hour"])
    is_half = match.groupdict().get("half") is not None
    minute = 30 if is_half else read_number(match["minute"] or "0")
    if part is None:
        return clock(hour, minute)
    for hours, added in _PARTS[part][1]:
        if hour in hours:
            return clock(hour + added, minute)
    raise ValueError(hour)


def _hours(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=_said(match, match["part"]))


def _of_day(match: re.Match[str], now: datetime) -> Meaning:
    shift, part = _PARTS_OF_DAYS[match["word"]]
    return Meaning(now.date() + timedelta(days=shift), _said(match, part))


def _of_day_alone(match: re.Match[str], now: datetime) -> Meaning:
    shift, part = _PARTS_OF_DAYS[match["word"]]
    return Meaning(now.date() + timedelta(days=shift), clock(_PARTS[part][0]))


def _alone(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(clock=clock(_ALONE[match["part"]][0]), is_weak=True)


_THEN = "(?:[ ]{0,3}[の、,]?[ ]{0,3})"
CLOCK_RULES = (
    rule(rf"(?P<word>{words(_PARTS_OF_DAYS)}){_THEN}{_HOURS}", _of_day),
    rule(rf"(?P<word>{words(_PARTS_OF_DAYS)}){_THEN}{_FIGURES}", _of_day),
    rule(rf"(?P<word>{words(_PARTS_OF_DAYS)}){_ABOUT}", _of_day_alone),
    rule(rf"(?:(?P<part>{words(_PARTS)}){_THEN}|(?<!午[前後])){_HOURS}", _hours),
    rule(rf"(?P<part>{words(_PARTS)}){_THEN}{_FIGURES}", _hours),
    rule(rf"正午{_ABOUT}", lambda match, now: Meaning(clock=clock(12))),
    rule(rf"(?P<part>{words(_ALONE)})(?![間型勤食休礼会明飯刊顔])(?![a-z]){_ABOUT}", _alone),
)
