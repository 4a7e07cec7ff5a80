"""A backup: the dump of one moment, the counts of its rows, and the old ones that it replaces."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nakamura_misaki import __version__
from nakamura_misaki.domain.errors import BackupFailed, ConfigurationError
from nakamura_misaki.infrastructure.backup.directory import BackupDirectory, Draft, file_errors
from nakamura_misaki.infrastructure.backup.dump import OnProgress, sha256
from nakamura_misaki.infrastructure.backup.manifest import Manifest
from nakamura_misaki.infrastructure.backup.programs import Programs
from nakamura_misaki.infrastructure.backup.server import DatabaseServer
from nakamura_misaki.infrastructure.backup.snapshot import Snapshot, held_snapshot

# We hold tables that pg_dump wants, too; somebody who wants one to himself may stand between.
_LOCK_WAIT = "--lock-wait-timeout=60s"
# Vectors hardly compress. Of 20,000 notes gzip's default makes 134 MB in five times the time that
# this takes for 165 MB; zstd would be better, but not every build of PostgreSQL reads it.
_COMPRESSION = "--compress=1"


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that is complete and on the disk."""

    file: Path
    manifest: Manifest
    seconds: float
    kept: int
    deleted: list[str]


async def back_up(
    server: DatabaseServer,
    programs: Programs,
    directory: BackupDirectory,
    *,
    keep: int,
    on_progress: OnProgress = lambda what, done, total: None,
) -> BackupReport:
    """Write a backup into the directory, then delete all but the ``keep`` newest.

    Raises BackupFailed, AlreadyAtWork, ConfigurationError (rights, programs),
    SchemaOutdated and StorageUnavailable; every backup of before is then still there.
    """
    started = time.monotonic()
    programs.path("pg_restore")
    major, program_version = await programs.version("pg_dump")
    with directory.locked():
        directory.clean()
        async with server.connected() as driver:
            await server.require_rights(driver)
            await _require_not_older(driver, major)
            async with held_snapshot(driver, server.database) as snapshot:
                draft = directory.begin(snapshot.created_at)
                try:
                    size, digest = await _dump(server, programs, draft, snapshot, on_progress)
                    manifest = _manifest(server, draft, snapshot, size, digest, program_version)
                    with file_errors(directory.path, "written to"):
                        draft.publish(manifest.as_text())
                except BaseException:
                    draft.discard()
                    raise
        kept, deleted = directory.rotate(keep)
    return BackupReport(draft.dump, manifest, time.monotonic() - started, kept, deleted)


async def _require_not_older(driver: Any, major: int) -> None:
    number = int(await driver.fetchval("SHOW server_version_num"))
    if major < number // 10000:
        raise ConfigurationError(
            f"pg_dump is of PostgreSQL {major}, older than the server's {number // 10000}: set"
            " POSTGRESQL_PROGRAMS to the directory of its own."
        )


async def _dump(
    server: DatabaseServer,
    programs: Programs,
    draft: Draft,
    snapshot: Snapshot,
    on_progress: OnProgress,
) -> tuple[int, str]:
    """Write the dump to the disk and look at it; its size and SHA-256."""
    with file_errors(draft.partial_dump, "written"):
        descriptor = draft.create()
    place = f"/proc/self/fd/{descriptor}"
    with os.fdopen(descriptor, "rb"):
        async with _growth_told(descriptor, on_progress):
            ended = await programs.run(
                "pg_dump",
                "--format=custom",
                f"--snapshot={snapshot.id}",
                _LOCK_WAIT,
                # Not to its standard output, which it can't go back in: then the table of contents
                # at the beginning does not say where things are.
                f"--file={place}",
                "--no-sync",
                _COMPRESSION,
                url=server.url(),
                files=(descriptor,),
            )
        if ended.code != 0:
            raise BackupFailed(f"The backup failed, pg_dump says: {ended.reason}.")
        with file_errors(draft.partial_dump, "written"):
            os.fsync(descriptor)
            size = os.fstat(descriptor).st_size
        listed = await programs.run("pg_restore", "--list", place, files=(descriptor,))
        if size == 0 or listed.code != 0:
            reason = listed.reason if listed.code else "it is empty"
            raise BackupFailed(f"The backup failed, pg_restore can't read the dump: {reason}.")
        return size, await sha256(descriptor, draft.partial_dump)


@contextlib.asynccontextmanager
async def _growth_told(descriptor: int, on_progress: OnProgress) -> AsyncIterator[None]:
    """Tell every now and then how many megabytes the file has."""

    async def tell() -> None:
        while True:
            on_progress("megabytes", os.fstat(descriptor).st_size // 1_000_000, None)
            await asyncio.sleep(0.2)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


def _manifest(
    server: DatabaseServer,
    draft: Draft,
    snapshot: Snapshot,
    size: int,
    digest: str,
    program_version: str,
) -> Manifest:
    return Manifest(
        dump=draft.dump.name,
        sha256=digest,
        size_bytes=size,
        created_at=snapshot.created_at,
        database=server.database,
        schema_revision=snapshot.schema_revision,
        rows=snapshot.rows,
        roles=snapshot.roles,
        properties=snapshot.properties,
        server_version=snapshot.server_version,
        program_version=program_version,
        package_version=__version__,
    )
