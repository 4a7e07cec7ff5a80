"""What a client may send, by kind of value; the domain's rules, told with the place of the mistake."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from nakamura_misaki.domain.rules import (
    MAX_ID_CHARACTERS,
    MAX_TEXT_BYTES,
    MAX_TITLE_CHARACTERS,
    require_aware,
    require_json,
    require_line,
    require_text,
)

MAX_QUESTION_CHARACTERS = 2000
MAX_LIMIT = 200
MAX_NAMES = 100
"""Fields of a body, or parameters of a query, beyond which it is refused as a whole."""

_IT = "it"
_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NOT_BLANK = {"pattern": r"\S"}
"""Said in the schema; the check itself is the domain's, whose notion of blank is Unicode's."""


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: object) -> object:
        # Each unknown name is an error of its own: a body full of them would hold up everybody
        # else for seconds, and be answered at many times its length.
        if isinstance(value, dict) and len(value) > MAX_NAMES:
            raise ValueError(f"there are {len(value):,} names; at most {MAX_NAMES} are looked at.")
        return value


class Body(_Given):
    """A JSON object of which every field is known."""


class Parameters(_Given):
    """A query of which every parameter is known: a misspelt filter must not be as good as none."""


def _line(most: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        require_line(value, _IT, max_characters=most)
        return value

    return check


def _text(value: str) -> str:
    require_text(value, _IT)
    return value


def _text_with_words(value: str) -> str:
    require_text(value, _IT)
    if value.isspace():
        raise ValueError("it must not be blank.")
    return value


def _written_time(value: object) -> object:
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        return value
    raise ValueError("it must be a time as of RFC 3339, such as 2026-10-15T09:00:00+09:00.")


def _stored_time(value: datetime) -> datetime:
    require_aware(value, _IT)
    return value.astimezone(UTC)


def _written_uuid(value: object) -> object:
    if isinstance(value, UUID) or (isinstance(value, str) and _UUID.fullmatch(value)):
        return value
    raise ValueError("it must be a UUID, such as 01981b30-67a8-7c6e-9d5b-2f8f0a5c1e11.")


def _written_bool(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("it must be true or false.")


def _written_int(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    raise ValueError("it must be a whole number.")


def _written_object(value: object) -> object:
    try:
        # Not orjson, which makes numbers of more than 64 bits inexact; metadata may hold them.
        read = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        return read
    raise ValueError('it must be a JSON object, such as {"source": "retro"}.')


def _json_object(value: dict[str, Any]) -> dict[str, Any]:
    require_json(value, _IT)
    return value


Title = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_TITLE_CHARACTERS,
        json_schema_extra=_NOT_BLANK,
        examples=["API統合テスト"],
    ),
    AfterValidator(_line(MAX_TITLE_CHARACTERS)),
]
UserId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        json_schema_extra=_NOT_BLANK,
        examples=["U02ABCDEF"],
    ),
    AfterValidator(_line(MAX_ID_CHARACTERS)),
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_ID_CHARACTERS, json_schema_extra=_NOT_BLANK),
    AfterValidator(_line(MAX_ID_CHARACTERS)),
]
Text = Annotated[str, Field(max_length=MAX_TEXT_BYTES), AfterValidator(_text)]
Words = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TEXT_BYTES, json_schema_extra=_NOT_BLANK),
    AfterValidator(_text_with_words),
]
Question = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_QUESTION_CHARACTERS,
        json_schema_extra=_NOT_BLANK,
        examples=["DB移行の決定事項は？"],
    ),
    AfterValidator(_text_with_words),
]
Time = Annotated[
    AwareDatetime,
    BeforeValidator(_written_time),
    AfterValidator(_stored_time),
    Field(examples=["2026-10-15T09:00:00+09:00"]),
]
EntryId = Annotated[
    UUID, BeforeValidator(_written_uuid), Field(examples=["01981b30-67a8-7c6e-9d5b-2f8f0a5c1e11"])
]
NewSessionId = Annotated[
    str,
    # What stands in a path as it is: no other characters need be escaped, and none are taken away.
    Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:@~-]{0,254}$", examples=["sess_20261015_090000"]),
]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_json_object),
    Field(description="Any JSON object, at most 100 levels deep.", examples=[{"source": "retro"}]),
]
JsonObject = Annotated[
    dict[str, Any],
    BeforeValidator(_written_object),
    AfterValidator(_json_object),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]
"""A JSON object in a query, written as its text."""
Flag = Annotated[bool, BeforeValidator(_written_bool)]
Limit = Annotated[
    int,
    Field(ge=1, le=MAX_LIMIT, description="The most entries of one answer."),
    BeforeValidator(_written_int),
]
Cursor = Annotated[
    str,
    Field(
        json_schema_extra={"maxLength": 1024},
        description="`next_cursor` of the page before; without it, the first page.",
    ),
]

NotGiven = SkipJsonSchema[None]
"""Beside a type: the parameter may be left out. (There is no such thing as null in a query.)"""
