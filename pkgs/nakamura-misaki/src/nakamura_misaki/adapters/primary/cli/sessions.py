"""``session``: conversations with the assistant."""

from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option, user_option
from nakamura_misaki.domain.session import INACTIVE_DAYS, Session

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di import App


@click.group()
def session() -> None:
    """List conversations, delete those that nobody has continued."""


@session.command("list")
@user_option("Whose conversations.")
@json_option
@click.pass_obj
def list_sessions(call: Invocation, user: str) -> None:
    """List conversations, the most recently active first.

    \b
    Example:
      nakamura-misaki session list --user U01ABC123

    Exits with 0, also when there are none.
    """

    async def work(app: "App") -> list[Session]:
        return await app.sessions.list_for(user)

    from nakamura_misaki.adapters.primary.cli.render import Times, session_json, session_table

    sessions = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json([session_json(each, times) for each in sessions])
    elif sessions:
        output.print_human(session_table(sessions, times))
    else:
        output.print_human(output.styled(f"{user} has no sessions."))


@session.command()
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=INACTIVE_DAYS,
    show_default=True,
    help="How long without activity.",
)
@json_option
@click.pass_obj
def prune(call: Invocation, days: int) -> None:
    """Delete everybody's sessions without activity for so many days. Their notes stay.

    \b
    Example:
      nakamura-misaki session prune --days 90

    Exits with 0, also when there are none.
    """

    async def work(app: "App") -> int:
        return await app.sessions.prune(days)

    deleted = call.run(work)
    if call.as_json:
        output.print_json({"deleted": deleted, "days": days})
    else:
        what = output.count(deleted, "session")
        output.print_human(output.styled(f"Deleted {what} without activity for {days} days."))
