"""``init-db``: the database's schema, brought to this release's."""

import sys
from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.upgrade import UpgradeReport


@click.command("init-db")
@click.option("--check", is_flag=True, help="Only say whether the schema is current.")
@click.option("--sql", is_flag=True, help="Only print the SQL that builds the schema from nothing.")
@json_option
@click.pass_obj
def init_db(call: Invocation, check: bool, sql: bool) -> None:
    """Create the schema or bring it up to date.

    A current one stays as it is. Safe to run at every start and by several processes at once. Uses
    DATABASE_OWNER_URL if it is set, else DATABASE_URL.

    \b
    Examples:
      nakamura-misaki init-db
      nakamura-misaki init-db --check || echo "behind"

    Exits with 1 if --check finds the schema behind, 5 if the role may not change it, 6 if the
    database can't be reached, 7 if it is newer than this release.
    """
    if check and sql:
        raise click.UsageError("give one of --check and --sql.")
    if sql:
        _print_sql(call)
    elif check:
        _check(call)
    else:
        _upgrade(call)


def _print_sql(call: Invocation) -> None:
    from nakamura_misaki.infrastructure.database.upgrade import offline_sql

    if call.as_json:
        output.print_json({"sql": offline_sql()})
    else:
        sys.stdout.write(offline_sql())


def _check(call: Invocation) -> None:
    async def work() -> list[str]:
        from nakamura_misaki.infrastructure.database.upgrade import pending_revisions

        return await pending_revisions(await _url(call))

    pending = call.wait_for(work())
    if call.as_json:
        output.print_json({"current": not pending, "pending": pending})
    elif pending:
        what = output.count(len(pending), "revision")
        output.print_human(
            output.styled(f"The schema is behind by {what}: {', '.join(pending)}."),
            output.styled("Bring it up to date with: nakamura-misaki init-db"),
        )
    else:
        output.print_human(output.styled("The schema is current.", "green"))
    if pending:
        raise click.exceptions.Exit(1)


def _upgrade(call: Invocation) -> None:
    async def work() -> "UpgradeReport":
        from nakamura_misaki.infrastructure.database.upgrade import upgrade

        return await upgrade(await _url(call))

    report = call.wait_for(work())
    if call.as_json:
        output.print_json(
            {
                "from_revision": report.from_revision,
                "to_revision": report.to_revision,
                "actions": report.actions,
            }
        )
        return
    for action in report.actions:
        output.print_human(output.styled(f"- {action}"))
    state = "is now" if report.actions else "was already"
    output.print_human(
        output.styled(f"The schema {state} at revision {report.to_revision}.", "green")
    )


async def _url(call: Invocation) -> str:
    from nakamura_misaki.infrastructure.di import owner_url, require_postgresql

    require_postgresql(call.settings)
    return await owner_url(call.settings, demo=call.demo, announce=call.announce)
