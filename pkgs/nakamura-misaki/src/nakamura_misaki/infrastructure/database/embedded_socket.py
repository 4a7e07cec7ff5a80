"""Where the embedded server's unix socket lies: a directory that only its user and root can enter.

Roles need no password there, so who can reach the socket owns the data.
"""

import os
import re
import stat
import tempfile
from pathlib import Path

from nakamura_misaki.infrastructure.database.embedded_cluster import give_to
from nakamura_misaki.infrastructure.database.embedded_installation import Account

_NAME = ".s.PGSQL.5432"
_LONGEST_PATH = 107  # bytes: sun_path of unix(7) without its final NUL
# Others separate something for PostgreSQL, libpq, asyncpg or a URL.
_HARMLESS = re.compile(r"[\w/.+~ -]+")
_SHORT = Path("/tmp")  # noqa: S108 - the directory made there is new, and closed to others


def directory(data_dir: Path) -> Path:
    """The socket's directory: ``socket`` in the data directory, or what that link leads to."""
    return Path(os.path.realpath(data_dir / "socket"))


def file(data_dir: Path) -> Path:
    """The socket itself, whether or not a server listens."""
    return directory(data_dir) / _NAME


def settle(data_dir: Path, account: Account | None) -> None:
    """Make the directory, elsewhere if its path is too long or holds a separator.

    What a killed server left there is removed: PostgreSQL trusts the number in
    the socket's lock file, which may be another process's by now. To be called
    by one process at a time, while no server runs.
    """
    place = data_dir / "socket"
    if place.is_symlink() and not _is_private(directory(data_dir), account):
        place.unlink()
    if not place.is_symlink():
        _make(place, account)
    for leftover in (_NAME, f"{_NAME}.lock"):
        (place / leftover).unlink(missing_ok=True)


def _make(place: Path, account: Account | None) -> None:
    if len(os.fsencode(place / _NAME)) <= _LONGEST_PATH and _HARMLESS.fullmatch(str(place)):
        place.mkdir(exist_ok=True)
        place.chmod(0o700)
        give_to(account, place)
    else:
        outside = Path(tempfile.mkdtemp(prefix="nakamura-misaki-", dir=_SHORT))
        give_to(account, outside)
        place.symlink_to(outside)


def _is_private(path: Path, account: Account | None) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    owner = account.uid if account else os.geteuid()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077


def tidy(data_dir: Path) -> None:
    """Take away a directory elsewhere, once the server has ended."""
    place = data_dir / "socket"
    if place.is_symlink():
        outside = directory(data_dir)
        if outside.is_dir():
            outside.rmdir()
        place.unlink()
