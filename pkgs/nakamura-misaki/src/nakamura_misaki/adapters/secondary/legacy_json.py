"""JSON as the legacy files hold it: read whatever is readable, written one way only."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from nakamura_misaki.domain.errors import InvalidInput

_BOM = b"\xef\xbb\xbf"
_WIDEST = 2.0**63


def parse(data: bytes) -> Any:
    """The value that ``data`` (UTF-8, a byte order mark allowed) holds.

    What orjson refuses (NaN, half surrogate pairs) or rounds (integers beyond 64
    bits, https://github.com/ijl/orjson#deserialize) is left to the standard
    library, so that only what is no JSON at all fails here, and every digit
    arrives. Raises InvalidInput.
    """
    if data.startswith(_BOM):
        data = data[3:]
    try:
        value = orjson.loads(data)
        if _may_be_rounded(value):
            return _parse_leniently(data)
    except (orjson.JSONDecodeError, RecursionError):
        return _parse_leniently(data)
    return value


def _may_be_rounded(value: Any) -> bool:
    kind = type(value)
    if kind is not dict and kind is not list:
        return False
    for item in value.values() if kind is dict else value:
        kind = type(item)
        if kind is float:
            if not -_WIDEST < item < _WIDEST:
                return True
        elif (kind is dict or kind is list) and _may_be_rounded(item):
            return True
    return False


def _parse_leniently(data: bytes) -> Any:
    if not data.strip():
        raise InvalidInput("the file is empty.")
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"it is not UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"it is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise InvalidInput("its JSON is nested too deeply.") from None
    except ValueError:
        raise InvalidInput("it holds a number that is too long to be read.") from None


def canonical(value: Any) -> bytes:
    """The same bytes for equal values, whatever the order of their keys."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Half surrogate pairs stay escaped this way instead of failing.
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def document(value: Any) -> bytes:
    """A whole file: indented by 2, non-ASCII characters as they are, a final newline."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
        return text.encode("utf-8", "backslashreplace") + b"\n"


def element(value: Any) -> bytes:
    """``value`` as it stands inside a document's outermost array or object."""
    return document(value).rstrip(b"\n").replace(b"\n", b"\n  ")


def ordered(value: Any) -> Any:
    """The same value with the keys of every object in order.

    A store may give back keys in an order of its own (``jsonb`` does), and two
    exports of the same data are to be the same bytes.
    """
    if isinstance(value, Mapping):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [ordered(item) for item in value]
    return value
