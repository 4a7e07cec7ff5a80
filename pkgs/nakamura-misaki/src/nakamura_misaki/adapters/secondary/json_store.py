"""JSON files in one directory, safe with several processes.

Every operation holds a lock on the directory (shared to read, exclusive to
write), and a file is replaced as a whole: a crash leaves its old or its new
content. Errors of the file system become StorageUnavailable.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from nakamura_misaki.adapters.secondary.legacy_files import (
    FoundFile,
    read_file,
    reason_to_ignore,
)
from nakamura_misaki.adapters.secondary.legacy_json import document, parse
from nakamura_misaki.adapters.secondary.legacy_manifest import LOCK_FILE
from nakamura_misaki.application.legacy import Fingerprint
from nakamura_misaki.domain.errors import InvalidInput, StorageUnavailable

Result = TypeVar("Result")


def ids_with(digits: str, ids: Iterable[UUID]) -> list[UUID]:
    """The first few ids that begin or end with the digits, or whose last eight begin with them."""
    found = (
        id_
        for id_ in ids
        if id_.hex.startswith(digits) or id_.hex.endswith(digits) or id_.hex[-8:].startswith(digits)
    )
    return sorted(found)[:5]


class JsonStore:
    """The files beneath ``directory``; it is made at the first write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def read(self, operation: Callable[[], Result]) -> Result:
        """What ``operation`` gives, run off the event loop while nobody writes."""
        return await asyncio.to_thread(self._locked, operation, fcntl.LOCK_SH)

    async def write(self, operation: Callable[[], Result]) -> Result:
        """What ``operation`` gives, run off the event loop while nobody else reads or writes."""
        return await asyncio.to_thread(self._locked, operation, fcntl.LOCK_EX)

    def load(self, path: str) -> tuple[Any, Fingerprint | None]:
        """The value of the file, and its version; (None, None) if there is no such file.

        A file that can't be read is an error: it must never be taken for an
        absent one and be overwritten.
        """
        parent, _, name = path.rpartition("/")
        try:
            directory = os.open(self._directory / parent, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None, None
        try:
            data, version = read_file(FoundFile(path, name, directory))
            return parse(data), version
        except FileNotFoundError:
            return None, None
        except (InvalidInput, RecursionError) as error:
            raise StorageUnavailable(
                f"{self._directory / path} can't be read: {error} Repair it or move it away."
            ) from None
        finally:
            os.close(directory)

    def load_object(self, path: str) -> tuple[dict[str, Any], Fingerprint | None]:
        """As ``load``, for a file that must hold an object; empty if there is none."""
        value, version = self.load(path)
        if value is None and version is None:
            return {}, None
        if not isinstance(value, dict):
            raise StorageUnavailable(
                f"{self._directory / path} does not hold an object. Repair it or move it away."
            )
        return value, version

    def names(self, subdirectory: str) -> list[str]:
        """The paths of the JSON files in the subdirectory, in order."""
        try:
            names = os.listdir(self._directory / subdirectory)  # noqa: PTH208  (a Path each would slow imports)
        except FileNotFoundError:
            return []
        return [
            f"{subdirectory}/{name}"
            for name in sorted(names)
            if name.lower().endswith(".json") and reason_to_ignore(name) is None
        ]

    def save(self, path: str, value: Any, *, mode: int = 0o666) -> None:
        """Put ``value`` in place of what the file holds; only within ``write``.

        The file may be used by whom ``mode`` and the umask allow.
        """
        target = self._directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # A fixed name: under the exclusive lock whatever bears it was left by a crash.
        partial = target.with_name(f".{target.name}.tmp")
        data = document(value)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        partial.rename(target)
        _sync(target.parent)

    def remove(self, path: str) -> None:
        """Remove the file; only within ``write``."""
        target = self._directory / path
        target.unlink(missing_ok=True)
        _sync(target.parent)

    def _locked(self, operation: Callable[[], Result], kind: int) -> Result:
        try:
            with self._lock(kind):
                return operation()
        except OSError as error:
            raise StorageUnavailable(
                f"the JSON files in {self._directory} can't be used: {error.strerror or error}."
            ) from None

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        if kind == fcntl.LOCK_EX:
            self._directory.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(
                self._directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
        except OSError:
            if kind == fcntl.LOCK_EX:
                raise
            # Nothing there yet, or a place where nobody may write: nothing to be locked out.
            yield
            return
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
