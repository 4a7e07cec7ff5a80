"""A legacy directory as the source of a migration: all layouts, mixed.

What a file holds is told by its content, with its name where the content
leaves it open. A file or an entry that can't be taken becomes a Rejection with
its reason; nothing stops the others.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from nakamura_misaki.adapters.secondary import source_archive
from nakamura_misaki.adapters.secondary.legacy_files import (
    EMBEDDINGS_FILE,
    FoundFile,
    fingerprint,
    open_file,
    read_file,
    reason_to_ignore,
    require_directory,
    shown,
    walk,
)
from nakamura_misaki.adapters.secondary.legacy_json import parse
from nakamura_misaki.adapters.secondary.legacy_layout import (
    HANDOFFS_FILE,
    SERVICE_FILES,
    TASKS_FILE,
)
from nakamura_misaki.adapters.secondary.legacy_manifest import MANIFEST_FILE, check_manifest
from nakamura_misaki.adapters.secondary.legacy_notes import NoteReader, uuid_or_none
from nakamura_misaki.adapters.secondary.legacy_sessions import looks_like_session, read_session
from nakamura_misaki.adapters.secondary.legacy_times import LOCAL_ZONE
from nakamura_misaki.adapters.secondary.legacy_work import (
    read_embedding,
    read_handoff,
    read_task,
    unknown_handoff_fields,
    unknown_task_fields,
)
from nakamura_misaki.application.legacy import (
    Backup,
    Deletion,
    Entry,
    Fingerprint,
    Kind,
    Place,
    Rejection,
    SourceFile,
)
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import CATEGORIES
from nakamura_misaki.domain.task import Task

_LATE = {HANDOFFS_FILE: 0, EMBEDDINGS_FILE: 1}
_VECTORS_AT_ONCE = 256
_LONGEST_LINE = 8 * 1024 * 1024
_WHOLE: tuple[Place] = (None,)
_FIRST = frozenset((0,))
_TOO_DEEP = "it is nested too deeply."


class LegacyDirectory:
    """The port ``LegacySource`` over a directory tree.

    Naive times of sessions are local time of ``time_zone``.
    """

    def __init__(self, directory: str | Path, *, time_zone: tzinfo = LOCAL_ZONE) -> None:
        self._root = os.path.abspath(directory)  # noqa: PTH100  (a Path each would slow imports)
        self._time_zone = time_zone

    @property
    def name(self) -> str:
        return self._root

    def count_files(self) -> int:
        require_directory(self._root)
        return sum(1 for found in walk(self._root) if isinstance(found, FoundFile))

    def scan(self) -> Iterator[SourceFile]:
        require_directory(self._root)
        notes = NoteReader()
        late: list[tuple[int, str]] = []
        for found in walk(self._root):
            if isinstance(found, Rejection):
                yield SourceFile(found.path, rejections=(found,))
            elif not isinstance(found, FoundFile):
                yield SourceFile(found.path, ignored=found.reason)
            elif found.name in _LATE:
                late.append((_LATE[found.name], found.path))
            else:
                yield self._read(found, notes)
        for order, path in sorted(late):
            yield from self._read_late(path, notes, is_vectors=order == 1)

    def back_up(self, target: str) -> Backup:
        require_directory(self._root)
        return source_archive.back_up(self._root, target)

    def delete(self, files: Mapping[str, Fingerprint]) -> Deletion:
        return source_archive.delete(self._root, files)

    def _read_late(self, path: str, notes: NoteReader, *, is_vectors: bool) -> Iterator[SourceFile]:
        parent, _, name = path.rpartition("/")
        try:
            directory = os.open(f"{self._root}/{parent}", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            yield _refused(shown(path), f"can't be read: {error.strerror}.")
            return
        try:
            found = FoundFile(path, name, directory)
            if is_vectors:
                yield from _read_vectors(found)
            else:
                yield self._read(found, notes)
        finally:
            os.close(directory)

    def _read(self, found: FoundFile, notes: NoteReader) -> SourceFile:
        path = shown(found.path)
        reason = reason_to_ignore(found.name)
        if reason is not None:
            return SourceFile(path, ignored=reason)
        try:
            data, version = read_file(found)
        except OSError as error:
            return _refused(path, f"can't be read: {error.strerror}.")
        try:
            return self._interpret(path, found.name, parse(data), version, notes)
        except InvalidInput as error:
            return _refused(path, str(error), version)
        except RecursionError:
            return _refused(path, _TOO_DEEP, version)

    def _interpret(
        self, path: str, name: str, value: Any, version: Fingerprint, notes: NoteReader
    ) -> SourceFile:
        modified_ns = version.modified_ns
        if isinstance(value, list):
            stem = name[: -len(".json")]
            read_note = partial(
                notes.read,
                file_name=None,
                category=stem if stem in CATEGORIES else None,
                modified_ns=modified_ns,
            )
            return _read_all(
                path, Kind.NOTES, enumerate(value), lambda entry, _: read_note(entry), version
            )
        if not isinstance(value, dict):
            raise InvalidInput(f"unknown layout: a {type(value).__name__}, no object or array.")
        if name == MANIFEST_FILE:
            check_manifest(value)
            return SourceFile(path, fingerprint=version)
        if _is_note(value):
            note, undated = notes.read(
                value, file_name=name, category=None, modified_ns=modified_ns
            )
            file = SourceFile(path, Kind.NOTES, (note,), _WHOLE, (), version)
            if not undated:
                return file
            is_named = note.id == uuid_or_none(value.get("id"))
            return file._replace(undated=_FIRST, named=_FIRST if is_named else frozenset())
        session = partial(read_session, time_zone=self._time_zone, modified_ns=modified_ns)
        if looks_like_session(value):
            return _read_all(path, Kind.SESSIONS, [(None, value)], session, version)
        if name in SERVICE_FILES:
            return SourceFile(path, ignored="the service's own; no part of the team's work")
        if name in (TASKS_FILE, HANDOFFS_FILE):
            return _read_work(path, name, value, version)
        if (name.startswith("user_") and name.endswith("_sessions.json")) or any(
            map(looks_like_session, value.values())
        ):
            return _read_all(path, Kind.SESSIONS, value.items(), session, version)
        raise InvalidInput("unknown layout: neither notes nor sessions.")


def _is_note(value: dict[str, Any]) -> bool:
    if "content" in value:
        # A session or a task may stand under the key "content".
        return not isinstance(value["content"], dict)
    return isinstance(value.get("user_id"), str) and not looks_like_session(value)


def _read_all(
    path: str,
    kind: Kind,
    items: Iterable[tuple[Place, Any]],
    read: Callable[[Any, Any], tuple[Entry, bool]],
    version: Fingerprint | None,
    *,
    continued: bool = False,
) -> SourceFile:
    entries: list[Entry] = []
    places: list[Place] = []
    rejections: list[Rejection] = []
    undated: set[int] = set()
    for place, item in items:
        try:
            entry, is_undated = read(item, place)
        except InvalidInput as error:
            rejections.append(Rejection(path, _shown_place(place), str(error)))
        except RecursionError:
            rejections.append(Rejection(path, _shown_place(place), _TOO_DEEP))
        else:
            if is_undated:
                undated.add(len(entries))
            entries.append(entry)
            places.append(place)
    return SourceFile(
        path,
        kind,
        entries,
        places,
        rejections,
        version,
        undated=frozenset(undated),
        continued=continued,
    )


def _read_work(path: str, name: str, value: dict[str, Any], version: Fingerprint) -> SourceFile:
    read: Callable[[Any, str], Task | Handoff]
    if name == TASKS_FILE:
        kind, read, unknown_fields = Kind.TASKS, read_task, unknown_task_fields
    else:
        kind, read, unknown_fields = Kind.HANDOFFS, read_handoff, unknown_handoff_fields
    left_out: list[Rejection] = []

    def read_noting_unknown(entry: Any, key: str) -> tuple[Entry, bool]:
        result = read(entry, key)
        left_out.extend(
            Rejection(path, key, f"imported, but without its unknown field {field!r}.")
            for field in unknown_fields(entry)
        )
        return result, False

    file = _read_all(path, kind, value.items(), read_noting_unknown, version)
    return file._replace(rejections=[*file.rejections, *left_out])


def _read_vectors(found: FoundFile) -> Iterator[SourceFile]:
    """The lines of the file, some hundred at a time: all together may exceed the memory."""
    path = shown(found.path)
    try:
        stream = os.fdopen(open_file(found), "rb")
    except OSError as error:
        yield _refused(path, f"can't be read: {error.strerror}.")
        return
    with stream:
        version = fingerprint(os.fstat(stream.fileno()))
        numbered = enumerate(iter(partial(stream.readline, _LONGEST_LINE), b""))
        continued = False
        while True:
            try:
                lines: list[tuple[Place, bytes]] = list(islice(numbered, _VECTORS_AT_ONCE))
            except OSError as error:
                yield _refused(path, f"can't be read further: {error.strerror}.")
                return
            if not lines and continued:
                return
            yield _read_all(
                path,
                Kind.EMBEDDINGS,
                lines,
                lambda line, _: (read_embedding(line), False),
                version,
                continued=continued,
            )
            continued = True


def _shown_place(place: Place) -> Place:
    return place.encode("utf-8", "backslashreplace").decode() if isinstance(place, str) else place


def _refused(path: str, reason: str, version: Fingerprint | None = None) -> SourceFile:
    return SourceFile(path, rejections=(Rejection(path, None, reason),), fingerprint=version)
