"""A source's files as batches of entries that a store can take one after another."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from nakamura_misaki.application.legacy import Entry, Kind, Place, SourceFile

MAX_ENTRIES = 2000
"""The most entries of a batch, unless one file holds more."""

MAX_BYTES = 32 * 1024 * 1024
"""The most bytes of files that wait to be written, or one file."""

# What must be in the store before entries of a kind can refer to it.
_REFERRED = {Kind.HANDOFFS: Kind.TASKS, Kind.EMBEDDINGS: Kind.NOTES}


class Origin(NamedTuple):
    """Where an entry comes from. ``undated`` and ``named`` are as in SourceFile."""

    path: str
    place: Place
    undated: bool
    named: bool


class Batch(NamedTuple):
    """Entries of one kind, with ``origins`` beside them."""

    kind: Kind
    entries: list[Entry]
    origins: list[Origin]


def batches(files: Iterable[SourceFile], seen: Callable[[SourceFile], None]) -> Iterator[Batch]:
    """The entries of ``files``, grouped; ``seen`` hears of each file as it is taken."""
    waiting: dict[Kind, Batch] = {}
    weight = 0
    for file in files:
        seen(file)
        kind = file.kind
        if kind is None or not file.entries:
            continue
        referred = _REFERRED.get(kind)
        if referred in waiting:
            yield waiting.pop(referred)
        batch = waiting.get(kind)
        if batch is None:
            batch = waiting[kind] = Batch(kind, [], [])
        batch.entries.extend(file.entries)
        _note_origins(batch.origins, file)
        weight += 0 if file.fingerprint is None else file.fingerprint.size
        if weight > MAX_BYTES:
            yield from _in_order(waiting)
            weight = 0
        elif len(batch.entries) >= MAX_ENTRIES:
            yield waiting.pop(kind)
    yield from _in_order(waiting)


def _note_origins(origins: list[Origin], file: SourceFile) -> None:
    if not file.undated:
        path = file.path
        origins.extend(Origin(path, place, False, False) for place in file.places)
        return
    origins.extend(
        Origin(file.path, place, index in file.undated, index in file.named)
        for index, place in enumerate(file.places)
    )


def _in_order(waiting: dict[Kind, Batch]) -> Iterator[Batch]:
    for kind in Kind:
        if kind in waiting:
            yield waiting.pop(kind)
