"""Days of the calendar seen from today, and the moment of a time of day in a time zone.

Weeks begin on Monday. Functions raise ValueError or OverflowError where there is
no such day.
"""

import calendar
from datetime import UTC, date, datetime, time, timedelta, tzinfo

SATURDAY = 5
SUNDAY = 6
_FRIDAY = 4
_LATELY = timedelta(days=30)


def weekday_after(today: date, weekday: int) -> date:
    """The first such day after today; ``weekday`` counts from Monday, 0."""
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def weekday_in_week(today: date, weekday: int, weeks: int) -> date:
    """That day of this week (``weeks`` 0), of the next one (1) and so on."""
    return today + timedelta(days=weekday - today.weekday(), weeks=weeks)


def end_of_week(today: date, weeks: int = 0) -> date:
    """The week's last working day, Friday; Sunday where this week's Friday is past."""
    friday = weekday_in_week(today, _FRIDAY, weeks)
    return friday if friday >= today or weeks else weekday_in_week(today, SUNDAY, weeks)


def weekend(today: date, weeks: int = 0) -> date:
    """The week's Saturday; on a Sunday, this weekend is today."""
    saturday = weekday_in_week(today, SATURDAY, weeks)
    return saturday if saturday >= today or weeks else today


def add_months(day: date, months: int) -> date:
    """The same day some months later, or that month's last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def first_of_month(today: date, months: int = 0) -> date:
    """The first day of this month (``months`` 0) or of another."""
    return add_months(today.replace(day=1), months)


def end_of_month(today: date, months: int = 0) -> date:
    """The last day of this month (``months`` 0) or of another."""
    return add_months(today.replace(day=1), months + 1) - timedelta(days=1)


def on_month_day(today: date, month: int, day: int) -> date:
    """A date without a year: the next such date, today included.

    One that passed within the last 30 days is that past one, though: on 14 October
    10/10 is more likely last Saturday than a day in the next year, and whoever
    answers can say that it is past.
    """
    if day > calendar.monthrange(2000, month)[1]:
        raise ValueError(day)
    # A 29 February can be eight years away.
    for year in range(max(today.year - 1, 1), min(today.year + 8, 9999) + 1):
        if day <= calendar.monthrange(year, month)[1]:
            found = date(year, month, day)
            if today - found <= _LATELY:
                return found
    raise ValueError(day)


def on_day_of_month(today: date, day: int) -> date:
    """A day without a month: this month's, or the next one's that has it if that is past."""
    for months in range(13):
        first = first_of_month(today, months)
        if (
            day <= calendar.monthrange(first.year, first.month)[1]
            and first.replace(day=day) >= today
        ):
            return first.replace(day=day)
    raise ValueError(day)


def moment(day: date, since_midnight: timedelta, zone: tzinfo | None) -> datetime:
    """The moment when clocks in ``zone`` show a time of day, given as time since midnight.

    More than 24 hours lead into the next day. A time that a change of clocks leaves
    out is moved forward by the length of the gap; of two, the earlier one is meant
    (https://peps.python.org/pep-0495/).
    """
    local = datetime.combine(day, time(), zone) + since_midnight
    return local.astimezone(UTC).astimezone(zone)
