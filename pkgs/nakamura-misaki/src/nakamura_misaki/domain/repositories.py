"""The ports: what the application asks of a store.

A repository is bound to one workspace when it is built and reaches no other.
Every method may raise StorageUnavailable. ``create_many`` and ``save_many`` are
idempotent on the key: what is there already stays as it is, unless the entry
given is newer.

A list that takes ``limit`` and ``after`` can be had in pages: at most ``limit``
entries (1 to 1000; None: all), of those that stand behind the Place ``after``.
An entry that moves while its list is read may be met twice or not at all; every
other one is met once.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note, SearchAnswer, SearchFilter
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task

Id = TypeVar("Id", UUID, str)


class Place(NamedTuple, Generic[Id]):
    """Where an entry stands in a list: what the list is ordered by, of that entry.

    ``time`` is a task's due time (None: it has none), a handoff's time, a note's
    creation, a session's last activity.
    """

    time: datetime | None
    id: Id


class WriteCount(NamedTuple):
    """What a bulk write did: entries new, replaced by a newer one, and known before."""

    new: int = 0
    updated: int = 0
    known: int = 0

    def plus(self, other: "WriteCount") -> "WriteCount":
        return WriteCount(
            self.new + other.new, self.updated + other.updated, self.known + other.known
        )


class TaskRepository(Protocol):
    async def create(self, task: Task) -> Task:
        """Store a new task. Raises AlreadyExists if its id is taken."""
        ...

    async def get(self, task_id: UUID) -> Task | None: ...

    async def update(self, task: Task, *, seen: Task | None = None) -> Task:
        """Store the task's present values.

        Raises NotFound, or IllegalTransition when the stored status may not
        become the new one (because somebody else changed it meanwhile). With
        ``seen``, the task as it was read, also when anybody changed it since.
        """
        ...

    async def delete(self, task_id: UUID) -> None:
        """Delete the task and its handoffs; no error if there is none."""
        ...

    async def list_by_user(
        self,
        user_id: str,
        status: str | None = None,
        *,
        only_open: bool = False,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        """Tasks assigned to the user, earliest due date first, those without one last.

        ``only_open``: only those still to be done.
        """
        ...

    async def list_due_today(
        self,
        user_id: str,
        status: str | None = None,
        *,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Task]:
        """Open tasks of the user that are due on the present day of the team's time zone."""
        ...

    async def create_many(self, tasks: Iterable[Task]) -> WriteCount: ...

    async def find_ids(self, digits: str) -> list[UUID]:
        """A few of the ids that have these hexadecimal digits where a person would take them from.

        At the beginning, at the end, or at the beginning of the last eight.
        """
        ...

    def stream(self) -> AsyncIterator[Task]:
        """Every task of the workspace, in the order of ids, in bounded memory."""
        ...


class ReminderClaim(NamedTuple):
    """A handoff whose reminder the claimer is to send.

    ``attempt`` is 1 the first time; more: an earlier claimer failed, or died,
    perhaps after it had sent.
    """

    handoff: Handoff
    attempt: int


class HandoffRepository(Protocol):
    async def create(self, handoff: Handoff) -> Handoff:
        """Store a new handoff. Raises AlreadyExists, or NotFound if its task is not there."""
        ...

    async def get(self, handoff_id: UUID) -> Handoff | None: ...

    async def list_by_to_user(
        self,
        user_id: str,
        *,
        completed: bool | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Handoff]:
        """Handoffs to the user, earliest first: all, or only those (not) completed."""
        ...

    async def list_pending_reminders(self) -> list[Handoff]:
        """Open handoffs due within the lead time and not yet reminded of, earliest first."""
        ...

    async def claim_reminders(self, limit: int, lease: timedelta) -> list[ReminderClaim]:
        """Hold pending reminders that nobody holds for ``lease``, earliest first; at most ``limit``.

        Of several callers at once no two get the same one.
        """
        ...

    async def postpone_reminder(self, handoff_id: UUID, until: datetime) -> None:
        """Give a claimed reminder back, to be claimed by anybody after ``until``."""
        ...

    async def mark_reminded(self, handoff_id: UUID) -> bool:
        """True for the one caller that marks it first; False if it was marked or is not there."""
        ...

    async def mark_completed(self, handoff_id: UUID) -> bool:
        """True for the one caller that completes it; False if it was, or is not there."""
        ...

    async def create_many(self, handoffs: Iterable[Handoff]) -> WriteCount: ...

    async def find_ids(self, digits: str) -> list[UUID]:
        """A few of the ids that have these hexadecimal digits where a person would take them from.

        At the beginning, at the end, or at the beginning of the last eight.
        """
        ...

    def stream(self) -> AsyncIterator[Handoff]:
        """Every handoff of the workspace, in the order of ids, in bounded memory."""
        ...


class NoteRepository(Protocol):
    async def save(self, note: Note) -> Note:
        """Store the note (new, or in place of the one with its id) and then its vector.

        A failing embedder never fails this: the note stays without a vector
        until ``embed-pending`` runs. Raises AlreadyExists if the id or source
        key belongs to another user's note.
        """
        ...

    async def get(self, note_id: UUID) -> Note | None: ...

    async def search(
        self,
        query: str,
        user_id: str | None = None,
        limit: int = 10,
        where: SearchFilter | None = None,
    ) -> SearchAnswer:
        """Notes that answer the query, best first: of one user, or (None) of everybody.

        ``where``: only among the notes that it lets through. Raises InvalidInput for a blank query or a limit outside 1 to 1000.
        """
        ...

    async def list_by_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        """The session's notes, oldest first: everybody's, or one user's."""
        ...

    async def list_by_user(
        self,
        user_id: str,
        category: str | None = None,
        limit: int = 50,
        *,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        """The user's notes, newest first."""
        ...

    async def save_many(
        self, notes: Iterable[Note], embeddings: Sequence[Embedding] | None = None
    ) -> WriteCount:
        """Store many notes, with vectors of the repository's embedder if given (one each)."""
        ...

    async def find_ids(self, digits: str) -> list[UUID]:
        """A few of the ids that have these hexadecimal digits where a person would take them from.

        At the beginning, at the end, or at the beginning of the last eight.
        """
        ...

    def stream(self) -> AsyncIterator[Note]:
        """Every note of the workspace, in the order of ids, in bounded memory."""
        ...


class StoredEmbedding(NamedTuple):
    """One stored vector and where it belongs."""

    note_id: UUID
    model: str
    embedding: Embedding


class EmbeddingStore(Protocol):
    """Vectors of notes, of any model; kept apart from the notes themselves."""

    async def count_pending(self) -> int:
        """How many notes have no vector of the present model."""
        ...

    async def embed_pending(self, batch: int = 256) -> int:
        """Embed at most ``batch`` pending notes; how many were. Raises EmbeddingFailed.

        A text that the model refuses stays pending and stops no other.
        """
        ...

    async def store_embeddings(self, embeddings: Iterable[StoredEmbedding]) -> int:
        """Store vectors of notes that are there and have none of that model; how many were."""
        ...

    def stream_embeddings(self) -> AsyncIterator[StoredEmbedding]:
        """Every vector of the workspace, by note id and model."""
        ...


class StoredModel(NamedTuple):
    """A model of which vectors are stored, or are being made.

    ``missing`` is how many notes have no vector of it; ``replaced_at`` when
    another one took its place (None: it is in use, or never was).
    """

    model: str
    dimensions: int
    is_active: bool
    replaced_at: datetime | None
    vectors: int
    missing: int


class PendingTexts(NamedTuple):
    """What is still to be embedded with a model: notes, different texts, and their size.

    ``ascii_characters`` and ``other_characters`` are those of the different
    texts, as far as the model reads them.
    """

    notes: int
    texts: int
    ascii_characters: int
    other_characters: int


class EmbeddedBatch(NamedTuple):
    """Notes given a vector, texts that the embedder was asked for, and the last note looked at.

    ``last`` None: there is none after it.
    """

    embedded: int
    asked: int
    last: UUID | None


class Switch(NamedTuple):
    """Whether the model was put to use, and how many notes have no vector of it."""

    is_done: bool
    missing: int


class ModelStore(Protocol):
    """How one model of vectors takes the place of another: the embedder's beside those stored."""

    def at_work(self) -> AbstractAsyncContextManager[None]:
        """Be the only one that changes the workspace's models; AlreadyAtWork if another one does."""
        ...

    async def models(self) -> list[StoredModel]:
        """Every model: the one in use first, then the last replaced."""
        ...

    async def measure_pending(self, max_bytes: int) -> PendingTexts:
        """What the embedder is still to be asked for; it reads ``max_bytes`` of a text."""
        ...

    async def register(self) -> None:
        """Let vectors of the embedder's model be stored, beside those in use."""
        ...

    async def embed_next(self, batch: int, after: UUID | None) -> EmbeddedBatch:
        """Embed at most ``batch`` notes without a vector, of those after that id.

        Raises EmbeddingFailed. A text that the model refuses stays pending.
        """
        ...

    async def switch_to(
        self, model: str, *, allow_missing: int | None = 0, finishing: bool = False
    ) -> Switch:
        """Put a registered model to use, unless more notes than that would miss a vector.

        All at once, with no write of a note in between. ``allow_missing`` None:
        however many. ``finishing``: the last few are embedded while writes of
        notes wait. The replaced model's vectors stay.
        """
        ...

    async def discard_others(self) -> int:
        """Delete the vectors of every model but the one in use; how many notes' vectors."""
        ...


class SessionRepository(Protocol):
    async def create(self, session: Session) -> Session:
        """Store a new session. Raises AlreadyExists if its id is taken."""
        ...

    async def get(self, session_id: str) -> Session | None: ...

    async def update_last_active(self, session_id: str, at: datetime | None = None) -> None:
        """Set the last activity to ``at`` (default: now). Raises NotFound."""
        ...

    async def delete_inactive(self, days: int) -> int:
        """Delete sessions without activity for ``days`` days (at least 1); how many went."""
        ...

    async def list_by_user(
        self, user_id: str, *, limit: int | None = None, after: Place[str] | None = None
    ) -> list[Session]:
        """The user's sessions, most recently active first."""
        ...

    async def create_many(self, sessions: Iterable[Session]) -> WriteCount: ...

    def stream(self) -> AsyncIterator[Session]:
        """Every session of the workspace, in the order of ids, in bounded memory."""
        ...
