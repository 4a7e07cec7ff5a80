"""Options that narrow a search, and the filter that they make."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nakamura_misaki.adapters.primary.cli.options import TEXT, parse_time
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.note import SearchFilter

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

F = TypeVar("F", bound=Callable[..., Any])

_NAMES_A_YEAR = re.compile(r"\d{4}|年")

_OPTIONS = (
    click.option(
        "--category",
        "categories",
        metavar="NAME",
        type=TEXT,
        multiple=True,
        help="Only notes of this category; may be given several times for any of them.",
    ),
    click.option("--session", metavar="ID", type=TEXT, help="Only notes of this conversation."),
    click.option(
        "--since",
        metavar="WHEN",
        type=TEXT,
        help="Only notes written from then on: 2026-10-01, 昨日, 2026-10-01T09:00.",
    ),
    click.option(
        "--until",
        metavar="WHEN",
        type=TEXT,
        help="Only notes written before then; a day is included to its end.",
    ),
    click.option(
        "--metadata",
        metavar="KEY=VALUE",
        type=TEXT,
        multiple=True,
        help="Only notes whose metadata holds this; VALUE is JSON, or text if it is no JSON.",
    ),
)


def filter_options(command: F) -> F:
    """Add the options whose values ``search_filter`` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def search_filter(
    zone: "ZoneInfo",
    *,
    categories: tuple[str, ...],
    session: str | None,
    since: str | None,
    until: str | None,
    metadata: tuple[str, ...],
) -> SearchFilter:
    """The filter; days are the team's. Raises InvalidInput."""
    return SearchFilter(
        categories=categories,
        session_id=session,
        since=None if since is None else _bound(since, zone, is_end=False),
        until=None if until is None else _bound(until, zone, is_end=True),
        metadata=dict(_pair(text) for text in metadata),
    )


def _bound(text: str, zone: "ZoneInfo", *, is_end: bool) -> datetime:
    bound = _moment(text, zone, is_end=is_end)
    _require_past(text, bound, datetime.now(zone), is_end=is_end)
    return bound


def _moment(text: str, zone: "ZoneInfo", *, is_end: bool) -> datetime:
    try:
        return parse_time(text, zone)
    except InvalidInput:
        # A day, if it is one: until 23:59 of it, which is a minute short of the next.
        day = parse_time(text, zone, end_of_day=True).astimezone(zone)
    midnight = _midnight(day)
    try:
        return midnight + timedelta(days=1) if is_end else midnight
    except OverflowError:
        raise InvalidInput(f"{text!r} lies beyond the years that can be stored.") from None


def _require_past(text: str, bound: datetime, now: datetime, *, is_end: bool) -> None:
    # Words and dates without a year mean the next such time (10/1, 月曜): right for what is due,
    # but no note was written then, and the answer would be nothing, or everything.
    latest = _midnight(now) + timedelta(days=1) if is_end else now
    if bound > latest and not _NAMES_A_YEAR.search(text):
        raise InvalidInput(
            f"{text!r} is taken for {bound:%Y-%m-%d %H:%M}, which is yet to come;"
            " write a day with its year, like 2026-10-01."
        )


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidInput(f"{text!r} names no metadata; write it like status=open.")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value
