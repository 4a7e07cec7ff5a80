"""``restore``: a backup in the place of the database."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.backups import NO_MANIFEST, PATH, contents, run
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option
from nakamura_misaki.adapters.primary.cli.reembed import is_at_terminal
from nakamura_misaki.domain.errors import InvalidInput

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.backup.restoring import RestorePlan, RestoreReport


@click.command()
@click.argument("file", metavar="FILE", type=PATH)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--disconnect", is_flag=True, help="End whatever connections to the present database there are."
)
@click.option("--drop-previous", is_flag=True, help="Don't keep the present database.")
@json_option
@click.pass_obj
def restore(call: Invocation, file: Path, yes: bool, disconnect: bool, drop_previous: bool) -> None:
    """Put a backup in the place of the database.

    It is restored beside the present database, compared with its manifest and brought to this
    release's schema; then the two change their names, both at once. The present one is kept, and
    whatever fails on the way, it stays as it was. Stop the service first, and restart it afterwards.

    \b
    Example:
      nakamura-misaki restore nakamura-misaki-20261125T023000Z.dump

    A dump is run as a superuser: restore only your own. Without a terminal it takes --yes (exit
    code 2). Exits with 1 if the backup is not what it should be or somebody is connected, 5 if
    the role may not, 7 if a newer release made the backup.
    """
    path = file.absolute()

    def confirm(plan: "RestorePlan") -> None:
        if yes:
            return
        if not is_at_terminal():
            raise InvalidInput(f"{_effect(plan, drop_previous)}: without a terminal, say --yes.")
        question = f"{_description(plan, call)}\n{_effect(plan, drop_previous)}.\nGo on?"
        click.confirm(question, abort=True, err=True)

    report = run(
        call,
        lambda commands: commands.restore(
            path, confirm=confirm, disconnect=disconnect, drop_previous=drop_previous
        ),
    )
    if not report.was_compared:
        call.warn(NO_MANIFEST)
    for left_out in report.left_out:
        call.warn(f"the restored database is without {left_out}.")
    _print_report(call, report)


def _description(plan: "RestorePlan", call: Invocation) -> str:
    dump = plan.dump
    when = f"{dump.created_at.astimezone(call.zone):%Y-%m-%d %H:%M}"
    holds = "" if dump.manifest is None else f" and holds {contents(dump.manifest.rows)}"
    return f"{dump.path} was made on {when}{holds}."


def _effect(plan: "RestorePlan", drops: bool) -> str:
    if not plan.replaces:
        return f"This backup becomes the database {plan.database}, which is not there now"
    fate = "deleted" if drops else "kept under another name"
    return f"This backup replaces the database {plan.database}, which is {fate}"


def _print_report(call: Invocation, report: "RestoreReport") -> None:
    if call.as_json:
        output.print_json(
            {
                "file": str(report.file),
                "database": report.database,
                "rows": dict(report.rows),
                "rows_compared": report.was_compared,
                "from_revision": report.from_revision,
                "to_revision": report.to_revision,
                "previous": report.previous,
                "actions": report.actions,
                "left_out": report.left_out,
                "seconds": round(report.seconds, 3),
            }
        )
        return
    for action in report.actions:
        output.print_human(output.styled(f"- {action}"))
    output.print_human(
        output.styled(
            f"{report.database} is this backup now: {contents(report.rows)}, at revision"
            f" {report.to_revision}, in {report.seconds:.1f} s.",
            "green",
        )
    )
    if report.previous is not None:
        output.print_human(
            output.styled("The database of before is kept; drop it when it is not needed:")
        )
        output.print_commands([f"DROP DATABASE {_quoted(report.previous)};"], 2)


def _quoted(name: str) -> str:
    from nakamura_misaki.infrastructure.backup.server import identifier

    is_plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    return name if is_plain and not name[0].isdigit() else identifier(name)
