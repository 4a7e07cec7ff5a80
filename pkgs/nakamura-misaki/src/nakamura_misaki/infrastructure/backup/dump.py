"""A dump that is to be read: opened once, so that what is checked is what is restored."""

import asyncio
import contextlib
import hashlib
import os
import re
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from nakamura_misaki.domain.errors import BackupFailed, InvalidInput
from nakamura_misaki.infrastructure.backup.directory import file_errors, manifest_of, time_of
from nakamura_misaki.infrastructure.backup.manifest import Manifest
from nakamura_misaki.infrastructure.backup.programs import Programs

OnProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Hears what is being done, how much of it is, and of how much (None: not known)."""

_REVISION = re.compile(rb"^COPY public\.alembic_version .*\n(.+)\n\\\.$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OpenedDump:
    """A dump's file, and its manifest if that lies beside it."""

    path: Path
    descriptor: int
    size: int
    created_at: datetime
    manifest: Manifest | None

    @property
    def place(self) -> str:
        """The path under which a program that was given the descriptor finds this very file."""
        return f"/proc/self/fd/{self.descriptor}"

    async def check(self) -> None:
        """Compare size and SHA-256 with the manifest's. Raises BackupFailed if they differ."""
        if self.manifest is None:
            return
        if self.size != self.manifest.size_bytes:
            raise BackupFailed(
                f"{self.path} is damaged: it has {self.size:,} bytes, and the manifest says"
                f" {self.manifest.size_bytes:,}."
            )
        if await sha256(self.descriptor, self.path) != self.manifest.sha256:
            raise BackupFailed(f"{self.path} is damaged: its SHA-256 is not the manifest's.")

    async def schema_revision(self, programs: Programs) -> str:
        """The revision of the schema in the dump, read from the dump itself.

        Raises BackupFailed if it is no dump, a damaged one or another database's.
        """
        ended = await programs.run(
            "pg_restore",
            "--data-only",
            "--table=alembic_version",
            "--file=-",
            self.place,
            files=(self.descriptor,),
        )
        if ended.code != 0:
            raise BackupFailed(f"{self.path} can't be restored: {ended.reason}.")
        found = _REVISION.search(ended.output)
        if found is None:
            raise BackupFailed(f"{self.path} is no backup of nakamura-misaki.")
        return found[1].decode("utf-8", "replace")


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[OpenedDump]:
    """Open a dump and read its manifest.

    Raises InvalidInput if there is no such file, BackupFailed if either can't be read.
    """
    with file_errors(path, "read"):
        try:
            # A pipe is not waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise InvalidInput(f"There is no file {path}.") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput(f"{path} is no file.")
        created_at = time_of(path) or datetime.fromtimestamp(status.st_mtime, UTC)
        manifest = Manifest.read(manifest_of(path))
        if manifest is not None:
            created_at = manifest.created_at
        yield OpenedDump(path, descriptor, status.st_size, created_at, manifest)
    finally:
        os.close(descriptor)


async def sha256(descriptor: int, path: Path) -> str:
    """The hash of a whole file; its position stays where it is."""

    def digest() -> str:
        # A descriptor of its own has a position of its own.
        with file_errors(path, "read"), Path(f"/proc/self/fd/{descriptor}").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return await asyncio.to_thread(digest)
