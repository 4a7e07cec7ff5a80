"""``handoff``: work that passes from one person to another at an appointed time."""

from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import (
    TEXT,
    TEXT_OR_STDIN,
    json_option,
    parse_time,
    user_option,
)
from nakamura_misaki.domain.handoff import Handoff

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di import App


@click.group()
def handoff() -> None:
    """Hand work over, see what comes to you, confirm it.

    An ID is what 'handoff list' shows, a UUID, or at least 4 of a UUID's first or last digits.
    """


@handoff.command()
@click.argument("progress", type=TEXT_OR_STDIN)
@click.option("--to", metavar="USER", type=TEXT, required=True, help="Who takes over.")
@click.option(
    "--at", metavar="TIME", type=TEXT, required=True, help="When: a time, or words such as 明日9時."
)
@click.option("--task", "task_id", metavar="ID", type=TEXT, help="The task that is handed over.")
@click.option(
    "--next", "next_steps", metavar="TEXT", type=TEXT_OR_STDIN, default="", help="What comes next."
)
@user_option("Who hands over.")
@json_option
@click.pass_obj
def add(
    call: Invocation,
    progress: str,
    to: str,
    at: str,
    task_id: str | None,
    next_steps: str,
    user: str,
) -> None:
    """Hand work over. PROGRESS says how far it is; - reads it from standard input.

    TIME is ISO 8601, in the team's time zone unless it names another. The receiver's reminder is
    due 10 minutes before.

    \b
    Example:
      nakamura-misaki handoff add "レビューまで完了" --to U02DEF456 --at "2026-10-15 18:00"

    Exits with 2 if a value breaks a rule, 3 if there is no such task.
    """
    handoff_at = parse_time(at, call.zone)

    async def work(app: "App") -> Handoff:
        return await app.handoffs.add(
            from_user_id=user,
            to_user_id=to,
            progress_note=progress,
            handoff_at=handoff_at,
            task_id=None if task_id is None else await app.tasks.find_id(task_id),
            next_steps=next_steps,
        )

    _show(call, call.run(work), "Added")


@handoff.command("list")
@click.option("--all", "everything", is_flag=True, help="Completed ones, too.")
@user_option("Whose: the receiver.")
@json_option
@click.pass_obj
def list_handoffs(call: Invocation, everything: bool, user: str) -> None:
    """List the handoffs to one person, earliest first.

    \b
    Example:
      nakamura-misaki handoff list --user U02DEF456

    Exits with 0, also when there are none.
    """

    async def work(app: "App") -> list[Handoff]:
        return await app.handoffs.list_to(user, completed=everything)

    from nakamura_misaki.adapters.primary.cli.render import Times, handoff_json, handoff_table

    handoffs = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json([handoff_json(each, times) for each in handoffs])
    elif handoffs:
        output.print_human(handoff_table(handoffs, times))
    else:
        output.print_human(output.styled(f"Nothing is handed over to {user}."))


@handoff.command()
@click.argument("handoff_id", metavar="ID", type=TEXT)
@json_option
@click.pass_obj
def show(call: Invocation, handoff_id: str) -> None:
    """Show one handoff.

    \b
    Example:
      nakamura-misaki handoff show 51c07be2

    Exits with 3 if there is none, 2 if several have that ID.
    """

    async def work(app: "App") -> Handoff:
        return await app.handoffs.show(await app.handoffs.find_id(handoff_id))

    _show(call, call.run(work))


@handoff.command()
@click.argument("handoff_id", metavar="ID", type=TEXT)
@json_option
@click.pass_obj
def done(call: Invocation, handoff_id: str) -> None:
    """Confirm that a handoff took place.

    \b
    Example:
      nakamura-misaki handoff done 51c07be2

    Exits with 3 if there is none, 2 if it was confirmed before.
    """

    async def work(app: "App") -> Handoff:
        return await app.handoffs.complete(await app.handoffs.find_id(handoff_id))

    _show(call, call.run(work), "Completed")


def _show(call: Invocation, shown: Handoff, done: str = "") -> None:
    from nakamura_misaki.adapters.primary.cli.render import (
        Times,
        handoff_fields,
        handoff_json,
        handoff_line,
    )

    times = Times(call.zone)
    if call.as_json:
        output.print_json(handoff_json(shown, times))
    elif done:
        output.print_human(handoff_line(done, shown, times))
    else:
        output.print_human(handoff_fields(shown, times))
