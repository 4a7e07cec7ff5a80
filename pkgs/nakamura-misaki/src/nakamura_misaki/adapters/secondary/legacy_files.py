"""Finding and opening the files of a legacy directory, whatever lies in it.

The order is fixed: a directory's files by name, then its directories. Symbolic
links are not followed: what they point to inside the tree is met there anyway,
and what lies outside is not the source's.
"""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from nakamura_misaki.application.legacy import Fingerprint, Ignored, Rejection
from nakamura_misaki.domain.errors import InvalidInput

EMBEDDINGS_FILE = "embeddings.jsonl"

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FoundFile(NamedTuple):
    """A regular file: its path within the tree, and its name in an open directory."""

    path: str
    name: str
    directory: int


Found: TypeAlias = FoundFile | Rejection | Ignored


def require_directory(root: str) -> None:
    """Raise InvalidInput unless ``root`` is a directory that can be listed."""
    try:
        os.close(os.open(root, _LIST))
    except FileNotFoundError:
        raise InvalidInput(f"there is no directory {root}.") from None
    except NotADirectoryError:
        raise InvalidInput(f"{root} is not a directory.") from None
    except OSError as error:
        raise InvalidInput(f"{root} can't be listed: {error.strerror}.") from None


def walk(root: str) -> Iterator[Found]:
    """Every file beneath ``root``; what can't be listed or is no file is told."""
    real_root = os.path.realpath(root)
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            # Only the root itself may be a symbolic link.
            flags = _LIST | os.O_NOFOLLOW if prefix else _LIST
            directory = os.open(f"{root}/{prefix}", flags)
        except OSError as error:
            yield Rejection(_shown(prefix) or ".", None, f"can't be listed: {error.strerror}.")
            continue
        try:
            with os.scandir(directory) as listing:
                entries = sorted((entry.name, entry) for entry in listing)
            subdirectories = []
            for name, entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield FoundFile(prefix + name, name, directory)
                elif entry.is_dir(follow_symlinks=False):
                    subdirectories.append(f"{prefix}{name}/")
                else:
                    yield _told(real_root, prefix + name, entry)
            pending.extend(reversed(subdirectories))
        finally:
            os.close(directory)


def _told(real_root: str, path: str, entry: "os.DirEntry[str]") -> Found:
    if not entry.is_symlink():
        return Ignored(_shown(path), "neither a file nor a directory")
    target = os.path.realpath(f"{real_root}/{path}")
    if target != real_root and not target.startswith(real_root.rstrip("/") + "/"):
        return Rejection(
            _shown(path), None, "a symbolic link that leads out of the directory; not followed."
        )
    if not os.path.exists(target) or os.path.islink(target):  # noqa: PTH110, PTH114  (a Path each would slow imports)
        return Rejection(_shown(path), None, "a symbolic link that leads nowhere.")
    return Ignored(_shown(path), "a symbolic link; what it points to is read where it lies")


def reason_to_ignore(name: str) -> str | None:
    """Why a file of that name is none of the legacy layouts, or None if it may be one."""
    if name.endswith((".json", ".JSON")) or name == EMBEDDINGS_FILE:
        # The resource forks that macOS leaves beside the files it copies to other systems.
        return "a macOS resource fork" if name.startswith("._") else None
    if name.endswith((".tmp", "~", ".swp", ".part")):
        return "a temporary file"
    return "not a JSON file"


def open_file(found: FoundFile) -> int:
    """A descriptor to read the file from. Raises OSError."""
    return os.open(found.name, _READ, dir_fd=found.directory)


def read_file(found: FoundFile) -> tuple[bytes, Fingerprint]:
    """The file's bytes, and the version of it that they are. Raises OSError."""
    descriptor = open_file(found)
    try:
        status = os.fstat(descriptor)
        size = status.st_size
        data = os.read(descriptor, size + 1)
        if len(data) != size:
            parts = [data]
            while part := os.read(descriptor, 1 << 24):
                parts.append(part)
            data = b"".join(parts)
    finally:
        os.close(descriptor)
    return data, Fingerprint(len(data), status.st_mtime_ns, status.st_ino)


def fingerprint(status: os.stat_result) -> Fingerprint | None:
    """The version of the file that ``status`` describes; None unless it is a regular file."""
    if not stat.S_ISREG(status.st_mode):
        return None
    return Fingerprint(status.st_size, status.st_mtime_ns, status.st_ino)


def _shown(path: str) -> str:
    return shown(path.rstrip("/"))


def shown(path: str) -> str:
    """The path as text that can be printed; bytes that are no UTF-8 are escaped."""
    if path.isascii():
        return path
    try:
        path.encode()
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return path
