"""Notes in JSON files: the legacy layout, read and written.

Arrays are never trimmed. Entries of the legacy storage get their id and source
key by position and content, which only holds as long as nothing is changed;
so the first write settles them all in their files.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_paging import page
from nakamura_misaki.adapters.secondary.json_store import JsonStore, ids_with
from nakamura_misaki.adapters.secondary.legacy_layout import NOTES, note_path
from nakamura_misaki.adapters.secondary.legacy_notes import (
    NoteReader,
    array_entry,
    is_own_entry,
    single_document,
)
from nakamura_misaki.adapters.secondary.word_search import rank
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import AlreadyExists, InvalidInput
from nakamura_misaki.domain.note import (
    CATEGORIES,
    FoundNote,
    Leg,
    LegSkipped,
    Note,
    SearchAnswer,
    SearchFilter,
)
from nakamura_misaki.domain.repositories import Place, WriteCount
from nakamura_misaki.domain.rules import require_limit, require_line, require_text

_RANK_CONSTANT = 60


class JsonNoteRepository:
    """The port ``NoteRepository`` over ``notes/*.json``. No vectors are kept; words find notes."""

    def __init__(self, directory: Path) -> None:
        self._store = JsonStore(directory)

    async def save(self, note: Note) -> Note:
        def save() -> Note:
            files = self._load()
            stored = files.by_id.get(note.id)
            if stored is not None and stored.user_id != note.user_id:
                raise AlreadyExists(f"There is a note {note.id} of another user already.")
            holder = files.by_key.get(note.source_key) if note.source_key else None
            if holder not in (None, note.id):
                raise AlreadyExists(f"The source key {note.source_key} belongs to another note.")
            # A note keeps the time of its making, whoever writes it again.
            kept = note if stored is None else replace(note, created_at=stored.created_at)
            files.put(kept)
            self._save(files)
            return kept

        return await self._store.write(save)

    async def get(self, note_id: UUID) -> Note | None:
        return (await self._all()).get(note_id)

    async def search(
        self,
        query: str,
        user_id: str | None = None,
        limit: int = 10,
        where: SearchFilter | None = None,
    ) -> SearchAnswer:
        require_text(query, "a query")
        if not query or query.isspace():
            raise InvalidInput("a query must not be blank.")
        require_limit(limit)

        def search() -> list[FoundNote]:
            notes = [
                note
                for note in self._load().by_id.values()
                if user_id in (None, note.user_id) and (where is None or where.lets_through(note))
            ]
            notes.sort(key=lambda note: (note.created_at, note.id), reverse=True)
            best = rank(query, [note.content for note in notes])[:limit]
            return [_found(notes[index], place, query) for place, index in enumerate(best, 1)]

        return SearchAnswer(
            await self._store.read(search),
            legs=(Leg.WORDS,),
            skipped={Leg.VECTOR: LegSkipped.NOT_STORED},
        )

    async def list_by_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        notes = [
            note
            for note in (await self._all()).values()
            if note.session_id == session_id and user_id in (None, note.user_id)
        ]
        notes.sort(key=_place)
        return page(notes, limit, after and (lambda note: _place(note) > after))

    async def list_by_user(
        self,
        user_id: str,
        category: str | None = None,
        limit: int = 50,
        *,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        require_limit(limit)
        if category is not None:
            require_line(category, "a category")
        notes = [
            note
            for note in (await self._all()).values()
            if note.user_id == user_id and category in (None, note.category)
        ]
        notes.sort(key=_place, reverse=True)
        return page(notes, limit, after and (lambda note: _place(note) < after))

    async def save_many(
        self, notes: Iterable[Note], embeddings: Sequence[Embedding] | None = None
    ) -> WriteCount:
        given = list(notes)

        def save_many() -> WriteCount:
            files = self._load()
            new, updated = set[UUID](), set[UUID]()
            for note in given:
                stored = files.by_id.get(note.id)
                if stored is not None:
                    if note.updated_at <= stored.updated_at or note.user_id != stored.user_id:
                        continue
                    if note.id not in new:
                        updated.add(note.id)
                elif note.source_key is not None and note.source_key in files.by_key:
                    continue
                else:
                    new.add(note.id)
                files.put(note)
            if new or updated:
                self._save(files)
            return WriteCount(len(new), len(updated), len(given) - len(new) - len(updated))

        return await self._store.write(save_many)

    async def find_ids(self, digits: str) -> list[UUID]:
        return ids_with(digits, await self._all())

    async def stream(self) -> AsyncIterator[Note]:
        notes = await self._all()
        for note_id in sorted(notes):
            yield notes[note_id]

    async def _all(self) -> dict[UUID, Note]:
        return (await self._store.read(self._load)).by_id

    def _load(self) -> "_NoteFiles":
        files = _NoteFiles()
        reader = NoteReader()
        for path in self._store.names(NOTES):
            value, version = self._store.load(path)
            if version is None:
                continue
            stem = path.rpartition("/")[2].removesuffix(".json")
            is_array = isinstance(value, list)
            files.arrays[path] = is_array
            for entry in value if is_array else [value]:
                try:
                    note, _ = reader.read(
                        entry,
                        file_name=None if is_array else f"{stem}.json",
                        category=stem if is_array and stem in CATEGORIES else None,
                        modified_ns=version.modified_ns,
                    )
                except (InvalidInput, RecursionError):
                    files.keep(path, entry)
                else:
                    files.found(path, entry, note)
        return files

    def _save(self, files: "_NoteFiles") -> None:
        files.settle()
        # New places first: a crash in between leaves a note twice rather than not at all.
        changed = sorted(files.changed, key=lambda path: (path not in files.grown, path))
        for path in changed:
            entries = [slot.entry for slot in files.slots[path] if slot.entry is not None]
            if files.arrays[path]:
                self._store.save(path, entries)
            elif entries:
                self._store.save(path, entries[0])
            else:
                self._store.remove(path)


@dataclass(slots=True)
class _Slot:
    """An entry where it stands: ``note`` is None where it can't be read, ``entry`` once it is gone."""

    path: str
    entry: Any
    note: Note | None


@dataclass(slots=True)
class _NoteFiles:
    """All note files: what they hold, in order, and the notes among it."""

    slots: dict[str, list[_Slot]] = field(default_factory=dict)
    arrays: dict[str, bool] = field(default_factory=dict)
    by_id: dict[UUID, Note] = field(default_factory=dict)
    by_key: dict[str, UUID] = field(default_factory=dict)
    places: dict[UUID, list[_Slot]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    grown: set[str] = field(default_factory=set)

    def keep(self, path: str, entry: Any) -> None:
        self.slots.setdefault(path, []).append(_Slot(path, entry, None))

    def found(self, path: str, entry: Any, note: Note) -> None:
        slot = _Slot(path, entry, note)
        self.slots.setdefault(path, []).append(slot)
        self.places.setdefault(note.id, []).append(slot)
        known = self.by_id.get(note.id)
        if known is None or note.updated_at > known.updated_at:
            self._index(note)

    def put(self, note: Note) -> None:
        """Put the note where its predecessor stands, or at the end of its category's file."""
        wanted = note_path(note)
        kept: _Slot | None = None
        for slot in self.places.get(note.id, []):
            self.changed.add(slot.path)
            if kept is None and slot.note is not None and slot.note.category == note.category:
                kept = slot
            else:
                slot.entry = slot.note = None
        if kept is None:
            kept = _Slot(wanted, None, note)
            # What stands in the file already and is no array becomes the first of one.
            self.arrays[wanted] = note.category in CATEGORIES or wanted in self.arrays
            self.slots.setdefault(wanted, []).append(kept)
            self.changed.add(wanted)
            self.grown.add(wanted)
        kept.note = note
        kept.entry = self._entry(kept.path, note)
        self.places[note.id] = [kept]
        self._index(note)

    def settle(self) -> None:
        """Write down the id and source key of every note whose entry does not hold them."""
        for slots in self.slots.values():
            for slot in slots:
                if slot.note is not None and not is_own_entry(slot.entry):
                    slot.entry = self._entry(slot.path, slot.note)
                    self.changed.add(slot.path)

    def _entry(self, path: str, note: Note) -> dict[str, Any]:
        return array_entry(note) if self.arrays[path] else single_document(note)

    def _index(self, note: Note) -> None:
        stored = self.by_id.get(note.id)
        if stored is not None and stored.source_key is not None:
            self.by_key.pop(stored.source_key, None)
        self.by_id[note.id] = note
        if note.source_key is not None:
            self.by_key[note.source_key] = note.id


def _place(note: Note) -> Place[UUID]:
    return Place(note.created_at, note.id)


_NOTE_FIELDS = tuple(item.name for item in fields(Note))


def _found(note: Note, place: int, query: str) -> FoundNote:
    values = {name: getattr(note, name) for name in _NOTE_FIELDS}
    score = 1 / (_RANK_CONSTANT + place)
    return FoundNote(**values, score=score, legs=(Leg.WORDS,), query=query)
