"""Parameter types and options that many commands share."""

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.types import StringParamType

from nakamura_misaki.adapters.primary.cli.context import USER_VARIABLE, Invocation, present_user
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.rules import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

F = TypeVar("F", bound=Callable[..., Any])


class TextType(StringParamType):
    """Text in UTF-8. Python turns other bytes of an argument into lone surrogates (PEP 383)."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if any("\udc80" <= character <= "\udcff" for character in text):
            self.fail("this is not UTF-8; convert it first, for example with iconv.", param, ctx)
        return text


class TextOrStdinType(TextType):
    """Text in UTF-8, or ``-`` for all of standard input without its last line break."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "-" and not (ctx and ctx.resilient_parsing):  # not while completing
            return _read_stdin()
        return super().convert(value, param, ctx)


TEXT = TextType()
TEXT_OR_STDIN = TextOrStdinType()


def _read_stdin() -> str:
    content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 2)
    if len(content) > MAX_TEXT_BYTES + 1:
        raise InvalidInput(
            f"standard input is longer than the {MAX_TEXT_BYTES:,} bytes that can be stored."
        )
    try:
        return content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"standard input is not UTF-8 (byte {error.start + 1:,} is "
            f"0x{content[error.start]:02x}); convert it first, for example with iconv."
        ) from None


def json_option(command: F) -> F:
    """Add ``--json``, which makes the answer one JSON value on stdout."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Invocation).as_json = True

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=remember,
        help="Answer in JSON, for programs.",
    )(command)


def user_option(help_text: str) -> Callable[[F], F]:
    """Add ``--user``; the command gets ``user``, by default the present one."""

    def default(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
        return value if value is not None else present_user()

    return click.option(
        "--user",
        type=TEXT,
        metavar="USER",
        callback=default,
        help=f"{help_text} [default: ${USER_VARIABLE}, else your login name]",
    )


def parse_time(text: str, zone: "ZoneInfo", *, end_of_day: bool = False) -> datetime:
    """A point in time from ISO 8601 or words (明日15時); in the team's time zone when it names none.

    A date alone is refused, or with ``end_of_day`` means that day's 23:59.
    Raises InvalidInput, also for a local time that a change of clocks left out.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return _spoken_time(text, zone, end_of_day=end_of_day)
    if _is_day(text):
        if not end_of_day:
            raise InvalidInput(f"{text!r} is a day; give the time, too, like {text.strip()}T15:00.")
        time += timedelta(hours=23, minutes=59)
    try:
        if time.tzinfo is not None:
            time.astimezone(UTC).astimezone(zone)
            return time
        local = time.replace(tzinfo=zone)
        if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != time:
            raise InvalidInput(f"there is no {text} in {zone}: the clocks were put forward then.")
    except OverflowError:
        raise InvalidInput(f"{text!r} lies beyond the years that can be stored.") from None
    return local


def _spoken_time(text: str, zone: "ZoneInfo", *, end_of_day: bool) -> datetime:
    from nakamura_misaki.application.time_expressions import read_time

    try:
        found = read_time(text, datetime.now(zone))
    except InvalidInput:
        raise InvalidInput(
            f"{text!r} is no time; write it like 2026-10-15T15:00, 2026-10-15T15:00+09:00,"
            " 明日15時 or tomorrow 3pm."
        ) from None
    if found.has_time:
        return found.at
    if not end_of_day:
        raise InvalidInput(f"{text!r} is a day; give the time, too, like {text.strip()} 15:00.")
    return found.at.replace(hour=23, minute=59)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True
