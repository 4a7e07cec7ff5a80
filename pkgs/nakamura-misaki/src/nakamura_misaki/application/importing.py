"""Writing batches of a source's entries to a store, without one bad entry stopping the rest."""

from collections.abc import Sequence
from itertools import compress
from typing import TypeVar
from uuid import UUID

from nakamura_misaki.application.batches import Batch
from nakamura_misaki.application.legacy import Entry, Kind, Rejection, SourceEmbedding, Stores
from nakamura_misaki.application.verification import VectorIndex
from nakamura_misaki.domain.errors import AlreadyExists, InvalidInput, NotFound
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import WriteCount
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task

OneKind = TypeVar("OneKind", Session, Task, Note, Handoff, SourceEmbedding)


class Importer:
    """Writes to ``stores``; what they refuse goes to ``rejections``.

    ``counts`` holds what they said by kind; ``withheld`` the files of which not
    everything could be kept, for a reason that is no fault of theirs.
    """

    def __init__(self, stores: Stores, rejections: list[Rejection]) -> None:
        self._stores = stores
        self._rejections = rejections
        self._tasks: dict[UUID, bool] = {}
        self._texts: VectorIndex | None = None
        self.counts: dict[Kind, WriteCount] = {}
        self.withheld: set[str] = set()
        self.vectors_left_out = 0

    async def write(self, batch: Batch) -> None:
        """Store the batch. Raises StorageUnavailable and what else concerns all entries."""
        match batch.kind:
            case Kind.NOTES:
                batch = await self._without_untouched(batch)
            case Kind.HANDOFFS:
                batch = await self._without_orphans(batch)
            case Kind.EMBEDDINGS:
                batch = await self._without_outdated(batch)
        if batch.entries:
            self._count(batch.kind, await self._store_or_reject(batch))

    def _count(self, kind: Kind, count: WriteCount) -> None:
        self.counts[kind] = self.counts.get(kind, WriteCount()).plus(count)

    async def _store_or_reject(self, batch: Batch) -> WriteCount:
        """Store the batch; if it is refused, halve it until what is refused stands alone."""
        try:
            return await self._store(batch.kind, batch.entries)
        except (InvalidInput, NotFound, AlreadyExists) as error:
            if len(batch.entries) == 1:
                path, place, *_ = batch.origins[0]
                self._rejections.append(Rejection(path, place, str(error)))
                return WriteCount()
            middle = len(batch.entries) // 2
            first = await self._store_or_reject(_part(batch, slice(None, middle)))
            return first.plus(await self._store_or_reject(_part(batch, slice(middle, None))))

    async def _store(self, kind: Kind, entries: Sequence[Entry]) -> WriteCount:
        stores = self._stores
        match kind:
            case Kind.SESSIONS:
                return await stores.sessions.create_many(_of(Session, entries))
            case Kind.TASKS:
                return await stores.tasks.create_many(_of(Task, entries))
            case Kind.NOTES:
                return await stores.notes.save_many(_of(Note, entries))
            case Kind.HANDOFFS:
                return await stores.handoffs.create_many(_of(Handoff, entries))
            case Kind.EMBEDDINGS:
                if stores.embeddings is None:
                    return WriteCount()
                vectors = [entry.stored for entry in _of(SourceEmbedding, entries)]
                new = await stores.embeddings.store_embeddings(vectors)
                return WriteCount(new=new, known=len(vectors) - new)

    async def _without_untouched(self, batch: Batch) -> Batch:
        """Leave out notes that only a new modification time of their file makes newer."""
        if not any(origin.named for origin in batch.origins):
            return batch
        keep = []
        for note, origin in zip(_of(Note, batch.entries), batch.origins, strict=True):
            stored = await self._stores.notes.get(note.id) if origin.named else None
            keep.append(stored is None or stored.source_key != note.source_key)
        self._count(batch.kind, WriteCount(known=keep.count(False)))
        return _kept(batch, keep)

    async def _without_orphans(self, batch: Batch) -> Batch:
        """Reject handoffs of tasks that are not there."""
        keep = []
        for handoff, origin in zip(_of(Handoff, batch.entries), batch.origins, strict=True):
            has_task = await self._has_task(handoff)
            keep.append(has_task)
            if not has_task:
                reason = f"its task {handoff.task_id} is not in the store."
                self._rejections.append(Rejection(origin.path, origin.place, reason))
        return _kept(batch, keep)

    async def _has_task(self, handoff: Handoff) -> bool:
        if handoff.task_id is None:
            return True
        if handoff.task_id not in self._tasks:
            self._tasks[handoff.task_id] = await self._stores.tasks.get(handoff.task_id) is not None
        return self._tasks[handoff.task_id]

    async def _without_outdated(self, batch: Batch) -> Batch:
        """Leave out vectors of texts that are no more; they would answer for another text."""
        if self._stores.embeddings is None:
            self.vectors_left_out += len(batch.entries)
            self.withheld.update(origin.path for origin in batch.origins)
            return _kept(batch, [False] * len(batch.entries))
        if self._texts is None:
            self._texts = await VectorIndex.read(self._stores, with_vectors=False)
        keep = [self._texts.is_current(entry) for entry in _of(SourceEmbedding, batch.entries)]
        self.vectors_left_out += keep.count(False)
        return _kept(batch, keep)


def _of(kind: type[OneKind], entries: Sequence[Entry]) -> list[OneKind]:
    return [entry for entry in entries if isinstance(entry, kind)]


def _part(batch: Batch, part: slice) -> Batch:
    return batch._replace(entries=batch.entries[part], origins=batch.origins[part])


def _kept(batch: Batch, keep: Sequence[bool]) -> Batch:
    return batch._replace(
        entries=list(compress(batch.entries, keep)), origins=list(compress(batch.origins, keep))
    )
