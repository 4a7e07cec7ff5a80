"""The use case ``migrate``: everything a legacy source holds, into the store.

Every write is idempotent on its key, so an import that was interrupted at any
moment is completed by running it again. Vectors are not made here: notes
without one wait for ``embed-pending``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from nakamura_misaki.application.batches import Batch, batches
from nakamura_misaki.application.importing import Importer
from nakamura_misaki.application.legacy import (
    Backup,
    Fingerprint,
    Ignored,
    Kind,
    LegacySource,
    Progress,
    Rejection,
    SourceEmbedding,
    SourceFile,
    Stores,
)
from nakamura_misaki.application.verification import (
    Standing,
    StoreIndex,
    VectorIndex,
    entry_key,
)
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.repositories import WriteCount

_STEP = 200
AT_ONCE = 2
"""Batches of notes that are written at the same time."""

_MISMATCHES = {
    Standing.ABSENT: "it is not in the store.",
    Standing.OLDER: "the store holds an older version.",
    Standing.DIFFERENT: "the store holds other content under its key.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationOptions:
    """What a migration is to do beside importing.

    ``backup`` names an archive that is written before anything else.
    ``delete_source`` needs it, and implies ``verify``. ``dry_run`` writes
    nothing anywhere: no entry, no archive.
    """

    dry_run: bool = False
    verify: bool = False
    backup: str | None = None
    delete_source: bool = False

    def __post_init__(self) -> None:
        if self.delete_source and self.dry_run:
            raise InvalidInput("a dry run deletes nothing; choose one of the two.")
        if self.delete_source and self.backup is None:
            raise InvalidInput("the source is only deleted when a backup of it is written, too.")


@dataclass(slots=True, kw_only=True)
class MigrationReport:
    """What a migration met and did.

    ``counts`` holds what the store said to each kind, in a dry run what it would
    say (empty if it was not asked). ``verified`` is None if that was not asked
    for. ``changed`` counts entries that were changed in the store since, which
    is no mismatch; ``vectors_left_out`` those whose note has another text now,
    or that the store can't keep. ``seconds`` is the time that it all took.
    """

    source: str
    dry_run: bool = False
    files: int = 0
    ignored: list[Ignored] = field(default_factory=list)
    entries: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    counts: dict[Kind, WriteCount] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    verified: bool | None = None
    mismatches: list[Rejection] = field(default_factory=list)
    changed: int = 0
    vectors_left_out: int = 0
    backup: str | None = None
    deleted_files: int = 0
    kept_files: list[Rejection] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether everything was imported, verified and deleted as was asked for."""
        return not (self.rejections or self.mismatches or self.kept_files)

    @property
    def total(self) -> WriteCount:
        """The counts of all kinds together."""
        total = WriteCount()
        for count in self.counts.values():
            total = total.plus(count)
        return total


async def migrate(
    source: LegacySource,
    stores: Stores | None,
    options: MigrationOptions | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> MigrationReport:
    """Import ``source`` into ``stores`` (None is allowed in a dry run, which then only counts).

    What can't be imported is in the report. Raises InvalidInput if the source
    is not there or the backup can't be written, and what the ports raise.
    """
    options = options or MigrationOptions()
    return await _Migration(source, stores, options, progress).run()


class _Handling:
    """Batches being handled: of notes, which refer to nothing, two at once; others alone.

    Of the time that a batch of notes takes, the store's server uses nearly all.
    """

    def __init__(self, handle: Callable[[Batch], Awaitable[None]]) -> None:
        self._handle = handle
        self._running: set[asyncio.Future[None]] = set()

    async def add(self, batch: Batch) -> None:
        """Begin with the batch, once there is room. Raises what an earlier one raised."""
        if batch.kind is not Kind.NOTES:
            await self.finish()
            await self._handle(batch)
            return
        if len(self._running) >= AT_ONCE:
            await self._wait(asyncio.FIRST_COMPLETED)
        self._running.add(asyncio.ensure_future(self._handle(batch)))

    async def finish(self) -> None:
        """Return once all are handled. Raises what one of them raised."""
        while self._running:
            await self._wait(asyncio.FIRST_COMPLETED)

    async def abandon(self) -> None:
        """End what still runs, as after an error."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _wait(self, until: str) -> None:
        done, self._running = await asyncio.wait(self._running, return_when=until)
        errors = [error for ended in done if (error := ended.exception()) is not None]
        if errors:  # each is asked for, or the others would be reported as never retrieved
            raise errors[0]


class _Migration:
    def __init__(
        self,
        source: LegacySource,
        stores: Stores | None,
        options: MigrationOptions,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        if stores is None and not options.dry_run:
            raise InvalidInput("a migration needs a store to write to.")
        self._source = source
        self._stores = stores
        self._options = options
        self._progress = progress
        self._report = MigrationReport(source=source.name, dry_run=options.dry_run)
        self._versions: dict[str, Fingerprint] = {}
        self._total: int | None = None

    async def run(self) -> MigrationReport:
        started = monotonic()
        report, options = self._report, self._options
        backup = None
        if self._progress is not None:
            self._total = await asyncio.to_thread(self._source.count_files)
        if options.backup is not None and not options.dry_run:
            self._tell("backup", 0)
            backup = await asyncio.to_thread(self._source.back_up, options.backup)
            report.backup = backup.path
        if self._stores is None:
            await self._each_batch("count", self._take, _nothing)
        elif options.dry_run:
            await self._rehearse(self._stores)
        else:
            importer = Importer(self._stores, report.rejections)
            await self._each_batch("import", self._take, importer.write)
            report.counts = importer.counts
            report.vectors_left_out = importer.vectors_left_out
            if options.verify or options.delete_source:
                await self._verify(self._stores)
            if options.delete_source and backup is not None and report.verified:
                await self._delete(backup, importer.withheld)
        # As a person looks for them.
        report.rejections.sort(key=lambda rejection: rejection.path)
        report.mismatches.sort(key=lambda mismatch: mismatch.path)
        report.seconds = monotonic() - started
        return report

    async def _rehearse(self, stores: Stores) -> None:
        index = await StoreIndex.read(stores)
        met: set[object] = set()
        counts = self._report.counts

        async def look_up(batch: Batch) -> None:
            for entry, origin in zip(batch.entries, batch.origins, strict=True):
                if isinstance(entry, SourceEmbedding):
                    continue
                standing = index.standing(entry, undated=origin.undated)
                key = (batch.kind, entry_key(entry))
                is_first = key not in met
                met.add(key)
                count = WriteCount(
                    new=int(is_first and standing is Standing.ABSENT),
                    updated=int(is_first and standing is Standing.OLDER),
                )
                count = count._replace(known=1 - count.new - count.updated)
                counts[batch.kind] = counts.get(batch.kind, WriteCount()).plus(count)

        await self._each_batch("dry run", self._take, look_up)

    async def _verify(self, stores: Stores) -> None:
        report = self._report
        index = await StoreIndex.read(stores)
        vectors: VectorIndex | None = None
        refused = {(path, place) for path, place, _ in report.rejections}
        moved: set[str] = set()

        def check_version(file: SourceFile) -> None:
            version = self._versions.get(file.path)
            if file.fingerprint != version and not file.continued and file.kind is not None:
                moved.add(file.path)
                report.rejections.append(
                    Rejection(file.path, None, "it changed while it was migrated; run it again.")
                )

        async def compare(batch: Batch) -> None:
            nonlocal vectors
            if batch.kind is Kind.EMBEDDINGS and stores.embeddings is None:
                return
            for entry, origin in zip(batch.entries, batch.origins, strict=True):
                if origin.path in moved or (origin.path, origin.place) in refused:
                    continue
                if isinstance(entry, SourceEmbedding):
                    vectors = vectors or await VectorIndex.read(stores, with_vectors=True)
                    standing = vectors.standing(entry)
                else:
                    standing = index.standing(entry, undated=origin.undated)
                if standing is Standing.NEWER:
                    report.changed += 1
                elif standing is not Standing.SAME:
                    report.mismatches.append(
                        Rejection(origin.path, origin.place, _MISMATCHES[standing])
                    )

        await self._each_batch("verify", check_version, compare)
        report.verified = not report.mismatches and not moved

    async def _delete(self, backup: Backup, withheld: set[str]) -> None:
        report = self._report
        withheld = withheld | {rejection.path for rejection in report.rejections}
        wanted: dict[str, Fingerprint] = {}
        for path, version in self._versions.items():
            if path in withheld:
                continue
            if backup.files.get(path) == version:
                wanted[path] = version
            else:
                report.kept_files.append(
                    Rejection(path, None, "it is not in the backup as it was read; not deleted.")
                )
        self._tell("delete", 0)
        deletion = await asyncio.to_thread(self._source.delete, wanted)
        report.deleted_files = len(deletion.deleted)
        report.kept_files.extend(deletion.kept)

    async def _each_batch(
        self,
        phase: str,
        seen: Callable[[SourceFile], None],
        handle: Callable[[Batch], Awaitable[None]],
    ) -> None:
        """Hand every batch to ``handle``, while a thread reads the next one ahead."""
        files = 0

        def count(file: SourceFile) -> None:
            nonlocal files
            files += not file.continued
            seen(file)

        pending_batches = batches(self._source.scan(), count)
        ahead = asyncio.create_task(asyncio.to_thread(_next, pending_batches))
        handling = _Handling(handle)
        try:
            while (batch := await ahead) is not None:
                ahead = asyncio.create_task(asyncio.to_thread(_next, pending_batches))
                await handling.add(batch)
                self._tell(phase, files)
            await handling.finish()
        finally:
            await handling.abandon()
            # A thread can't be interrupted; what it reads is simply not used.
            await asyncio.wait([ahead])
            if not ahead.cancelled():
                ahead.exception()
        self._tell(phase, files)

    def _take(self, file: SourceFile) -> None:
        report = self._report
        if file.ignored is not None:
            report.ignored.append(Ignored(file.path, file.ignored))
            return
        report.rejections.extend(file.rejections)
        if file.kind is not None:
            report.entries[file.kind] += len(file.entries)
        if file.continued:
            return
        report.files += 1
        if file.fingerprint is not None:
            self._versions[file.path] = file.fingerprint

    def _tell(self, phase: str, done: int) -> None:
        if self._progress is not None:
            self._progress(Progress(phase, done, self._total))


def _next(iterator: Iterator[Batch]) -> Batch | None:
    return next(iterator, None)


async def _nothing(batch: Batch) -> None:
    pass
