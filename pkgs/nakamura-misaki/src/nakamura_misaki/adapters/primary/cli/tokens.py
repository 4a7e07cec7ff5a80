"""``token``: who may use the API."""

import re
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import TEXT, json_option, parse_time
from nakamura_misaki.application.access import ApiToken
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.rules import utc_now

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from rich.table import Table

    from nakamura_misaki.adapters.primary.cli.render import Times
    from nakamura_misaki.infrastructure.di import App

_SPAN = re.compile(r"([0-9]{1,6})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_STYLES = {"valid": "green", "expired": "dim", "revoked": "dim"}


@click.group()
def token() -> None:
    """Make, list and revoke the tokens with which programs use the API.

    A token reaches the workspace of $WORKSPACE_ID and nothing else. Those that the setting
    API_TOKENS holds are not among these: they are valid as long as they stand there.
    """


@token.command()
@click.argument("name", type=TEXT)
@click.option(
    "--user", metavar="USER", type=TEXT, help="Act only as this user. [default: as any of them]"
)
@click.option(
    "--expires",
    metavar="WHEN",
    type=TEXT,
    help="12h, 90d, 8w, or a time. [default: when it is revoked]",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing beside the token.")
@json_option
@click.pass_obj
def create(call: Invocation, name: str, user: str | None, expires: str | None, quiet: bool) -> None:
    """Make a token and print it, once: only its hash is kept.

    Standard output holds the token and nothing else. A day as WHEN means its end.

    \b
    Examples:
      nakamura-misaki token create grafana --expires 90d
      TOKEN=$(nakamura-misaki token create ci --user U01ABC123 --quiet)

    Exits with 4 if a valid token has the name, 2 if a value breaks a rule.
    """
    expires_at = None if expires is None else _expiry(expires, call.zone)

    async def work(app: "App") -> tuple[ApiToken, str]:
        return await app.own.tokens.create(name, user_id=user, expires_at=expires_at)

    from nakamura_misaki.adapters.primary.cli.render import Times

    made, text = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json(_token_json(call, made, times) | {"token": text})
        return
    sys.stdout.write(f"{text}\n")
    if not quiet:
        whose = "" if user is None else f", as {user} only"
        until = "it is revoked" if made.expires_at is None else times.full(made.expires_at)
        sys.stdout.flush()  # so that the token comes first where both are one terminal
        sys.stderr.write(
            f"Lets in {output.one_line(name)}{output.one_line(whose)}, until {until}."
            " Keep it now: it can't be shown again.\n"
        )


@token.command("list")
@json_option
@click.pass_obj
def list_tokens(call: Invocation) -> None:
    """List the workspace's tokens, revoked and expired ones too, oldest first.

    A use is noted at most every five minutes.

    \b
    Example:
      nakamura-misaki token list

    Exits with 0, also when there are none.
    """

    async def work(app: "App") -> list[ApiToken]:
        return await app.own.tokens.list()

    from nakamura_misaki.adapters.primary.cli.render import Times

    tokens = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json([_token_json(call, each, times) for each in tokens])
        return
    workspace = call.settings.workspace_id
    if not tokens:
        output.print_human(output.styled(f"The workspace {workspace} has no tokens."))
        return
    output.print_human(_table(tokens, times))


@token.command()
@click.argument("name_or_id", metavar="NAME_OR_ID", type=TEXT)
@json_option
@click.pass_obj
def revoke(call: Invocation, name_or_id: str) -> None:
    """End a token at once, and for good; its name is free again.

    \b
    Example:
      nakamura-misaki token revoke ci

    Exits with 3 if there is none, 2 if it was revoked before.
    """

    async def work(app: "App") -> ApiToken:
        return await app.own.tokens.revoke(name_or_id)

    from nakamura_misaki.adapters.primary.cli.render import Times, line

    ended = call.run(work)
    if call.as_json:
        output.print_json(_token_json(call, ended, Times(call.zone)))
    else:
        output.print_human(line("Revoked", short_id(ended.id), ended.name))


def _expiry(text: str, zone: "ZoneInfo") -> datetime:
    span = _SPAN.fullmatch(text.strip())
    if span is None:
        return parse_time(text, zone, end_of_day=True)
    try:
        return utc_now() + timedelta(hours=int(span[1]) * _HOURS[span[2]])
    except OverflowError:
        raise InvalidInput(f"{text!r} from now lies beyond the years that can be stored.") from None


def _token_json(call: Invocation, shown: ApiToken, times: "Times") -> dict[str, Any]:
    return {
        "id": str(shown.id),
        "name": shown.name,
        "workspace_id": call.settings.workspace_id,
        "user_id": shown.user_id,
        "state": shown.state(times.now),
        "created_at": times.iso(shown.created_at),
        "expires_at": times.iso(shown.expires_at),
        "revoked_at": times.iso(shown.revoked_at),
        "last_used_at": times.iso(shown.last_used_at),
    }


def _table(tokens: list[ApiToken], times: "Times") -> "Table":
    made = output.table("ID", "STATE", "CREATED", "LAST USED", "EXPIRES", "USER", "NAME")
    for each in tokens:
        state = each.state(times.now)
        made.add_row(
            output.styled(short_id(each.id), "bold"),
            output.styled(state, _STYLES[state]),
            output.styled(times.day(each.created_at)),
            output.styled(times.words(each.last_used_at) if each.last_used_at else "never"),
            output.styled(times.words(each.expires_at) if each.expires_at else "never"),
            output.styled(each.user_id or "any"),
            output.styled(each.name),
        )
    return made
