"""``backup`` and ``verify-backup``: copies of the database, and the proof that they restore."""

import signal
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option
from nakamura_misaki.adapters.primary.cli.progress import OnProgress, progress_bars
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.domain.note import Leg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nakamura_misaki.infrastructure.backup.finding import Sample
    from nakamura_misaki.infrastructure.backup.making import BackupReport
    from nakamura_misaki.infrastructure.backup.verification import VerificationReport
    from nakamura_misaki.infrastructure.di.backups import BackupCommands

T = TypeVar("T")

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--to", metavar="DIR", type=PATH, help="Where to.  [default: BACKUP_DIR]")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many backups stay there.  [default: BACKUP_KEEP, 14]",
)
@json_option
@click.pass_obj
def backup(call: Invocation, to: Path | None, keep: int | None) -> None:
    """Write the whole database into a file.

    The service goes on meanwhile. Beside the dump stands a manifest: its hash, and how many rows
    each table had at the moment of the dump. When it is complete, and only then, the oldest ones
    beyond --keep are deleted.

    \b
    Examples:
      nakamura-misaki backup
      nakamura-misaki backup --to /mnt/backup/nakamura-misaki --keep 60

    Needs DATABASE_ADMIN_URL, but for the embedded server. Exits with 1 if it failed or another one
    is at work, 5 if the role may not, or pg_dump is missing or too old, 6 if the database can't be
    reached.
    """
    place = to and to.absolute()
    report = run(call, lambda commands: commands.back_up(place, keep))
    if call.as_json:
        output.print_json(_backup_json(report))
        return
    manifest = report.manifest
    size = megabytes(manifest.size_bytes)
    kept = f"{output.count(report.kept, 'backup')} kept, {len(report.deleted):,} deleted."
    output.print_human(
        output.styled(str(report.file)),
        output.styled(f"{size}, {contents(manifest.rows)}, in {report.seconds:.1f} s"),
        output.styled(kept, "dim"),
    )


@click.command("verify-backup")
@click.argument("file", metavar="[FILE]", type=PATH, required=False)
@click.option(
    "--from", "directory", metavar="DIR", type=PATH, help="The newest of DIR, not of BACKUP_DIR."
)
@click.option(
    "--max-age",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    help="Fail if it is older than that.",
)
@json_option
@click.pass_obj
def verify_backup(
    call: Invocation, file: Path | None, directory: Path | None, max_age: float | None
) -> None:
    """Prove that a backup restores: the newest one, or FILE.

    Compares its hash, restores it into a scratch database, compares the rows of every table with
    the manifest, finds one of its notes again as the service would, and drops the database.

    \b
    Examples:
      nakamura-misaki verify-backup --max-age 36
      nakamura-misaki verify-backup nakamura-misaki-20261125T023000Z.dump

    It takes as much room as the database. Exits with 1 if there is no backup or it is not what it
    should be, 7 if a newer release made it.
    """
    if file is not None and directory is not None:
        raise click.UsageError("give one of FILE and --from.")
    age = None if max_age is None else timedelta(hours=max_age)
    chosen, place = file and file.absolute(), directory and directory.absolute()
    report = run(
        call,
        lambda commands: (
            commands.verify_newest(place, age) if chosen is None else commands.verify(chosen, age)
        ),
    )
    if not report.was_compared:
        call.warn(NO_MANIFEST)
    if call.as_json:
        output.print_json(_verification_json(report))
        return
    compared = ", as its manifest says" if report.was_compared else ""
    output.print_human(
        output.styled(str(report.file)),
        output.styled(f"{_age(report.age)} old, restored in {report.seconds:.1f} s"),
        output.styled(f"{contents(report.rows)}{compared}"),
        output.styled(_found(report.found)),
    )


NO_MANIFEST = "there is no manifest beside the dump, so that its rows can't be compared with it."


def run(call: Invocation, work: "Callable[[BackupCommands], Coroutine[Any, Any, T]]") -> T:
    """Do it, with a progress bar; SIGTERM ends it as Ctrl-C does, cleaned up."""
    import asyncio

    from nakamura_misaki.infrastructure.di.backups import BackupCommands

    with ExitStack() as at_the_end:
        bars: OnProgress | None = None

        def on_progress(what: str, done: int, total: int | None) -> None:
            # Only from now on: bars would write over a question.
            nonlocal bars
            bars = bars or at_the_end.enter_context(progress_bars(call))
            bars(what, done, total)

        commands = BackupCommands(
            call.settings, demo=call.demo, announce=call.announce, on_progress=on_progress
        )

        told_to_end = False

        async def until_sigterm() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None

            def on_sigterm() -> None:
                nonlocal told_to_end
                told_to_end = True
                task.cancel()

            loop.add_signal_handler(signal.SIGTERM, on_sigterm)
            try:
                return await work(commands)
            finally:
                loop.remove_signal_handler(signal.SIGTERM)

        try:
            return call.wait_for(until_sigterm())
        except asyncio.CancelledError:
            if told_to_end:
                # A timer's unit that is stopped leaves nothing behind, and notes that it failed.
                raise KeyboardInterrupt from None
            raise


def contents(rows: "Mapping[str, int]") -> str:
    """How much is in it: 128 rows in 12 tables."""
    return f"{output.count(sum(rows.values()), 'row')} in {output.count(len(rows), 'table')}"


def megabytes(size: int) -> str:
    """A size for a person."""
    return f"{size / 1_000_000:,.1f} MB" if size >= 1_000_000 else f"{size / 1000:,.0f} kB"


def _backup_json(report: "BackupReport") -> dict[str, Any]:
    manifest = report.manifest
    return {
        "file": str(report.file),
        "size_bytes": manifest.size_bytes,
        "sha256": manifest.sha256,
        "created_at": manifest.created_at.isoformat(),
        "schema_revision": manifest.schema_revision,
        "rows": dict(manifest.rows),
        "seconds": round(report.seconds, 3),
        "kept": report.kept,
        "deleted": report.deleted,
    }


def _verification_json(report: "VerificationReport") -> dict[str, Any]:
    found = report.found
    return {
        "file": str(report.file),
        "created_at": report.created_at.isoformat(),
        "age_hours": round(report.age.total_seconds() / 3600, 3),
        "schema_revision": report.schema_revision,
        "rows": dict(report.rows),
        "rows_compared": report.was_compared,
        "found_again": found
        and {
            "workspace_id": found.workspace_id,
            "note_id": str(found.note_id),
            "legs": [str(leg) for leg in found.legs],
        },
        "seconds": round(report.seconds, 3),
    }


def _found(sample: "Sample | None") -> str:
    if sample is None:
        return "It holds no note to be found again."
    how = " and by ".join(
        {Leg.VECTOR: "its vector", Leg.WORDS: "its words"}[leg] for leg in sample.legs
    )
    what = f"The note {short_id(sample.note_id)} of the workspace {sample.workspace_id}"
    return f"{what} is found again by {how}."


def _age(age: timedelta) -> str:
    minutes = max(0, round(age.total_seconds() / 60))
    if minutes < 90:
        return output.count(minutes, "minute")
    hours = round(minutes / 60)
    return output.count(hours, "hour") if hours < 72 else output.count(round(hours / 24), "day")
