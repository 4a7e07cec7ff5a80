"""A directory of backups: how they are named, how one comes into it, and which ones leave it.

A backup is a dump and a manifest of the same name. Both are written under names
that nothing looks at; then the manifest gets its name, and last the dump, so that
a dump never stands there unfinished or without its manifest. Whatever a killed run
leaves is one of those names, or a manifest alone; the next run deletes both.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nakamura_misaki.domain.errors import AlreadyAtWork, BackupFailed

_PREFIX = "nakamura-misaki-"
_TIME = "%Y%m%dT%H%M%SZ"
_DUMP = re.compile(rf"{_PREFIX}(\d{{8}}T\d{{6}}Z)\.dump")
_MANIFEST = re.compile(rf"{_PREFIX}\d{{8}}T\d{{6}}Z\.json")
_PARTIAL = re.compile(rf"\.{_PREFIX}\d{{8}}T\d{{6}}Z\.(dump|json)\.partial")
_LOCK = ".nakamura-misaki-backup.lock"


class BackupDirectory:
    """Where backups are. Every method may raise BackupFailed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def newest(self) -> Path:
        """The newest dump. Raises BackupFailed if there is none."""
        dumps = self.dumps()
        if not dumps:
            raise BackupFailed(
                f"There is no backup in {self.path}; make one with: nakamura-misaki backup"
            )
        return dumps[-1]

    def dumps(self) -> list[Path]:
        """Every dump of this name, oldest first."""
        with file_errors(self.path, "read"):
            try:
                return sorted(path for path in self.path.iterdir() if time_of(path) is not None)
            except FileNotFoundError:
                return []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory if it is missing, and be the only one who writes into it.

        Raises AlreadyAtWork if another process does.
        """
        with file_errors(self.path, "written to"):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path / _LOCK, flags, 0o600)
        try:
            with file_errors(self.path, "locked"):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise AlreadyAtWork(
                        f"Another backup into {self.path} is at work; try again when it has ended."
                    ) from None
            yield
        finally:
            os.close(descriptor)

    def clean(self) -> list[str]:
        """Delete what a run that was killed has left; its names. To be called while locked."""
        with file_errors(self.path, "written to"):
            names = {path.name for path in self.path.iterdir()}
            left = [
                name
                for name in sorted(names)
                if _PARTIAL.fullmatch(name)
                or (_MANIFEST.fullmatch(name) and _dump_of(name) not in names)
            ]
            for name in left:
                (self.path / name).unlink(missing_ok=True)
        return left

    def begin(self, now: datetime) -> "Draft":
        """A new backup, named for the time, or if that is not after the newest's: the next second.

        So the order of the names is that of the backups, also where the clock was set back.
        """
        now = now.astimezone(UTC).replace(microsecond=0)
        for dump in self.dumps()[-1:]:
            newest = time_of(dump)
            if newest is not None and newest >= now:
                now = newest + timedelta(seconds=1)
        return Draft(self.path, f"{_PREFIX}{now:{_TIME}}")

    def rotate(self, keep: int) -> tuple[int, list[str]]:
        """Delete all complete backups but the ``keep`` newest; how many stay, and who went.

        A dump without a manifest is not ours to delete.
        """
        complete = [dump for dump in self.dumps() if manifest_of(dump).exists()]
        old = complete[:-keep]
        with file_errors(self.path, "written to"):
            for dump in old:
                # In this order, so that a dump never stands there without its manifest.
                dump.unlink(missing_ok=True)
                manifest_of(dump).unlink(missing_ok=True)
        return len(complete) - len(old), [dump.name for dump in old]


class Draft:
    """A backup that is being written and has no name yet."""

    def __init__(self, directory: Path, name: str) -> None:
        self.dump = directory / f"{name}.dump"
        self.manifest = directory / f"{name}.json"
        self.partial_dump = directory / f".{name}.dump.partial"
        self._partial_manifest = directory / f".{name}.json.partial"

    def create(self) -> int:
        """The descriptor of the dump's file, new and empty, readable by its owner alone."""
        return _create(self.partial_dump)

    def publish(self, manifest: str) -> None:
        """Give the dump, which is on the disk, and its manifest their names."""
        with os.fdopen(_create(self._partial_manifest), "w", encoding="utf-8") as file:
            file.write(manifest + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._partial_manifest.rename(self.manifest)
        _sync(self.dump.parent)
        self.partial_dump.rename(self.dump)
        _sync(self.dump.parent)

    def discard(self) -> None:
        """Delete what of it has no name, or is a manifest alone."""
        with contextlib.suppress(OSError):
            self.partial_dump.unlink(missing_ok=True)
            self._partial_manifest.unlink(missing_ok=True)
            if not self.dump.exists():
                self.manifest.unlink(missing_ok=True)


def manifest_of(dump: Path) -> Path:
    """Where the manifest of a dump is, if it has one."""
    return dump.with_suffix(".json")


def time_of(dump: Path) -> datetime | None:
    """The time that a dump is named for; None for a name of another kind."""
    found = _DUMP.fullmatch(dump.name)
    try:
        return datetime.strptime(found[1], _TIME).replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


@contextlib.contextmanager
def file_errors(path: Path, what: str) -> Iterator[None]:
    """Turn the system's errors into one sentence of what can't be done with the path."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else path
        reason = error.strerror or str(error)
        raise BackupFailed(f"{where} can't be {what}: {reason}.") from error


def _create(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def _dump_of(manifest: str) -> str:
    return f"{manifest.removesuffix('.json')}.dump"


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
