"""A directory in the legacy layout as the target of an export.

Written beside its place under a name of its own, put into place when it is
complete: an interrupted export is never taken for one.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec

from nakamura_misaki.adapters.secondary.legacy_files import EMBEDDINGS_FILE
from nakamura_misaki.adapters.secondary.legacy_json import document, element
from nakamura_misaki.adapters.secondary.legacy_layout import (
    HANDOFFS_FILE,
    NOTES,
    SESSIONS,
    TASKS_FILE,
    note_path,
    sessions_path,
)
from nakamura_misaki.adapters.secondary.legacy_manifest import (
    MANIFEST_FILE,
    is_unchanged_export,
    manifest,
)
from nakamura_misaki.adapters.secondary.legacy_notes import array_entry, single_document
from nakamura_misaki.adapters.secondary.legacy_sessions import session_entry
from nakamura_misaki.adapters.secondary.legacy_times import LOCAL_ZONE, utc_text
from nakamura_misaki.adapters.secondary.legacy_work import (
    embedding_line,
    handoff_entry,
    task_entry,
)
from nakamura_misaki.application.legacy import Kind, SourceEmbedding
from nakamura_misaki.domain.errors import InvalidInput, StorageUnavailable
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import CATEGORIES, Note
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task

_Given = ParamSpec("_Given")


def _one_sentence(
    method: Callable[Concatenate["ExportDirectory", _Given], None],
) -> Callable[Concatenate["ExportDirectory", _Given], None]:
    def wrapped(self: "ExportDirectory", /, *args: _Given.args, **kwargs: _Given.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except OSError as error:
            raise StorageUnavailable(f"can't export to {self.name}: {error.strerror}.") from None

    return wrapped


class ExportDirectory:
    """The port ``ExportTarget``: ``directory`` must be absent, empty, or hold an export.

    An export that was changed since (by the JSON storage, say) is refused as
    well, for its changes would be lost. Session times are written as local time
    of ``time_zone``.
    """

    def __init__(self, directory: str | Path, *, time_zone: tzinfo = LOCAL_ZONE) -> None:
        self._place = Path(directory).absolute()
        self._work = self._place.with_name(f".{self._place.name}.exporting")
        self._time_zone = time_zone
        self._lock: int | None = None

    @property
    def name(self) -> str:
        return str(self._place)

    def begin(self) -> None:
        self._require_room()
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._work, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # What lies there was left by an export that was killed.
            for left_over in self._work.iterdir():
                shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
            for directory in (NOTES, SESSIONS, _SPOOLS):
                (self._work / directory).mkdir()
            self._open_files()
        except BlockingIOError:
            self._release()
            raise InvalidInput(f"another export to {self._place} is running.") from None
        except OSError as error:
            self._release()
            raise InvalidInput(f"can't export to {self._place}: {error.strerror}.") from None

    @_one_sentence
    def write_session(self, session: Session) -> None:
        member = _member(session.id, session_entry(session, self._time_zone))
        self._sessions.add(sessions_path(session.user_id), "", member)

    @_one_sentence
    def write_task(self, task: Task) -> None:
        self._tasks.add(_member(str(task.id), task_entry(task)))

    @_one_sentence
    def write_handoff(self, handoff: Handoff) -> None:
        self._handoffs.add(_member(str(handoff.id), handoff_entry(handoff)))

    @_one_sentence
    def write_note(self, note: Note) -> None:
        path = note_path(note)
        if note.category in CATEGORIES:
            self._notes.add(path, utc_text(note.created_at), element(array_entry(note)))
        else:
            (self._work / path).write_bytes(document(single_document(note)))

    @_one_sentence
    def write_embedding(self, embedding: SourceEmbedding) -> None:
        self._embeddings.write(embedding_line(embedding))

    @_one_sentence
    def finish(self, counts: Mapping[Kind, int]) -> None:
        self._tasks.close()
        self._handoffs.close()
        self._embeddings.close()
        self._sessions.unroll(self._work, b"{}")
        self._notes.unroll(self._work, b"[]")
        (self._work / _SPOOLS).rmdir()
        (self._work / MANIFEST_FILE).write_bytes(manifest(counts, str(self._work)))
        # One call for the file system instead of one for each of many small files.
        os.sync()
        self._put_in_place()
        self._release()

    def abort(self) -> None:
        if self._lock is None:
            return
        for file in (self._tasks, self._handoffs, self._embeddings, self._sessions, self._notes):
            # On a full disk closing fails as writing did, and there is nothing left to save.
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self._work, ignore_errors=True)
        self._release()

    def _open_files(self) -> None:
        self._tasks = _ArrayFile(self._work / TASKS_FILE, b"{}")
        self._handoffs = _ArrayFile(self._work / HANDOFFS_FILE, b"{}")
        self._embeddings = (self._work / EMBEDDINGS_FILE).open("wb")
        self._sessions = _Spool(self._work / _SPOOLS / SESSIONS)
        self._notes = _Spool(self._work / _SPOOLS / NOTES)

    def _require_room(self) -> None:
        place = self._place
        if not os.path.lexists(place):
            return
        if not place.is_dir() or place.is_symlink():
            raise InvalidInput(f"{place} is there and is not a directory.")
        if not any(place.iterdir()):
            return
        if not (place / MANIFEST_FILE).exists():
            raise InvalidInput(f"{place} is not empty; choose another directory.")
        if not is_unchanged_export(str(place)):
            raise InvalidInput(
                f"{place} holds an export that was changed since; import it first,"
                " or choose another directory."
            )

    def _put_in_place(self) -> None:
        place = self._place
        # Somebody may have written there meanwhile.
        self._require_room()
        if place.exists() and any(place.iterdir()):
            old = place.with_name(f".{place.name}.replaced")
            shutil.rmtree(old, ignore_errors=True)
            place.rename(old)
            self._work.rename(place)
            shutil.rmtree(old)
        else:
            self._work.rename(place)
        descriptor = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


_SPOOLS = ".spools"


class _ArrayFile:
    """A JSON array or object that is written one element after another."""

    def __init__(self, path: Path, brackets: bytes) -> None:
        self._brackets = brackets
        self._file = path.open("wb")
        self._is_empty = True

    def add(self, content: bytes) -> None:
        self._file.write(self._brackets[:1] + b"\n  " if self._is_empty else b",\n  ")
        self._file.write(content)
        self._is_empty = False

    def close(self) -> None:
        if not self._file.closed:
            self._file.write(
                self._brackets + b"\n" if self._is_empty else b"\n" + self._brackets[1:] + b"\n"
            )
            self._file.close()


class _Spool:
    """Elements of many files in the order in which they came, to be sorted into those files.

    Only where each element lies is kept in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] = path.open("w+b")
        self._end = 0
        self._index: dict[str, list[tuple[str, int, int]]] = {}

    def add(self, path: str, order: str, content: bytes) -> None:
        """Keep ``content`` for the file ``path``: by ``order``, then as it came."""
        self._index.setdefault(path, []).append((order, self._end, len(content)))
        self._file.write(content)
        self._end += len(content)

    def unroll(self, directory: Path, brackets: bytes) -> None:
        """Write the files and remove the spool."""
        self._file.flush()
        for path, elements in self._index.items():
            target = _ArrayFile(directory / path, brackets)
            for content in self._contents(sorted(elements)):
                target.add(content)
            target.close()
        self.close()
        self._path.unlink()

    def close(self) -> None:
        self._file.close()

    def _contents(self, elements: list[tuple[str, int, int]]) -> Iterator[bytes]:
        for _, start, length in elements:
            self._file.seek(start)
            yield self._file.read(length)


def _member(key: str, entry: dict[str, Any]) -> bytes:
    return document(key).rstrip(b"\n") + b": " + element(entry)
