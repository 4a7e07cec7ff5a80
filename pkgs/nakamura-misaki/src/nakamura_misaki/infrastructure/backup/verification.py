"""A backup, proven by restoring it: into a scratch database, which is counted, searched and dropped."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nakamura_misaki.domain.errors import BackupFailed
from nakamura_misaki.infrastructure.backup.dump import OnProgress, opened
from nakamura_misaki.infrastructure.backup.finding import Sample
from nakamura_misaki.infrastructure.backup.programs import Programs
from nakamura_misaki.infrastructure.backup.server import (
    DatabaseServer,
    require_alone,
    scratch_database,
)
from nakamura_misaki.infrastructure.backup.unpacking import (
    bring_up_to_date,
    needs_upgrade,
    prepare_roles,
    properties_for,
    require_known_revision,
    unpack,
)


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """A backup that restores, and what was seen of it."""

    file: Path
    created_at: datetime
    age: timedelta
    rows: Mapping[str, int]
    schema_revision: str
    was_compared: bool
    """False for a dump without a manifest, which says what there should be."""
    found: Sample | None
    """The note that was found again; None if there is none."""
    seconds: float


async def verify(
    server: DatabaseServer,
    programs: Programs,
    file: Path,
    *,
    find_again: Callable[[str], Awaitable[Sample | None]],
    max_age: timedelta | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
) -> VerificationReport:
    """Restore the dump into a scratch database and compare it with its manifest.

    ``find_again`` searches in the database of that name, once it has this release's
    schema. Raises BackupFailed, AlreadyAtWork, ConfigurationError, SchemaOutdated (the
    dump is newer than this release) and StorageUnavailable.
    """
    started = time.monotonic()
    async with opened(file) as dump:
        age = datetime.now(UTC) - dump.created_at
        if max_age is not None and age > max_age:
            raise BackupFailed(
                f"{file} is {_hours(age)} old, and at most {_hours(max_age)} are asked for."
            )
        await dump.check()
        revision = await require_known_revision(dump, programs)
        async with server.beside() as driver:
            await server.require_rights(driver, to_create=True)
            await require_alone(driver, "verification", server.database)
            await prepare_roles(driver, dump, create=False)
            properties = await properties_for(driver, server, dump)
            async with scratch_database(driver, server.database, "verify") as scratch:
                rows = await unpack(
                    driver, server, programs, dump, scratch, properties, on_progress
                )
                if needs_upgrade(revision):
                    await bring_up_to_date(server, scratch)
                found = await find_again(scratch)
        return VerificationReport(
            file=file,
            created_at=dump.created_at,
            age=age,
            rows=rows,
            schema_revision=revision,
            was_compared=dump.manifest is not None,
            found=found,
            seconds=time.monotonic() - started,
        )


def _hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:,.1f} hours"
