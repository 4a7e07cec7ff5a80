"""A backup in the place of the present database: restored beside it, checked, then exchanged."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nakamura_misaki.infrastructure.backup.dump import OnProgress, OpenedDump, opened
from nakamura_misaki.infrastructure.backup.exchange import exchange, require_unused
from nakamura_misaki.infrastructure.backup.programs import Programs
from nakamura_misaki.infrastructure.backup.properties import DatabaseProperties
from nakamura_misaki.infrastructure.backup.server import (
    DatabaseServer,
    drop,
    name_beside,
    require_alone,
    scratch_database,
)
from nakamura_misaki.infrastructure.backup.unpacking import (
    bring_up_to_date,
    prepare_roles,
    properties_for,
    require_known_revision,
    unpack,
)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What is about to happen, for a person to agree to."""

    dump: OpenedDump
    schema_revision: str
    database: str
    replaces: bool
    """Whether there is a database now that it takes the place of."""


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """A backup that is the service's database now."""

    file: Path
    database: str
    rows: Mapping[str, int]
    from_revision: str
    to_revision: str
    was_compared: bool
    previous: str | None
    """What the database of before is called now; None if there was none, or it was dropped."""
    actions: list[str]
    left_out: list[str]
    seconds: float


async def restore(
    server: DatabaseServer,
    programs: Programs,
    file: Path,
    *,
    confirm: Callable[[RestorePlan], None],
    disconnect: bool = False,
    drop_previous: bool = False,
    on_progress: OnProgress = lambda what, done, total: None,
) -> RestoreReport:
    """Make the dump the service's database; the one of before is kept under another name.

    ``confirm`` is asked before anything is done, and raises if it is not to be.
    ``disconnect`` ends whatever connections there are. Raises BackupFailed,
    DatabaseInUse, AlreadyAtWork, ConfigurationError, SchemaOutdated (the dump is newer
    than this release) and StorageUnavailable; the database is then as it was.
    """
    async with opened(file) as dump:
        await dump.check()
        revision = await require_known_revision(dump, programs)
        async with server.beside() as driver:
            await server.require_rights(driver, to_create=True)
            await require_alone(driver, "restore", server.database)
            present = await DatabaseProperties.read(driver, server.database)
            if present is not None and not disconnect:
                await require_unused(driver, server.database)
            confirm(RestorePlan(dump, revision, server.database, present is not None))
            started = time.monotonic()
            actions = [
                f"role {name} created" for name in await prepare_roles(driver, dump, create=True)
            ]
            properties = await properties_for(driver, server, dump)
            before = name_beside(server.database, f"_before_{datetime.now(UTC):%Y%m%d_%H%M%S}")
            async with scratch_database(driver, server.database, "restore") as new:
                rows = await unpack(driver, server, programs, dump, new, properties, on_progress)
                upgraded = await bring_up_to_date(server, new)
                on_progress("tidying", 0, 1)
                async with server.connected(new) as restored:
                    await restored.execute("VACUUM (ANALYZE)")  # a dump holds no statistics
                on_progress("tidying", 1, 1)
                # Last, since settings of the database may be against all of the above.
                left_out = await properties.apply(driver, new)
                replaced = await exchange(server, driver, new, before, disconnect=disconnect)
            if replaced and drop_previous:
                await drop(driver, before)
        return RestoreReport(
            file=file,
            database=server.database,
            rows=rows,
            from_revision=revision,
            to_revision=upgraded.to_revision,
            was_compared=dump.manifest is not None,
            previous=before if replaced and not drop_previous else None,
            actions=[*actions, *upgraded.actions],
            left_out=left_out,
            seconds=time.monotonic() - started,
        )
