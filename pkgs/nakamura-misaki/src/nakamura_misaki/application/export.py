"""The use case ``export``: everything a workspace holds, into a target outside the store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from uuid import UUID

from nakamura_misaki.application.legacy import (
    ExportTarget,
    Kind,
    Progress,
    SourceEmbedding,
    Stores,
)

_STEP = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export wrote: where, and how many entries of each kind."""

    target: str
    counts: dict[Kind, int] = field(default_factory=dict)


def content_hash(content: str) -> str:
    """The hash that ties a vector to the text it was made of."""
    return blake2b(content.encode(), digest_size=16).hexdigest()


async def export(
    stores: Stores, target: ExportTarget, *, progress: Callable[[Progress], None] | None = None
) -> ExportReport:
    """Write every entry of ``stores`` to ``target``, in the order of ids.

    The streams are read one after another: a handoff or a vector that came
    while they were read, and whose task or note was not written, is left out.
    Raises InvalidInput if the target can't take the export, and what the ports
    raise; the target is then as it was.
    """
    counts = dict.fromkeys(Kind, 0)
    await asyncio.to_thread(target.begin)
    try:
        await _write(stores, target, _Counter(counts, progress))
        await asyncio.to_thread(target.finish, counts)
    except BaseException:
        target.abort()
        raise
    return ExportReport(target=target.name, counts=counts)


class _Counter:
    def __init__(
        self, counts: dict[Kind, int], progress: Callable[[Progress], None] | None
    ) -> None:
        self._counts = counts
        self._progress = progress

    def add(self, kind: Kind) -> None:
        self._counts[kind] += 1
        if self._progress is not None and self._counts[kind] % _STEP == 1:
            self._progress(Progress(kind.value, sum(self._counts.values()), None))


async def _write(stores: Stores, target: ExportTarget, counter: _Counter) -> None:
    async for session in stores.sessions.stream():
        target.write_session(session)
        counter.add(Kind.SESSIONS)
    tasks: set[UUID] = set()
    async for task in stores.tasks.stream():
        target.write_task(task)
        tasks.add(task.id)
        counter.add(Kind.TASKS)
    async for handoff in stores.handoffs.stream():
        if handoff.task_id is None or handoff.task_id in tasks:
            target.write_handoff(handoff)
            counter.add(Kind.HANDOFFS)
    hashes: dict[UUID, str] = {}
    async for note in stores.notes.stream():
        target.write_note(note)
        if stores.embeddings is not None:
            hashes[note.id] = content_hash(note.content)
        counter.add(Kind.NOTES)
    if stores.embeddings is None:
        return
    async for stored in stores.embeddings.stream_embeddings():
        if stored.note_id in hashes:
            target.write_embedding(SourceEmbedding(stored, hashes[stored.note_id]))
            counter.add(Kind.EMBEDDINGS)
