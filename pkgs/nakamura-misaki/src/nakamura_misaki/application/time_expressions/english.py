"""English days: tomorrow, next Monday, Oct 15th, in 3 days, end of the week.

What a word stands for that has several readings:

- Monday is the first Monday after today, next Monday that of the next calendar week,
  this Monday that of this one, also if it is past, as 来週の月曜 and 今週の月曜 are.
- next week is its Monday, next month its first day. The end of the week is Friday (on
  a weekend, Sunday), that of the month its last day; the weekend is Saturday.
- The end of a day is that day, without a time of day.
- Sat, Sun, Mon and so on are days only after on, by, next and the like, or beside a
  time of day; in a sentence they are other words as well.
"""

import re
from datetime import date, datetime, timedelta

from nakamura_misaki.application.time_expressions import days
from nakamura_misaki.application.time_expressions.english_clock import CLOCK_RULES, is_introduced
from nakamura_misaki.application.time_expressions.numerals import ENGLISH
from nakamura_misaki.application.time_expressions.rules import Meaning, rule, words
from nakamura_misaki.application.time_expressions.spans import Shift, shifted

_DAYS = {
    "today": 0, "tomorrow": 1, "tomorow": 1, "tommorow": 1, "tmrw": 1, "tmr": 1,
    "the day after tomorrow": 2, "day after tomorrow": 2, "yesterday": -1,
    "the day before yesterday": -2, "day before yesterday": -2,
}  # fmt: skip
_WEEKDAY_NAMES = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAYS = {name: number for number, name in enumerate(_WEEKDAY_NAMES)} | {
    **{name[:3]: number for number, name in enumerate(_WEEKDAY_NAMES)},
    "tues": 1, "weds": 2, "thur": 3, "thurs": 3,
}  # fmt: skip
_MONTH_NAMES = [
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
]
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)} | {
    **{name[:3]: number for number, name in enumerate(_MONTH_NAMES, start=1)},
    "sept": 9,
}
_UNITS = {
    "minute": "minutes", "minutes": "minutes", "min": "minutes", "mins": "minutes",
    "second": "seconds", "seconds": "seconds", "sec": "seconds", "secs": "seconds",
    "hour": "hours", "hours": "hours", "hr": "hours", "hrs": "hours", "h": "hours",
    "day": "days", "days": "days", "d": "days", "week": "weeks", "weeks": "weeks",
    "w": "weeks", "month": "months", "months": "months", "year": "years", "years": "years",
}  # fmt: skip
_WEEKS = {"this": 0, "next": 1, "last": -1, "the": 0}

_END = r"(?![a-z0-9_'])"
_ORDINAL = "(?:st|nd|rd|th)?"
_AMOUNT = rf"(?:[0-9]{{1,9}}[ ]?|{words(ENGLISH)}[ ])"
_SPAN = rf"{_AMOUNT}{words(_UNITS)}{_END}"
_HALF_MORE = rf"(?P<half>[ ]and[ ]a[ ]half{_END})?"
_SPANS = rf"(?P<parts>{_SPAN}(?:(?:,|[ ]and)?[ ]{_SPAN}){{0,3}}){_HALF_MORE}"
_PART = re.compile(
    rf"(?P<number>\b(?:[0-9]+|{words(ENGLISH)}(?=[ ])))[ ]?(?P<unit>{words(_UNITS)}){_END}"
)
_HALVES = {"hours": ("minutes", 30), "days": ("hours", 12), "years": ("months", 6)}


def _day(match: re.Match[str], now: datetime) -> Meaning:
    return Meaning(now.date() + timedelta(days=_DAYS[match["word"]]))


def _weekday(match: re.Match[str], now: datetime) -> Meaning:
    name, which, today = match["weekday"], match["which"], now.date()
    if which in ("this", "next", "last"):
        return Meaning(days.weekday_in_week(today, _WEEKDAYS[name], _WEEKS[which]))
    is_weak = which is None and name not in _WEEKDAY_NAMES and not is_introduced(match)
    return Meaning(days.weekday_after(today, _WEEKDAYS[name]), is_weak=is_weak)


def _weekday_of_week(match: re.Match[str], now: datetime) -> Meaning:
    weeks = _WEEKS[match["which"]]
    return Meaning(days.weekday_in_week(now.date(), _WEEKDAYS[match["weekday"]], weeks))


def _month_day(match: re.Match[str], now: datetime) -> Meaning:
    month, day = _MONTHS[match["month"]], int(match["day"])
    if match["year"]:
        return Meaning(date(int(match["year"]), month, day))
    return Meaning(days.on_month_day(now.date(), month, day))


def _day_of_month(match: re.Match[str], now: datetime) -> Meaning:
    day = days.on_day_of_month(now.date(), int(match["day"]))
    return Meaning(day, is_weak=not is_introduced(match))


def _distance(match: re.Match[str], now: datetime) -> Meaning:
    shift, unit = Shift(), ""
    for part in _PART.finditer(match["parts"]):
        number, unit = part["number"], _UNITS[part["unit"]]
        shift = shift.plus(unit, ENGLISH[number] if number in ENGLISH else int(number))
    if match["half"]:
        shift = shift.plus(*_HALVES[unit]) if unit in _HALVES else _refuse(unit)
    return shifted(now, shift, back=match["way"] == "ago")


def _refuse(unit: str) -> Shift:
    raise ValueError(unit)


def _half_hour(match: re.Match[str], now: datetime) -> Meaning:
    return shifted(now, Shift(seconds=1800))


def _next(match: re.Match[str], now: datetime) -> Meaning:
    today, unit = now.date(), match["unit"]
    if unit == "week":
        return Meaning(days.weekday_in_week(today, 0, 1))
    if unit == "month":
        return Meaning(days.first_of_month(today, 1))
    return Meaning(date(now.year + 1, 1, 1))


def _end_of(match: re.Match[str], now: datetime) -> Meaning:
    today, further = now.date(), 1 if match["which"] == "next" else 0
    unit = match["unit"]
    if unit == "week":
        return Meaning(days.end_of_week(today, further))
    if unit == "month":
        return Meaning(days.end_of_month(today, further))
    if unit == "year":
        return Meaning(date(now.year + further, 12, 31))
    return Meaning(today + timedelta(days=further))


_SHORT = {"eod": "day", "cob": "day", "eow": "week", "eom": "month", "eoy": "year"}


def _end_in_short(match: re.Match[str], now: datetime) -> Meaning:
    today = now.date()
    ends = {"day": today, "week": days.end_of_week(today), "month": days.end_of_month(today)}
    return Meaning(ends.get(_SHORT[match["word"]], date(now.year, 12, 31)))


def _this(match: re.Match[str], now: datetime) -> Meaning:
    today = now.date()
    day = days.end_of_week(today) if match["unit"] == "week" else days.end_of_month(today)
    return Meaning(day, is_weak=True)  # by this week is a date; this week's report is none


def _weekend(match: re.Match[str], now: datetime) -> Meaning:
    weeks = 1 if match["which"] == "next" else 0
    is_weak = match["which"] is None and not is_introduced(match)
    return Meaning(days.weekend(now.date(), weeks), is_weak=is_weak)


_MONTH = rf"(?P<month>{words(_MONTHS)})\.?"
_NAMED = rf"(?:{words(_WEEKDAYS)}\.?,?[ ])?"
RULES = (
    *CLOCK_RULES,
    rule(
        rf"(?P<word>{words(_DAYS)})(?:,?[ ](?:by[ ])?(?:eod|cob|end[ ]of[ ](?:the[ ])?day))?{_END}",
        _day,
    ),
    rule(
        rf"(?:(?P<which>next|this|coming|last)[ ])?(?P<weekday>{words(_WEEKDAYS)}){_END}",
        _weekday,
    ),
    rule(
        rf"(?P<weekday>{words(_WEEKDAYS)})[ ](?:of[ ])?(?P<which>next|this|last)[ ]week{_END}",
        _weekday_of_week,
    ),
    rule(
        rf"(?P<which>next|this|last)[ ]week(?:,?[ ]on|,)?[ ](?P<weekday>{words(_WEEKDAYS)}){_END}",
        _weekday_of_week,
    ),
    rule(
        rf"""{_NAMED}{_MONTH}[ ]?(?P<day>[0-9]{{1,2}}){_ORDINAL}(?![0-9a-z_:/%])(?![.\-][0-9])
        (?:,?[ ](?P<year>[0-9]{{4}})(?![0-9a-z_:/%]))?""",
        _month_day,
    ),
    rule(
        rf"""{_NAMED}(?:the[ ])?(?P<day>[0-9]{{1,2}}){_ORDINAL}[ ](?:of[ ])?{_MONTH}{_END}
        (?:,?[ ](?P<year>[0-9]{{4}})(?![0-9a-z_:/%]))?""",
        _month_day,
    ),
    rule(rf"the[ ](?P<day>[0-9]{{1,2}})(?:st|nd|rd|th){_END}", _day_of_month),
    rule(rf"(?:in|within)[ ]{_SPANS}(?P<way>'?[ ]time\b)?", _distance),
    rule(rf"{_SPANS}[ ](?P<way>from[ ](?:now|today)|later|ago){_END}", _distance),
    rule(rf"in[ ]half[ ]an[ ]hour{_END}", _half_hour),
    rule(rf"next[ ](?P<unit>week|month|year){_END}", _next),
    rule(rf"this[ ](?P<unit>week|month){_END}", _this),
    rule(rf"(?:(?P<which>this|the|next)[ ])?weekend{_END}", _weekend),
    rule(
        rf"""(?:the[ ])?end[ ]of[ ](?:(?P<which>the|this|next)[ ])?
        (?P<unit>day|week|month|year){_END}""",
        _end_of,
    ),
    rule(rf"(?P<word>{words(_SHORT)}){_END}", _end_in_short),
    rule(
        rf"(?:right[ ])?now{_END}",
        lambda match, now: Meaning(moment=now.replace(second=0, microsecond=0), is_weak=True),
    ),
)
