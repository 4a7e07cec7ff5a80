"""``migrate`` and ``export``: all of a team's data in from JSON files, and out again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option
from nakamura_misaki.adapters.primary.cli.progress import embed_with_progress, progress_bars
from nakamura_misaki.domain.errors import NakamuraMisakiError

if TYPE_CHECKING:
    from nakamura_misaki.application.export import ExportReport
    from nakamura_misaki.application.migration import MigrationOptions, MigrationReport
    from nakamura_misaki.infrastructure.di import App

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("directory", metavar="DIR", type=_PATH)
@click.option("--dry-run", is_flag=True, help="Only say what would happen; write nothing.")
@click.option("--verify", is_flag=True, help="Afterwards compare source and store, entry by entry.")
@click.option("--backup", metavar="FILE", type=_PATH, help="First write DIR to this new .tar.gz.")
@click.option(
    "--delete-source", is_flag=True, help="At the end delete what was verified; needs --backup."
)
@click.option("--no-embed", is_flag=True, help="Leave the vectors to 'embed-pending'.")
@json_option
@click.pass_obj
def migrate(
    call: Invocation,
    directory: Path,
    dry_run: bool,
    verify: bool,
    backup: Path | None,
    delete_source: bool,
    no_embed: bool,
) -> None:
    """Import a directory of JSON files, old or exported.

    Running it again changes nothing that is known, and completes what was interrupted. What can't
    be read is listed with its reason and stays where it is; it never stops the rest.

    \b
    Examples:
      nakamura-misaki migrate /var/lib/nakamura-misaki/data --dry-run
      nakamura-misaki migrate data --verify --backup data.tar.gz

    Exits with 1 if anything was rejected or differs, 2 if DIR is not there or FILE can't be
    written.
    """
    from nakamura_misaki.application.migration import MigrationOptions

    options = MigrationOptions(
        dry_run=dry_run,
        verify=verify,
        backup=None if backup is None else str(backup),
        delete_source=delete_source,
    )

    async def work(app: "App") -> "tuple[MigrationReport, int]":
        report = await run_migration(call, app, directory, options)
        has_vectors = app.manager is not None and not dry_run and not no_embed
        return report, await _embed(call, app) if has_vectors else 0

    report, embedded = call.run(work)
    _print_report(call, report, embedded)
    if not report.ok:
        raise click.exceptions.Exit(1)


async def run_migration(
    call: Invocation, app: "App", directory: Path, options: "MigrationOptions | None" = None
) -> "MigrationReport":
    """Import the directory with a progress bar; what it met and did."""
    from nakamura_misaki.application.migration import migrate
    from nakamura_misaki.infrastructure.di import build_legacy_source

    source = build_legacy_source(call.settings, directory)
    with progress_bars(call) as on_progress:
        return await migrate(source, app.stores, options, progress=lambda told: on_progress(*told))


async def _embed(call: Invocation, app: "App") -> int:
    """Give the notes their vectors and these their indexes; what fails of it can be done later."""
    from nakamura_misaki.infrastructure import di

    embedded = 0
    try:
        embedded = await embed_with_progress(call, app)
    except NakamuraMisakiError as error:
        call.warn(f"everything is imported, but not every note has a vector: {error}")
        call.warn("words find them meanwhile; later run: nakamura-misaki embed-pending")
    try:
        await di.maintain(call.settings, demo=call.demo)
    except NakamuraMisakiError as error:
        call.warn(f"searches are right, but not yet at their fastest: {error}")
    return embedded


def _print_report(call: Invocation, report: "MigrationReport", embedded: int) -> None:
    from nakamura_misaki.adapters.primary.cli.migration_report import report_json, report_parts

    if call.as_json:
        output.print_json(report_json(report) | {"embedded": embedded})
        return
    output.print_human(*report_parts(report))
    if embedded:
        output.print_human(output.styled(f"{output.count(embedded, 'note')} given a vector"))


@click.command()
@click.argument("directory", metavar="DIR", type=_PATH)
@json_option
@click.pass_obj
def export(call: Invocation, directory: Path) -> None:
    """Write everything into DIR, as JSON files.

    These are the legacy files, with ids and vectors beside them. DIR must be new, empty, or hold
    an earlier export, which is replaced at the end. With STORAGE_BACKEND=json and
    JSON_DATA_DIR=DIR the team can go on from there.

    \b
    Example:
      nakamura-misaki export /var/backups/nakamura-misaki-2026-10-15

    Exits with 2 if DIR can't take it; it is then as it was.
    """

    async def work(app: "App") -> "ExportReport":
        from nakamura_misaki.application.export import export
        from nakamura_misaki.infrastructure.di import build_export_target

        target = build_export_target(call.settings, directory)
        with progress_bars(call) as on_progress:
            return await export(
                app.stores,
                target,
                progress=lambda told: on_progress("export", told.done, told.total),
            )

    report = call.run(work)
    if call.as_json:
        counts = {str(kind): number for kind, number in report.counts.items()}
        output.print_json({"target": report.target, "counts": counts})
    else:
        counted = ", ".join(f"{number:,} {kind}" for kind, number in report.counts.items())
        output.print_human(output.styled(f"Exported {counted} to {report.target}."))
