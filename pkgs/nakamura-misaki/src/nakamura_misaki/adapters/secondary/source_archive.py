"""A source's files in a checked archive, and their deletion once they are safe."""

import contextlib
import gzip
import hashlib
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from nakamura_misaki.adapters.secondary.legacy_files import (
    FoundFile,
    fingerprint,
    open_file,
    shown,
    walk,
)
from nakamura_misaki.application.legacy import Backup, Deletion, Fingerprint, Rejection
from nakamura_misaki.domain.errors import InvalidInput


class _Hashed:
    """A file that hashes what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.hash.update(data)
        return data


def back_up(root: str, target: str) -> Backup:
    """Write every file beneath ``root`` that can be read into a gzipped tar archive.

    It has its name only when it is complete, on the disk, and was read back and
    compared (names, sizes, SHA-256). Raises InvalidInput if there is something
    of that name, if it would lie inside ``root``, or if it can't be written.
    """
    path = Path(target).absolute()
    _require_place(root, path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            files, hashes = _write(root, file)
            file.flush()
            os.fsync(descriptor)
            file.seek(0)
            if _read_back(file) != hashes:
                raise InvalidInput(f"the backup {path} does not read back as it was written.")
        _publish(partial, path)
    except (OSError, EOFError, tarfile.TarError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidInput(f"the backup {path} can't be written: {reason}.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return Backup(str(path), files)


def _require_place(root: str, path: Path) -> None:
    if os.path.lexists(path):
        raise InvalidInput(f"{path} is there already; choose another name for the backup.")
    if not path.parent.is_dir():
        raise InvalidInput(f"there is no directory {path.parent} for the backup.")
    if path.parent.resolve().is_relative_to(Path(root).resolve()):
        raise InvalidInput(
            f"the backup {path} must not lie inside the directory it is a backup of."
        )


def _write(root: str, file: IO[bytes]) -> tuple[dict[str, Fingerprint], dict[str, tuple[int, str]]]:
    files: dict[str, Fingerprint] = {}
    hashes: dict[str, tuple[int, str]] = {}
    # A fixed time and no name in the gzip header: equal files give an equal archive.
    with (
        gzip.GzipFile("", "wb", 6, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for found in walk(root):
            if not isinstance(found, FoundFile):
                continue
            try:
                descriptor = open_file(found)
            except OSError:
                # It can't be imported either, and so is never deleted.
                continue
            with os.fdopen(descriptor, "rb") as source:
                status = os.fstat(descriptor)
                version = fingerprint(status)
                if version is None:
                    continue
                member = archive.gettarinfo(arcname=found.path, fileobj=source)
                # A second hard link would be stored as a mere reference to the first.
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", version.size
                hashed = _Hashed(source)
                try:
                    archive.addfile(member, hashed)
                except OSError as error:
                    if error.errno is not None:
                        raise
                    raise InvalidInput(
                        f"{shown(found.path)} shrank while the backup was written; run it again."
                    ) from None
            hashes[found.path] = (version.size, hashed.hash.hexdigest())
            files[shown(found.path)] = version
    return files, hashes


def _read_back(file: IO[bytes]) -> dict[str, tuple[int, str]]:
    hashes: dict[str, tuple[int, str]] = {}
    with tarfile.open(fileobj=file, mode="r|gz") as archive:
        for member in archive:
            content: Any = archive.extractfile(member)
            hashes[member.name] = (
                member.size,
                hashlib.file_digest(content, "sha256").hexdigest(),
            )
    return hashes


def _publish(partial: Path, path: Path) -> None:
    try:
        # Unlike a rename, a link never replaces what somebody put there meanwhile.
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise
        partial.rename(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete(root: str, files: Mapping[str, Fingerprint]) -> Deletion:
    """Delete those files that are still the given version, then directories left empty.

    ``root`` itself stays, and so does every directory that was empty before.
    """
    deleted: list[str] = []
    kept: list[Rejection] = []
    touched: set[str] = set()
    for path, version in files.items():
        try:
            if fingerprint(os.lstat(f"{root}/{path}")) != version:
                kept.append(Rejection(path, None, "changed since it was read; not deleted."))
                continue
            os.unlink(f"{root}/{path}")  # noqa: PTH108  (a Path each would slow imports)
        except OSError as error:
            kept.append(Rejection(path, None, f"can't be deleted: {error.strerror}."))
        else:
            deleted.append(path)
            touched.add(path.rpartition("/")[0])
    _remove_emptied(root, touched)
    return Deletion(deleted, kept)


def _remove_emptied(root: str, directories: set[str]) -> None:
    pending = {directory for directory in directories if directory}
    while pending:
        deepest = max(pending, key=lambda path: path.count("/"))
        pending.discard(deepest)
        try:
            os.rmdir(f"{root}/{deepest}")  # noqa: PTH106  (a Path each would slow imports)
        except OSError:
            continue
        if parent := deepest.rpartition("/")[0]:
            pending.add(parent)
