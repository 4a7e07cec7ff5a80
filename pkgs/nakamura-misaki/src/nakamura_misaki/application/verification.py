"""Comparing what a source holds with what a store holds, entry by entry."""

import json
from array import array
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, auto
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from nakamura_misaki.application.export import content_hash
from nakamura_misaki.application.legacy import Entry, SourceEmbedding, Stores
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task


class Standing(Enum):
    """How the store stands to an entry of the source."""

    ABSENT = auto()
    SAME = auto()
    OLDER = auto()
    """The store holds an older version: an import would replace it."""
    NEWER = auto()
    """The store's version was changed since the source's: an import leaves it."""
    DIFFERENT = auto()
    """Neither is newer, and they are not the same."""


class _Version(NamedTuple):
    """An entry in brief: its content, and a measure by which a newer one is known."""

    digest: bytes
    age: float
    created_at: float = 0.0


class StoreIndex:
    """A digest of every entry of a store but its vectors, in memory (some 400 bytes each)."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Version] = {}
        self._tasks: dict[UUID, _Version] = {}
        self._handoffs: dict[UUID, _Version] = {}
        self._notes: dict[UUID, _Version] = {}
        self._source_keys: dict[str, UUID] = {}

    @classmethod
    async def read(cls, stores: Stores) -> "StoreIndex":
        """The index of what is in ``stores`` now."""
        index = cls()
        async for session in stores.sessions.stream():
            index._sessions[session.id] = _session(session)
        async for task in stores.tasks.stream():
            index._tasks[task.id] = _task(task)
        async for handoff in stores.handoffs.stream():
            index._handoffs[handoff.id] = _handoff(handoff)
        async for note in stores.notes.stream():
            index._notes[note.id] = _note(note)
            if note.source_key is not None:
                index._source_keys[note.source_key] = note.id
        return index

    def standing(self, entry: Session | Task | Handoff | Note, *, undated: bool) -> Standing:
        """How the store stands to ``entry``. ``undated``: a note's own times say nothing."""
        match entry:
            case Session():
                return _compare(self._sessions.get(entry.id), _session(entry))
            case Task():
                return _compare(self._tasks.get(entry.id), _task(entry))
            case Handoff():
                return _compare(self._handoffs.get(entry.id), _handoff(entry))
            case Note():
                return self._standing_of_note(entry, undated)

    def _standing_of_note(self, note: Note, undated: bool) -> Standing:
        stored = self._notes.get(note.id)
        if stored is None and note.source_key is not None:
            # Without a time of its own an entry gets another id when its file's time changes;
            # its source key stays, and stands for the same content.
            holder = self._source_keys.get(note.source_key)
            stored = None if holder is None else self._notes[holder]
        given = _note(note)
        if stored is None or not undated:
            return _compare(stored, given)
        if stored.digest == given.digest:
            return Standing.SAME
        return Standing.NEWER if stored.age > stored.created_at else Standing.DIFFERENT


class VectorIndex:
    """Which vectors a store holds, and of which texts its notes are."""

    def __init__(self) -> None:
        self._contents: dict[UUID, str] = {}
        self._vectors: dict[tuple[UUID, str], bytes] = {}

    @classmethod
    async def read(cls, stores: Stores, *, with_vectors: bool) -> "VectorIndex":
        """The index of what is in ``stores`` now."""
        index = cls()
        async for note in stores.notes.stream():
            index._contents[note.id] = content_hash(note.content)
        if with_vectors and stores.embeddings is not None:
            async for stored in stores.embeddings.stream_embeddings():
                index._vectors[stored.note_id, stored.model] = _vector(stored.embedding)
        return index

    def is_current(self, entry: SourceEmbedding) -> bool:
        """Whether the note is there and still has the text that the vector was made of."""
        stored = self._contents.get(entry.stored.note_id)
        return stored is not None and entry.content_hash in (None, stored)

    def standing(self, entry: SourceEmbedding) -> Standing:
        """How the store stands to a vector; one of the same model that was there is left."""
        if not self.is_current(entry):
            return Standing.NEWER
        stored = self._vectors.get((entry.stored.note_id, entry.stored.model))
        if stored is None:
            return Standing.ABSENT
        return Standing.SAME if stored == _vector(entry.stored.embedding) else Standing.NEWER


def entry_key(entry: Entry) -> UUID | str | tuple[UUID, str]:
    """What tells the entry from every other of its kind."""
    if isinstance(entry, SourceEmbedding):
        return entry.stored.note_id, entry.stored.model
    return entry.id


def _compare(stored: _Version | None, given: _Version) -> Standing:
    if stored is None:
        return Standing.ABSENT
    if stored.age != given.age:
        return Standing.NEWER if stored.age > given.age else Standing.OLDER
    same = stored.digest == given.digest and stored.created_at == given.created_at
    return Standing.SAME if same else Standing.DIFFERENT


def _session(session: Session) -> _Version:
    digest = _digest(
        session.user_id,
        session.title,
        session.workspace_path,
        session.message_count,
        session.is_active,
        session.metadata,
    )
    return _Version(digest, _seconds(session.last_active_at), _seconds(session.created_at))


def _task(task: Task) -> _Version:
    digest = _digest(
        task.title,
        task.description,
        task.assignee_user_id,
        task.creator_user_id,
        task.status.value,
        task.due_at,
        task.completed_at,
    )
    return _Version(digest, _seconds(task.updated_at), _seconds(task.created_at))


def _handoff(handoff: Handoff) -> _Version:
    digest = _digest(
        handoff.task_id,
        handoff.from_user_id,
        handoff.to_user_id,
        handoff.progress_note,
        handoff.next_steps,
        handoff.handoff_at,
        handoff.reminded_at,
        handoff.completed_at,
    )
    # A handoff knows no time of its last change, but what happens to it happens once.
    marks = (handoff.reminded_at is not None) + (handoff.completed_at is not None)
    return _Version(digest, float(marks), _seconds(handoff.created_at))


def _note(note: Note) -> _Version:
    digest = _digest(note.user_id, note.session_id, note.category, note.content, note.metadata)
    return _Version(digest, _seconds(note.updated_at), _seconds(note.created_at))


def _vector(embedding: Embedding) -> bytes:
    return blake2b(array("d", embedding), digest_size=16).digest()


def _seconds(moment: datetime) -> float:
    return moment.timestamp()


def _digest(*values: Any) -> bytes:
    text = json.dumps([_plain(value) for value in values], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).digest()


def _plain(value: Any) -> Any:
    """The value in a form that is equal when a store gave it back equal.

    ``jsonb`` keeps numbers as decimals: 100.0 and 1e2 may come back as they
    went or as 100, and minus zero as zero.
    """
    match value:
        case float() if value.is_integer():
            return int(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case UUID():
            return str(value)
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
