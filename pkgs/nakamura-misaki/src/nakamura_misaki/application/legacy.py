"""What a migration reads from and an export writes to, seen from the inside.

The words shared by the use cases ``migrate`` and ``export`` and by the adapters
that know files: an entry's kind, a file with its entries, what was refused and
why.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias

from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import (
    EmbeddingStore,
    HandoffRepository,
    NoteRepository,
    SessionRepository,
    StoredEmbedding,
    TaskRepository,
)
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task


class Kind(StrEnum):
    """What a file's entries are, in the order in which a store can take them."""

    SESSIONS = "sessions"
    TASKS = "tasks"
    NOTES = "notes"
    HANDOFFS = "handoffs"
    EMBEDDINGS = "embeddings"


Place: TypeAlias = int | str | None
"""Where in its file an entry stands: an index from 0, a key, or None for the whole file."""


class Rejection(NamedTuple):
    """Something that was not imported, or not as it stands, and why: one sentence."""

    path: str
    entry: Place
    reason: str


class Ignored(NamedTuple):
    """A file that is none of the legacy layouts by its name, and was not opened."""

    path: str
    reason: str


class Fingerprint(NamedTuple):
    """What changes when a file does. ``modified_ns`` is in nanoseconds since 1970, UTC."""

    size: int
    modified_ns: int
    inode: int


class SourceEmbedding(NamedTuple):
    """A vector and the hash of the text it was made of (None where the source has none)."""

    stored: StoredEmbedding
    content_hash: str | None


Entry: TypeAlias = Session | Task | Note | Handoff | SourceEmbedding


class SourceFile(NamedTuple):
    """One file of the source, or (``continued``) a further part of a long one.

    ``places`` runs beside ``entries``. ``undated`` holds the indexes of entries
    whose time is only the file's modification time, ``named`` those of them that
    bear an id of their own all the same. ``ignored`` gives the reason when the
    file was not opened. ``path`` is relative to the source.
    """

    path: str
    kind: Kind | None = None
    entries: Sequence[Entry] = ()
    places: Sequence[Place] = ()
    rejections: Sequence[Rejection] = ()
    fingerprint: Fingerprint | None = None
    undated: frozenset[int] = frozenset()
    named: frozenset[int] = frozenset()
    ignored: str | None = None
    continued: bool = False


class Backup(NamedTuple):
    """A written and re-read archive: where it is, and which version of each file it holds."""

    path: str
    files: Mapping[str, Fingerprint]


class Deletion(NamedTuple):
    """Files that were deleted, and those that were kept, each with its reason."""

    deleted: Sequence[str]
    kept: Sequence[Rejection]


class LegacySource(Protocol):
    """A place that holds legacy data. Its methods block; none needs an event loop."""

    @property
    def name(self) -> str:
        """What to call it in a report."""
        ...

    def count_files(self) -> int:
        """How many files a scan will meet, about: it only serves a progress bar."""
        ...

    def scan(self) -> Iterator[SourceFile]:
        """Every file in a fixed order, handoffs after tasks, embeddings last.

        A file that can't be read is a rejection, never an error. Raises
        InvalidInput if the source itself is not there.
        """
        ...

    def back_up(self, target: str) -> Backup:
        """Write all files into a new archive and check it. Raises InvalidInput if it can't."""
        ...

    def delete(self, files: Mapping[str, Fingerprint]) -> Deletion:
        """Delete those files that still have their fingerprint, and directories left empty."""
        ...


class ExportTarget(Protocol):
    """A place that takes an export. Its methods block; none needs an event loop.

    Nothing is to be seen at the place before ``finish``; after ``abort`` it is
    as it was before ``begin``.
    """

    @property
    def name(self) -> str: ...

    def begin(self) -> None:
        """Raises InvalidInput if something else is there that would be overwritten."""
        ...

    def write_session(self, session: Session) -> None: ...

    def write_task(self, task: Task) -> None: ...

    def write_handoff(self, handoff: Handoff) -> None: ...

    def write_note(self, note: Note) -> None: ...

    def write_embedding(self, embedding: SourceEmbedding) -> None: ...

    def finish(self, counts: Mapping[Kind, int]) -> None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The ports that hold a workspace's data. ``embeddings`` is None where none are kept."""

    tasks: TaskRepository
    handoffs: HandoffRepository
    notes: NoteRepository
    sessions: SessionRepository
    embeddings: EmbeddingStore | None = None


class Progress(NamedTuple):
    """How far a long operation is. ``total`` is None while it is not known."""

    phase: str
    done: int
    total: int | None
