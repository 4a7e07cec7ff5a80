"""English expressions for points in time; read on a Wednesday morning in Tokyo."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from nakamura_misaki.application.time_expressions import read_time
from nakamura_misaki.domain.errors import InvalidInput

TOKYO = ZoneInfo("Asia/Tokyo")
NOW = datetime(2026, 10, 14, 10, 30, tzinfo=TOKYO)

# A date alone says that no time of day was named.
EXPRESSIONS = [
    ("today", "2026-10-14"),
    ("tonight", "2026-10-14 20:00"),
    ("tomorrow", "2026-10-15"),
    ("day after tomorrow", "2026-10-16"),
    ("the day after tomorrow", "2026-10-16"),
    ("yesterday", "2026-10-13"),
    ("tomorrow 3pm", "2026-10-15 15:00"),
    ("tomorrow 3 pm", "2026-10-15 15:00"),
    ("tomorrow 3:30pm", "2026-10-15 15:30"),
    ("tomorrow 15:00", "2026-10-15 15:00"),
    ("tomorrow at noon", "2026-10-15 12:00"),
    ("tomorrow morning", "2026-10-15 09:00"),
    ("tomorrow midnight", "2026-10-16 00:00"),
    ("tomorrow eod", "2026-10-15"),
    ("tomorrow end of day", "2026-10-15"),
    ("midnight", "2026-10-15 00:00"),
    ("noon", "2026-10-14 12:00"),
    ("end of day", "2026-10-14"),
    ("end of week", "2026-10-16"),
    ("end of the week", "2026-10-16"),
    ("end of month", "2026-10-31"),
    ("end of the month", "2026-10-31"),
    ("next Monday", "2026-10-19"),
    ("Monday", "2026-10-19"),
    ("Mon", "2026-10-19"),
    ("this Friday", "2026-10-16"),
    ("in 3 days", "2026-10-17"),
    ("in 2 hours", "2026-10-14 12:30"),
    ("in 30 minutes", "2026-10-14 11:00"),
    ("in an hour", "2026-10-14 11:30"),
    ("in a week", "2026-10-21"),
    ("in an hour and a half", "2026-10-14 12:00"),
    ("3 days from now", "2026-10-17"),
    ("Oct 15", "2026-10-15"),
    ("October 15th", "2026-10-15"),
    ("15 Oct 2026", "2026-10-15"),
    ("Oct 15 9am", "2026-10-15 09:00"),
    ("next week", "2026-10-19"),
    ("next month", "2026-11-01"),
    ("by Friday", "2026-10-16"),
    ("3pm tomorrow", "2026-10-15 15:00"),
    ("at 3pm on Monday", "2026-10-19 15:00"),
    ("tomorrow at 3", "2026-10-15 15:00"),
    ("tomorrow at 9", "2026-10-15 09:00"),
    ("tonight at 8", "2026-10-14 20:00"),
    ("tonight at 8pm", "2026-10-14 20:00"),
    ("tomorrow night at 12", "2026-10-16 00:00"),
    ("8pm tonight", "2026-10-14 20:00"),
    ("tomorrow night at 8", "2026-10-15 20:00"),
    ("tomorrow, Thu, Oct 15, 15:00", "2026-10-15 15:00"),
    ("Sat, Oct 16, 2027, 15:00", "2027-10-16 15:00"),
    ("in 2 days and 3 hours", "2026-10-16 13:30"),
    ("in half an hour", "2026-10-14 11:00"),
    ("in 1 hour 30 minutes", "2026-10-14 12:00"),
    ("in 1h", "2026-10-14 11:30"),
    ("in 2d", "2026-10-16"),
    ("15:00 UTC", "2026-10-15 00:00"),
    ("a week from today", "2026-10-21"),
    ("within 2 days", "2026-10-16"),
    ("on Sat", "2026-10-17"),
    ("by sun", "2026-10-18"),
    ("Sat 3pm", "2026-10-17 15:00"),
    ("the 15th", "2026-10-15"),
    ("on the 15th", "2026-10-15"),
    ("15th of November", "2026-11-15"),
    ("friday next week", "2026-10-23"),
    ("next week friday", "2026-10-23"),
    ("Monday of next week", "2026-10-19"),
    ("next weekend", "2026-10-24"),
    ("this weekend", "2026-10-17"),
    ("end of next month", "2026-11-30"),
    ("last Friday", "2026-10-09"),
    ("3 o'clock", "2026-10-14 15:00"),
    ("3 days ago", "2026-10-11"),
    ("now", "2026-10-14 10:30"),
    ("Tomorrow", "2026-10-15"),
    ("TOMORROW 3PM", "2026-10-15 15:00"),
    ("tomorrow at 3:30 p.m.", "2026-10-15 15:30"),
    ("tomorrow, 3pm", "2026-10-15 15:00"),
    ("noon tomorrow", "2026-10-15 12:00"),
    ("by noon", "2026-10-14 12:00"),
    ("until 5pm", "2026-10-14 17:00"),
    ("before Friday", "2026-10-16"),
    ("this morning", "2026-10-14 09:00"),
    ("this evening", "2026-10-14 18:00"),
    ("this evening at 7", "2026-10-14 19:00"),
    ("last night", "2026-10-13 20:00"),
    ("tomorrow afternoon", "2026-10-15 13:00"),
    ("Friday morning at 9", "2026-10-16 09:00"),
    ("12am tomorrow", "2026-10-15 00:00"),
    ("12pm tomorrow", "2026-10-15 12:00"),
    ("in two weeks", "2026-10-28"),
    ("in a couple of days", "2026-10-16"),
    ("in 3 months", "2027-01-14"),
    ("in a year", "2027-10-14"),
    ("two days later", "2026-10-16"),
    ("Thursday, Oct 15", "2026-10-15"),
    ("thursday 15:00", "2026-10-15 15:00"),
    ("Oct. 15", "2026-10-15"),
    ("Oct 15, 2026", "2026-10-15"),
    ("October 15, 2026 at 3pm", "2026-10-15 15:00"),
    ("15th October", "2026-10-15"),
    ("the 15th of October", "2026-10-15"),
    ("eod", "2026-10-14"),
    ("eow", "2026-10-16"),
    ("eom", "2026-10-31"),
    ("eoy", "2026-12-31"),
    ("end of the year", "2026-12-31"),
    ("end of next week", "2026-10-23"),
    ("this week", "2026-10-16"),
    ("next year", "2027-01-01"),
    ("coming Monday", "2026-10-19"),
    ("10/15 3pm", "2026-10-15 15:00"),
    ("due Friday", "2026-10-16"),
    ("today at 17:00", "2026-10-14 17:00"),
]

NO_TIMES = [
    *("someday", "soon", "asap", "at", "by", "next", "in", "in three", "the", "may", "march", "second"),
    *("Feb 30", "October 32", "32 Oct", "Oct 0", "the 32nd", "Feb 29, 2026", "October", "Octember 5"),
    *("13pm", "3:60pm", "25pm", "3pm PST", "15:00 EST", "at 3", "at 25", "24/7", "3 pmx", "3p"),
    *("in 99999999 days", "in 999999999 years", "in 1.5 hours", "an d", "in a while", "every Monday", "in a week and a half"),
    *("tomorrow report", "todays", "mondays", "Satellite", "next Octopus", "tomorrow 3pm 4pm", "next 3pm"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS)
def test_expression_is_read(text: str, expected: str) -> None:
    found = read_time(text, NOW)
    at = f"{found.at:%Y-%m-%d %H:%M}"
    assert (at if found.has_time else at.removesuffix(" 00:00")) == expected
    assert found.at.tzinfo is TOKYO


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_time(text, NOW)
    assert repr(text) in str(caught.value)
