"""One JSON file that holds an object of entries by key: what the service keeps without a database.

These files are no part of the legacy layout; a migration passes them over.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from nakamura_misaki.adapters.secondary.json_store import JsonStore
from nakamura_misaki.domain.errors import StorageUnavailable

E = TypeVar("E")
Result = TypeVar("Result")


class JsonEntries(Generic[E]):
    """The entries of ``directory / path``, which is created with ``mode`` less the umask.

    ``restore`` makes an entry of a key and a JSON object, ``describe`` the
    object of an entry. A file that does not hold such entries is an error, and
    stays as it is.
    """

    def __init__(
        self,
        directory: Path,
        path: str,
        *,
        restore: Callable[[str, Any], E],
        describe: Callable[[E], dict[str, Any]],
        mode: int = 0o666,
    ) -> None:
        self._store = JsonStore(directory)
        self._place = directory / path
        self._path = path
        self._restore = restore
        self._describe = describe
        self._mode = mode

    async def read(self, operation: Callable[[dict[str, E]], Result]) -> Result:
        """What ``operation`` gives for the entries."""
        return await self._store.read(lambda: operation(self._load()))

    async def change(self, operation: Callable[[dict[str, E]], Result]) -> Result:
        """What ``operation`` gives for the entries; what it changes among them is stored."""

        def change() -> Result:
            entries = self._load()
            before = dict(entries)
            result = operation(entries)
            if entries != before:
                described = {key: self._describe(entry) for key, entry in entries.items()}
                self._store.save(self._path, described, mode=self._mode)
            return result

        return await self._store.write(change)

    def _load(self) -> dict[str, E]:
        values, _ = self._store.load_object(self._path)
        try:
            return {key: self._restore(key, value) for key, value in values.items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            # Without the error, which may name what it stumbled over.
            reason = f"{self._place} does not hold what it should. Repair it or move it away."
        raise StorageUnavailable(reason)


def time_text(time: datetime | None) -> str | None:
    """The time in UTC, as ISO 8601."""
    return None if time is None else time.astimezone(UTC).isoformat()


def time_of(text: str | None) -> datetime | None:
    """What ``time_text`` wrote. Raises ValueError for a time without a zone."""
    return None if text is None else certain_time_of(text)


def certain_time_of(text: str) -> datetime:
    """As ``time_of``, where a time must stand."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time
