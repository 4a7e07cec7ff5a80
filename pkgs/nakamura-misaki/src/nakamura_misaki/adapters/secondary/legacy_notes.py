"""Notes as the legacy files hold them, and as this project writes them there.

An entry becomes a note and the note becomes that entry again: fields that a
note has no place for are kept in ``metadata["legacy"]`` and written back where
they stood. Entries that this project wrote are told by their ``id`` together
with an ``updated_at`` that carries its offset.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.legacy_json import canonical, ordered
from nakamura_misaki.adapters.secondary.legacy_times import (
    ROUNDING,
    aware_or_none,
    modification_time,
    naive_utc_text,
    parse_time,
    utc_text,
)
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.note import Note

LEGACY = "legacy"
"""The metadata key under which fields without a place of their own are kept."""

VERBATIM = "metadata_verbatim"
"""Marks an entry whose ``metadata`` is to be taken as it stands."""

NOTE_FIELDS = frozenset(
    {
        "id",
        "session_id",
        "user_id",
        "category",
        "content",
        "timestamp",
        "created_at",
        "updated_at",
        "metadata",
        "source_key",
        VERBATIM,
    }
)
_OWN_FIELDS = ("source_key", VERBATIM)


class NoteReader:
    """Reads the notes of one run; it remembers what it has met.

    Equal entries are different notes: the n-th occurrence of an entry in a run
    has the source key ``legacy:<hash>#<n>``, so that the same files give the
    same keys in every run, wherever they lie and in whatever order.
    """

    def __init__(self) -> None:
        self._occurrences: Counter[bytes] = Counter()
        self._named: dict[UUID, bytes] = {}

    def read(
        self, entry: Any, *, file_name: str | None, category: str | None, modified_ns: int
    ) -> tuple[Note, bool]:
        """The note, and whether its time is only the file's modification time.

        ``file_name`` is given for a file of one note (it tells equal notes
        apart), ``category`` for a file of many (entries may leave it out).
        Raises InvalidInput.
        """
        if not isinstance(entry, dict):
            raise InvalidInput(f"a note must be an object, not {type(entry).__name__}.")
        get = entry.get
        user_id = get("user_id")
        content = get("content")
        if user_id is None:
            raise InvalidInput("user_id is missing.")
        if content is None:
            raise InvalidInput("content is missing.")
        named_category = get("category")
        if named_category is not None and named_category != "":
            category = named_category
        session_id = get("session_id")
        if session_id == "":
            session_id = None

        unknown: dict[str, Any]
        if NOTE_FIELDS.issuperset(entry):
            unknown = {}
        else:
            unknown = {key: entry[key] for key in entry if key not in NOTE_FIELDS}
        note_id = uuid_or_none(get("id"))
        updated_at = aware_or_none(get("updated_at"))
        own = note_id is not None and updated_at is not None
        created_at, undated = _creation_time(
            entry, file_name is not None, own, modified_ns, unknown
        )
        if updated_at is None:
            if get("updated_at") is not None:
                unknown["updated_at"] = entry["updated_at"]
            updated_at = created_at
        else:
            updated_at = updated_at.astimezone(UTC)
        if own:
            source_key = get("source_key")
        else:
            for field in _OWN_FIELDS:
                if field in entry:
                    unknown[field] = entry[field]
            note_id, source_key = self._identify(
                entry,
                note_id,
                created_at,
                unknown,
                [user_id, category, content, session_id, file_name],
            )
        note = Note(
            id=note_id,  # type: ignore[arg-type]  # or the domain refuses
            user_id=user_id,
            content=content,
            session_id=session_id,
            category=category,
            metadata=_join(get("metadata"), unknown, verbatim=own and get(VERBATIM) is True),
            source_key=source_key,
            created_at=created_at,
            updated_at=updated_at,
        )
        return note, undated

    def _identify(
        self,
        entry: dict[str, Any],
        note_id: UUID | None,
        created_at: datetime,
        unknown: dict[str, Any],
        effective: list[Any],
    ) -> tuple[UUID, str]:
        get = entry.get
        effective += (get("id"), get("created_at"), get("timestamp"), get("metadata"), unknown)
        digest = blake2b(canonical(effective), digest_size=16).digest()
        if note_id is not None and self._named.setdefault(note_id, digest) == digest:
            return note_id, f"legacy:{digest.hex()}#1"
        if "id" in entry:
            # Not a UUID, or one that another note of this run bears already.
            unknown["id"] = entry["id"]
        number = self._occurrences[digest] = self._occurrences[digest] + 1
        source_key = f"legacy:{digest.hex()}#{number}"
        return derived_id(created_at, source_key), source_key


def derived_id(created_at: datetime, source_key: str) -> UUID:
    """A UUID that every run derives alike, and that sorts by time as a UUIDv7 does.

    Version 8 (https://www.rfc-editor.org/rfc/rfc9562#section-5.8): 48 bits of
    Unix milliseconds, then bits of the source key's hash.
    """
    milliseconds = max(0, int(created_at.timestamp() * 1000))
    rest = int.from_bytes(blake2b(source_key.encode(), digest_size=10).digest(), "big")
    value = (milliseconds << 80) | rest
    value = value & ~(0xF << 76) | (0x8 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=value)


def is_own_entry(entry: Mapping[str, Any]) -> bool:
    """Whether this project wrote the entry, so that its id and source key are settled."""
    return (
        uuid_or_none(entry.get("id")) is not None
        and aware_or_none(entry.get("updated_at")) is not None
    )


def array_entry(note: Note) -> dict[str, Any]:
    """The note as an entry of its category's array."""
    metadata, fields, verbatim = _split(note.metadata)
    entry: dict[str, Any] = {
        "user_id": note.user_id,
        "category": note.category,
        "content": note.content,
        "timestamp": naive_utc_text(note.created_at),
        "metadata": ordered(metadata),
        **ordered(fields),
        "id": str(note.id),
    }
    if note.session_id is not None:
        entry["session_id"] = note.session_id
    entry["created_at"] = utc_text(note.created_at)
    return _with_own_fields(entry, note, verbatim)


def single_document(note: Note) -> dict[str, Any]:
    """The note as a file of its own."""
    metadata, fields, verbatim = _split(note.metadata)
    entry: dict[str, Any] = {
        "session_id": note.session_id,
        "user_id": note.user_id,
        "content": note.content,
        "id": str(note.id),
        "created_at": utc_text(note.created_at),
        "category": note.category,
        "metadata": ordered(metadata),
        **ordered(fields),
    }
    return _with_own_fields(entry, note, verbatim)


def _with_own_fields(entry: dict[str, Any], note: Note, verbatim: bool) -> dict[str, Any]:
    entry["updated_at"] = utc_text(note.updated_at)
    if note.source_key is not None:
        entry["source_key"] = note.source_key
    if verbatim:
        entry[VERBATIM] = True
    return entry


def uuid_or_none(value: Any) -> UUID | None:
    """The UUID that ``value`` writes down, with hyphens or without, or None."""
    if not isinstance(value, str) or len(value) not in (32, 36):
        return None
    try:
        return UUID(value)
    except ValueError:
        return None


def _creation_time(
    entry: dict[str, Any], single: bool, own: bool, modified_ns: int, unknown: dict[str, Any]
) -> tuple[datetime, bool]:
    """When the note was made; a second time that says otherwise goes to ``unknown``."""
    first, second = ("created_at", "timestamp") if single else ("timestamp", "created_at")
    value, other = entry.get(first), entry.get(second)
    if value is None:
        if other is None:
            return modification_time(modified_ns), True
        return parse_time(other, second, UTC), False
    moment = parse_time(value, first, UTC)
    if other is None:
        return moment, False
    try:
        exact = parse_time(other, second, UTC)
    except InvalidInput:
        unknown[second] = other
        return moment, False
    if abs(exact - moment) < ROUNDING:
        return exact if own else moment, False
    if not own:
        unknown[second] = other
    return moment, False


def _join(value: Any, unknown: dict[str, Any], *, verbatim: bool = False) -> dict[str, Any]:
    """Metadata and unknown fields in one object, so that neither hides the other."""
    if value is None:
        value = {}
    if isinstance(value, dict):
        if not unknown and (verbatim or LEGACY not in value):
            return value
        if LEGACY not in value:
            return {**value, LEGACY: unknown}
    return {LEGACY: {"metadata": value, **unknown}}


def _split(metadata: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any], bool]:
    """Metadata and top-level fields as they stood, and whether ``_join`` can't tell them."""
    if LEGACY not in metadata:
        return metadata, {}, False
    legacy = metadata[LEGACY]
    if isinstance(legacy, Mapping):
        fields = dict(legacy)
        rest = {key: metadata[key] for key in metadata if key != LEGACY}
        value = fields.pop("metadata", rest)
        if not NOTE_FIELDS & fields.keys() and _join(value, fields) == metadata:
            return value, fields, False
    return metadata, {}, True
