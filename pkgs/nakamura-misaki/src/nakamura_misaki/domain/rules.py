"""Checks that several entities share: text, identifiers, points in time."""

from datetime import UTC, datetime
from typing import Any

from nakamura_misaki.domain.errors import InvalidInput

MAX_TITLE_CHARACTERS = 500
MAX_ID_CHARACTERS = 255
MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Longest text of a note, a description or a progress note, in bytes of UTF-8."""

_MOST_BITS = 14_280
"""Python writes no longer number as text (https://docs.python.org/3/library/stdtypes.html#int-max-str-digits)."""


def utc_now() -> datetime:
    """The present moment, timezone-aware, in UTC."""
    return datetime.now(UTC)


def require_aware(value: datetime, name: str) -> None:
    """Raise InvalidInput unless ``value`` carries a UTC offset and lies within years 1 to 9999.

    The very first and the very last moment of those are no times either: drivers
    take them for minus and plus infinity, and give those back without a time zone.
    """
    if not isinstance(value, datetime):
        raise InvalidInput(f"{name} must be a point in time, not {type(value).__name__}.")
    if value.utcoffset() is None:
        raise InvalidInput(f"{name} has no time zone; give one, such as +09:00 or Z.")
    if not 1 < value.year < 9999 and not _is_within_calendar(value):
        raise InvalidInput(f"{name} lies beyond the years that can be stored.")


def _is_within_calendar(value: datetime) -> bool:
    try:
        moment = value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return False
    return datetime.min < moment < datetime.max  # noqa: DTZ901  (both are of UTC here)


def require_text(value: str, name: str, *, max_bytes: int = MAX_TEXT_BYTES) -> None:
    """Raise InvalidInput unless ``value`` is text that PostgreSQL can hold.

    A ``text`` column can hold neither NUL nor a lone surrogate
    (https://www.postgresql.org/docs/16/datatype-character.html).
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text, not {type(value).__name__}.")
    if "\x00" in value:
        raise InvalidInput(f"{name} contains a NUL character, which can't be stored.")
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidInput(
                f"{name} contains half a surrogate pair, which is no text."
            ) from None
    if size > max_bytes:
        raise InvalidInput(
            f"{name} is {size:,} bytes long; at most {max_bytes:,} bytes can be stored."
        )


def require_line(value: str, name: str, *, max_characters: int = MAX_ID_CHARACTERS) -> None:
    """Raise InvalidInput unless ``value`` is non-blank text of a bounded length."""
    require_text(value, name)
    if not value or value.isspace():
        raise InvalidInput(f"{name} must not be blank.")
    if len(value) > max_characters:
        raise InvalidInput(
            f"{name} is {len(value):,} characters long; at most {max_characters} can be stored."
        )


def require_json(value: Any, name: str, *, depth: int = 0) -> None:
    """Raise InvalidInput unless ``value`` is JSON that ``jsonb`` can hold and give back."""
    if depth > 100:
        raise InvalidInput(f"{name} is nested more than 100 levels deep.")
    match value:
        case None | bool():
            pass
        case int():
            if value.bit_length() > _MOST_BITS:
                raise InvalidInput(f"{name} contains a whole number of more than 4,298 digits.")
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise InvalidInput(f"{name} contains {value}, which JSON has no word for.")
        case str():
            require_text(value, name)
        case dict():
            for key, item in value.items():
                require_text(key, f"a key of {name}")
                require_json(item, name, depth=depth + 1)
        case list() | tuple():
            for item in value:
                require_json(item, name, depth=depth + 1)
        case _:
            raise InvalidInput(f"{name} contains a {type(value).__name__}, which JSON can't hold.")


def require_limit(limit: int) -> None:
    """Raise InvalidInput unless ``limit`` is a number of rows that can be asked for."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 1000:
        raise InvalidInput(f"limit must be a whole number from 1 to 1000, not {limit!r}.")
