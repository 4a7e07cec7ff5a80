"""What backups note for the service, which tells Prometheus of it.

One small JSON file, readable by everybody, with times and a size in it and
nothing else. Times are seconds since 1970, 0 for never.
"""

import contextlib
import fcntl
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from nakamura_misaki.domain.errors import AlreadyAtWork

logger = logging.getLogger(__name__)

_LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class BackupStatus:
    """When what happened last; a failure that is newer than the success is the present state."""

    last_success: float = 0.0
    size_bytes: float = 0.0
    last_failure: float = 0.0
    verified: float = 0.0
    verification_failed: float = 0.0
    """1 if the last verification failed."""


def read_status(path: Path) -> BackupStatus:
    """What the file says. Where it is missing or damaged nothing has ever succeeded: that alarms."""
    try:
        with path.open("rb") as file:
            noted = json.loads(file.read(_LONGEST))
    except FileNotFoundError:
        return BackupStatus()
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("BACKUP_STATUS_FILE %s can't be read: %s", path, error)
        return BackupStatus()
    if not isinstance(noted, dict):
        logger.warning("BACKUP_STATUS_FILE %s holds no JSON object", path)
        return BackupStatus()
    return BackupStatus(
        **{each.name: _number(noted.get(each.name)) for each in fields(BackupStatus)}
    )


@contextlib.contextmanager
def noted_backup(path: Path | None) -> Iterator[dict[str, float]]:
    """Note how the block ends, as a backup: it puts ``size_bytes`` into what it is given."""
    with _noted(path, lambda: {"last_failure": time.time()}) as changes:
        yield changes
        changes.setdefault("last_success", time.time())


@contextlib.contextmanager
def noted_verification(path: Path | None) -> Iterator[None]:
    """Note how the block ends, as a verification."""
    with _noted(path, lambda: {"verification_failed": 1.0}) as changes:
        yield
        changes.update(verified=time.time(), verification_failed=0.0)


@contextlib.contextmanager
def _noted(
    path: Path | None, failure: Callable[[], dict[str, float]]
) -> Iterator[dict[str, float]]:
    changes: dict[str, float] = {}
    try:
        yield changes
    except AlreadyAtWork:
        raise  # the other one notes how it ends
    except BaseException:
        _note(path, failure())
        raise
    _note(path, changes)


def _note(path: Path | None, changes: dict[str, float]) -> None:
    """Bring the file up to date. That it can't be written is a warning: the work itself is done."""
    if path is None:
        return
    try:
        with _alone(path.parent):
            _write(path, replace(read_status(path), **changes))
    except OSError as error:
        logger.warning("BACKUP_STATUS_FILE %s can't be written: %s", path, error.strerror)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process at a time read the file and write it anew."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # where directories can't be locked: then without
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, status: BackupStatus) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o644)  # whatever the umask is: the service runs as another user
        file.write(json.dumps(asdict(status), indent=2) + "\n")
        file.flush()
        os.fsync(descriptor)
    partial.rename(path)


def _number(value: object) -> float:
    if not isinstance(value, (int, float)):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) and number >= 0 else 0.0
