"""What a migration met and did, as JSON and as a person reads it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nakamura_misaki.adapters.primary.cli.output import blank, count, styled, table
from nakamura_misaki.application.legacy import Kind, Rejection
from nakamura_misaki.application.migration import MigrationReport

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 50
"""How many rejections are listed; --json lists all."""

_SINGULAR = {
    Kind.SESSIONS: "session",
    Kind.TASKS: "task",
    Kind.NOTES: "note",
    Kind.HANDOFFS: "handoff",
    Kind.EMBEDDINGS: "vector",
}


def report_json(report: MigrationReport) -> dict[str, Any]:
    total = report.total
    return {
        "source": report.source,
        "dry_run": report.dry_run,
        "ok": report.ok,
        "files": report.files,
        "entries": {str(kind): number for kind, number in report.entries.items()},
        "new": total.new,
        "updated": total.updated,
        "known": total.known,
        "rejected": _rejections_json(report.rejections),
        "ignored": [{"path": path, "reason": reason} for path, reason in report.ignored],
        "verified": report.verified,
        "mismatches": _rejections_json(report.mismatches),
        "changed_since": report.changed,
        "vectors_left_out": report.vectors_left_out,
        "backup": report.backup,
        "deleted_files": report.deleted_files,
        "kept_files": _rejections_json(report.kept_files),
        "seconds": round(report.seconds, 3),
    }


def report_parts(report: MigrationReport) -> "Iterator[RenderableType]":
    """A few lines, then tables of what was not taken as it stands."""
    found = [count(number, _SINGULAR[kind]) for kind, number in report.entries.items() if number]
    yield styled(f"{count(report.files, 'file')} read: {', '.join(found) or 'nothing in them'}")
    total = report.total
    tense = "would be " if report.dry_run else ""
    yield styled(
        f"{total.new:,} {tense}new, {total.updated:,} {tense}updated, {total.known:,} known before,"
        f" {len(report.rejections):,} rejected, in {report.seconds:.1f} s"
    )
    if report.vectors_left_out:
        left = count(report.vectors_left_out, "vector")
        yield styled(f"{left} left out, whose notes have another text now")
    if report.backup is not None:
        yield styled(f"Backup: {report.backup}")
    yield from _listed("Rejected; nothing of it is lost, it stays where it is:", report.rejections)
    ignored = [Rejection(path, None, reason) for path, reason in report.ignored]
    yield from _listed("Not read:", ignored)
    yield from _verification(report)
    if report.deleted_files:
        yield styled(f"{count(report.deleted_files, 'source file')} deleted")
    yield from _listed("Source files kept:", report.kept_files)


def _verification(report: MigrationReport) -> "Iterator[RenderableType]":
    if report.verified is None:
        return
    since = f" ({report.changed:,} changed in the store since)" if report.changed else ""
    if report.verified:
        yield styled(f"Verified: the store holds every entry as the source does{since}", "green")
    else:
        yield styled(f"NOT verified: store and source differ{since}", "bold red")
    yield from _listed("Differences:", report.mismatches)


def _listed(heading: str, rejections: Sequence[Rejection]) -> "Iterator[RenderableType]":
    if not rejections:
        return
    yield blank()
    yield styled(heading, "yellow")
    made = table("FILE", "ENTRY", "REASON")
    for path, entry, reason in rejections[:_SHOWN]:
        made.add_row(styled(path), styled("-" if entry is None else str(entry)), styled(reason))
    yield made
    if len(rejections) > _SHOWN:
        yield styled(f"and {len(rejections) - _SHOWN:,} more; --json lists them all")


def _rejections_json(rejections: Sequence[Rejection]) -> list[dict[str, Any]]:
    return [{"path": path, "entry": entry, "reason": reason} for path, entry, reason in rejections]
