"""A point in time in the words of the team's language."""

from datetime import date, datetime, timedelta
from typing import Literal

_JAPANESE_WEEKDAYS = "月火水木金土日"
_ENGLISH_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ENGLISH_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_NEAR = {"ja": ("今日 ", "明日 "), "en": ("today, ", "tomorrow, ")}


def describe_time(
    at: datetime, now: datetime, language: Literal["ja", "en"], *, has_time: bool = True
) -> str:
    """Like 明日 10月15日(木) 15:00 or "tomorrow, Thu, Oct 15, 15:00".

    In now's time zone, with the year only where it differs from now's. Without
    ``has_time`` the day alone is named. ``read_time`` understands it again.
    """
    try:
        local = at.astimezone(now.tzinfo)
    except OverflowError:  # the calendar ends before this moment gets there
        local = at
    describe = _japanese_day if language == "ja" else _english_day
    day = describe(local.date(), now.date())
    if not has_time:
        return day
    return f"{day}{' ' if language == 'ja' else ', '}{local:%H:%M}"


def _japanese_day(day: date, today: date) -> str:
    year = "" if day.year == today.year else f"{day.year}年"
    weekday = _JAPANESE_WEEKDAYS[day.weekday()]
    return f"{_near(day, today, 'ja')}{year}{day.month}月{day.day}日({weekday})"


def _english_day(day: date, today: date) -> str:
    year = "" if day.year == today.year else f", {day.year}"
    weekday, month = _ENGLISH_WEEKDAYS[day.weekday()], _ENGLISH_MONTHS[day.month - 1]
    return f"{_near(day, today, 'en')}{weekday}, {month} {day.day}{year}"


def _near(day: date, today: date, language: Literal["ja", "en"]) -> str:
    ahead = (day - today) // timedelta(days=1)
    return _NEAR[language][ahead] if ahead in (0, 1) else ""
