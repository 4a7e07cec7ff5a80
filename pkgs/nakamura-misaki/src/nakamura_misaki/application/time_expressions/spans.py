"""A span of time from now on: 3日後, in 2 hours."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from nakamura_misaki.application.time_expressions.days import add_months, moment
from nakamura_misaki.application.time_expressions.rules import Meaning

_MONTHS = {"years": 12, "months": 1}
_DAYS = {"weeks": 7, "days": 1}
_SECONDS = {"hours": 3600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True, slots=True)
class Shift:
    """Calendar months, calendar days and elapsed seconds; None of the last: no clock was named."""

    months: int = 0
    days: int = 0
    seconds: int | None = None

    def plus(self, unit: str, number: int) -> "Shift":
        """The shift and so many years, months, weeks, days, hours, minutes or seconds more."""
        if unit in _MONTHS:
            return replace(self, months=self.months + number * _MONTHS[unit])
        if unit in _DAYS:
            return replace(self, days=self.days + number * _DAYS[unit])
        return replace(self, seconds=(self.seconds or 0) + number * _SECONDS[unit])


def shifted(now: datetime, shift: Shift, *, back: bool = False) -> Meaning:
    """The day that far from today, or the moment (to the minute) where hours or less were named.

    ``back`` counts into the past, which is weak: 10分前 is mostly before something else.
    Raises ValueError or OverflowError beyond the calendar.
    """
    sign = -1 if back else 1
    day = add_months(now.date(), sign * shift.months) + timedelta(days=sign * shift.days)
    if shift.seconds is None:
        return Meaning(day, is_weak=back)
    if day == now.date():  # elapsed time goes on while clocks are changed
        start = now
    else:
        start = moment(day, timedelta(hours=now.hour, minutes=now.minute), now.tzinfo)
    end = start.astimezone(UTC) + timedelta(seconds=sign * shift.seconds)
    local = end.astimezone(now.tzinfo)
    return Meaning(moment=local.replace(second=0, microsecond=0), is_weak=back)
