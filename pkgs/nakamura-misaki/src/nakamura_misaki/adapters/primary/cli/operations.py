"""``doctor``, ``embed-pending``, ``maintain``: what keeps the data layer well."""

from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option

if TYPE_CHECKING:
    from rich.table import Table

    from nakamura_misaki.infrastructure.di import App
    from nakamura_misaki.infrastructure.doctor import Check


@click.command()
@json_option
@click.pass_obj
def doctor(call: Invocation) -> None:
    """Check that all is well, one line each.

    Looks at the server and its extension, schema, roles and rights, pool, vectors and indexes.

    \b
    Example:
      nakamura-misaki doctor

    Exits with 1 if any of it is wrong, a database that can't be reached included.
    """

    async def work(app: "App") -> "list[Check]":
        from nakamura_misaki.infrastructure.doctor import run_checks

        return await run_checks(app.database, app.embedder)

    checks = call.run(work)
    if call.as_json:
        output.print_json(
            [{"name": each.name, "ok": each.ok, "detail": each.detail} for each in checks]
        )
    else:
        output.print_human(_check_table(checks))
    if not all(each.ok for each in checks):
        raise click.exceptions.Exit(1)


@click.command("embed-pending")
@click.option(
    "--switch-model",
    is_flag=True,
    help="Deprecated: use 'reembed --yes', which does this.",
)
@json_option
@click.pass_obj
def embed_pending(call: Invocation, switch_model: bool) -> None:
    """Give every note without a vector one.

    Such notes were written or imported while the embedder could not be reached.

    \b
    Example:
      nakamura-misaki embed-pending

    Exits with 5 if the stored vectors are of another model, 8 if the embedder fails; what is
    done by then stays done.
    """
    from nakamura_misaki.adapters.primary.cli.progress import embed_with_progress
    from nakamura_misaki.adapters.primary.cli.reembed import switch_model_of

    work = switch_model_of if switch_model else embed_with_progress
    embedded = call.run(lambda app: work(call, app))
    if call.as_json:
        output.print_json({"embedded": embedded, "model_switched": switch_model})
    else:
        done = (
            f"Gave {output.count(embedded, 'note')} a vector."
            if embedded
            else "No note lacks a vector."
        )
        output.print_human(output.styled(done))


@click.command()
@json_option
@click.pass_obj
def maintain(call: Invocation) -> None:
    """Build the vector indexes that have become worth it.

    Meant for a timer; searches go on meanwhile, exactly but more slowly.

    \b
    Example:
      nakamura-misaki maintain

    Exits with 5 if the role may not: it takes the tables' owner (DATABASE_OWNER_URL), 6 if the
    database can't be reached.
    """
    from nakamura_misaki.infrastructure import di

    actions = call.wait_for(di.maintain(call.settings, demo=call.demo, announce=call.announce))
    if call.as_json:
        output.print_json({"actions": actions})
    else:
        for action in actions or ["Nothing was to be done."]:
            output.print_human(output.styled(action))


def _check_table(checks: "list[Check]") -> "Table":
    made = output.table("", "CHECK", "DETAIL")
    for each in checks:
        mark = output.styled("ok", "green") if each.ok else output.styled("WRONG", "bold red")
        made.add_row(mark, output.styled(each.name), output.styled(each.detail))
    return made
