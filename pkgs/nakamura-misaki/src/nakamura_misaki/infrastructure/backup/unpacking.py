"""A dump, restored into a database of its own beside the present one."""

import os
import re
from dataclasses import replace
from typing import Any

from nakamura_misaki.domain.errors import BackupFailed, ConfigurationError, SchemaOutdated
from nakamura_misaki.infrastructure.backup.dump import OnProgress, OpenedDump
from nakamura_misaki.infrastructure.backup.manifest import difference
from nakamura_misaki.infrastructure.backup.programs import Ended, Programs
from nakamura_misaki.infrastructure.backup.properties import DatabaseProperties
from nakamura_misaki.infrastructure.backup.server import DatabaseServer
from nakamura_misaki.infrastructure.backup.snapshot import count_rows
from nakamura_misaki.infrastructure.database import roles
from nakamura_misaki.infrastructure.database.upgrade import (
    UpgradeReport,
    head_revision,
    is_known_revision,
    upgrade,
)

MOST_JOBS = 4
# The indexes of vectors are built in memory. That nothing is waited for until it is on the disk
# loses nothing: what makes the database the service's is.
_OPTIONS = "-c maintenance_work_mem=1GB -c synchronous_commit=off"
# What pg_restore of PostgreSQL 17 and newer tells any server; older ones don't know it.
_FROM_NEWER_PROGRAMS = "Command was: SET transaction_timeout = 0;"
_MESSAGE = re.compile(r"^pg_restore: (?=error:|warning:|while |detail:|hint:)", re.MULTILINE)


async def require_known_revision(dump: OpenedDump, programs: Programs) -> str:
    """The dump's schema revision. Raises SchemaOutdated if this release does not know it."""
    revision = await dump.schema_revision(programs)
    if not is_known_revision(revision):
        raise SchemaOutdated(
            f"{dump.path} is of schema revision {revision}, which this release does not know: it"
            " was made by a newer one. Use that release."
        )
    return revision


async def properties_for(
    driver: Any, server: DatabaseServer, dump: OpenedDump
) -> DatabaseProperties:
    """How to create a database for the dump: as the present one is, else as the dump's was."""
    present = await DatabaseProperties.read(driver, server.database)
    if present is not None:
        return present
    if dump.manifest is not None:
        return dump.manifest.properties
    template = await DatabaseProperties.read(driver, "template0")
    assert template is not None  # every server has it
    return replace(
        template,
        owner=roles.OWNER_ROLE,
        encoding="UTF8",
        connection_limit=-1,
        grants=None,
        settings=(),
    )


async def unpack(
    driver: Any,
    server: DatabaseServer,
    programs: Programs,
    dump: OpenedDump,
    database: str,
    properties: DatabaseProperties,
    on_progress: OnProgress,
) -> dict[str, int]:
    """Create the database, restore the dump into it, and count: the rows of every table.

    ``driver`` is connected to another database. Raises BackupFailed if it can't be
    restored, or if it is not as the manifest says; the database may be there then.
    """
    await properties.create(driver, database)
    on_progress("restoring", 0, 1)
    await _restore(server, programs, dump, database)
    on_progress("restoring", 1, 1)
    async with server.connected(database) as restored:
        rows = await count_rows(restored)
    if dump.manifest is not None and (differing := difference(dump.manifest.rows, rows)):
        raise BackupFailed(f"{dump.path} does not restore what was dumped: {differing}.")
    return rows


async def prepare_roles(driver: Any, dump: OpenedDump, *, create: bool) -> list[str]:
    """See that the roles are there of which the dump speaks; those that were created.

    Raises ConfigurationError if one is missing that is not to be, or can't be, created.
    """
    usual = (roles.OWNER_ROLE, roles.RUNTIME_ROLE)
    needed = usual if dump.manifest is None else dump.manifest.roles
    missing = [name for name in needed if not await roles.role_exists(driver, name)]
    unknown = [name for name in missing if name not in usual]
    creates = create and await driver.fetchval(
        "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    if unknown or (missing and not creates):
        names = ", ".join(unknown or missing)
        raise ConfigurationError(
            f"{dump.path} needs roles that this server does not have; create them first: {names}."
        )
    for name, statement in zip(usual, roles.create_roles_sql(), strict=True):
        if name in missing:
            await driver.execute(statement)
    return missing


async def bring_up_to_date(server: DatabaseServer, database: str) -> UpgradeReport:
    """Bring a restored database to this release's schema, as the owner of its tables."""
    owner = await tables_owner(server, database)
    usual = owner in (None, roles.OWNER_ROLE)
    return await upgrade(server.url(database), owner=None if usual else owner)


async def tables_owner(server: DatabaseServer, database: str) -> str | None:
    """Who owns the tables; None where there are none of ours."""
    async with server.connected(database) as driver:
        owner: str | None = await driver.fetchval(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('public.notes')"
        )
    return owner


async def _restore(
    server: DatabaseServer, programs: Programs, dump: OpenedDump, database: str
) -> None:
    major, _ = await programs.version("pg_restore")
    async with server.connected(database) as driver:
        is_newer = major >= 17 > int(await driver.fetchval("SHOW server_version_num")) // 10000
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    ended = await programs.run(
        "pg_restore",
        f"--dbname=dbname='{escaped}'",
        f"--jobs={min(MOST_JOBS, len(os.sched_getaffinity(0)))}",
        *(() if is_newer else ("--exit-on-error",)),
        dump.place,
        url=server.url(database),
        options=_OPTIONS,
        files=(dump.descriptor,),
    )
    if ended.code != 0 and not (is_newer and _has_only_that(ended)):
        raise BackupFailed(f"{dump.path} can't be restored: {ended.reason}.")


def _has_only_that(ended: Ended) -> bool:
    """Whether all that pg_restore complained of is what an older server does not know."""
    messages = _MESSAGE.split(ended.complaints.decode("utf-8", "replace"))
    errors = [each for each in messages if each.startswith("error:")]
    return ended.code == 1 and all(_FROM_NEWER_PROGRAMS in each for each in errors)


def needs_upgrade(revision: str) -> bool:
    """Whether a database of this revision has still to be brought to this release's."""
    return revision != head_revision()
