"""Points in time as the legacy files write them.

Session files hold naive local time of the host, note files naive UTC; this
project's own fields always carry their offset.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from nakamura_misaki.domain.errors import InvalidInput

LOCAL_ZONE = ZoneInfo("Asia/Tokyo")
"""Where the host stands that wrote the legacy session files, unless configured otherwise."""

ROUNDING = timedelta(milliseconds=1)
"""How far two writings of one moment may be apart."""


def parse_time(value: Any, field: str, naive_zone: tzinfo) -> datetime:
    """The moment in UTC; text without an offset is taken as time of ``naive_zone``.

    Raises InvalidInput for anything but an ISO 8601 date and time.
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{field} must be an ISO 8601 text, not {type(value).__name__}.")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            if naive_zone is UTC:
                return moment.replace(tzinfo=UTC)
            moment = moment.replace(tzinfo=naive_zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        shown = value if len(value) <= 40 else value[:40] + "…"
        raise InvalidInput(f"{field} is no date and time: {shown!r}.") from None


def optional_time(value: Any, field: str) -> datetime | None:
    """The moment in UTC that one of this project's own fields holds, or None for null."""
    return None if value is None else own_time(value, field)


def own_time(value: Any, field: str) -> datetime:
    """The moment in UTC. Raises InvalidInput unless the text carries its offset."""
    moment = aware_or_none(value)
    if moment is None:
        raise InvalidInput(f"{field} must be an ISO 8601 time with its offset, such as Z.")
    return moment.astimezone(UTC)


def aware_or_none(value: Any) -> datetime | None:
    """The moment with the offset as written, or None if ``value`` is no such text."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            return None
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment


def modification_time(modified_ns: int) -> datetime:
    """A file's modification time (nanoseconds since 1970) in UTC, to the microsecond."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=modified_ns // 1000)
    except OverflowError:
        raise InvalidInput("it has no time, and its file's modification time is absurd.") from None


def utc_text(moment: datetime) -> str:
    """The moment in UTC with its offset."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def naive_utc_text(moment: datetime) -> str:
    """The moment as ``datetime.utcnow().isoformat()`` would have written it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """The moment in local time, or in UTC where the calendar ends before that."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)
