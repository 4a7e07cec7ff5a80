"""One moment of a database, of which the dump and the counts of its rows are both made."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nakamura_misaki.domain.errors import SchemaOutdated
from nakamura_misaki.infrastructure.backup.properties import DatabaseProperties
from nakamura_misaki.infrastructure.backup.server import identifier
from nakamura_misaki.infrastructure.database.upgrade import LOCK_KEY

LOCK_WAIT = "120s"
"""How long an init-db, or whoever has a table to himself, is waited for."""

_NO_SCHEMA = (
    "The database has no schema yet, so there is nothing to back up; run: nakamura-misaki init-db"
)

# Those of extensions are not dumped.
_TABLES = """
SELECT nspname, relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind = 'r' AND relpersistence <> 't'
    AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
    AND NOT EXISTS (SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY nspname <> 'public', nspname, relname"""

# Superusers made by initdb are not recorded, and are there on every server.
_ROLES = """
SELECT DISTINCT rolname FROM pg_shdepend JOIN pg_roles AS r ON r.oid = refobjid
WHERE refclassid = 'pg_authid'::regclass
    AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY rolname"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is true of the database at that moment."""

    id: str
    """For ``pg_dump --snapshot``; good while the snapshot is held."""
    created_at: datetime
    schema_revision: str
    rows: dict[str, int]
    roles: tuple[str, ...]
    properties: DatabaseProperties
    server_version: str


@contextlib.asynccontextmanager
async def held_snapshot(driver: Any, database: str) -> AsyncIterator[Snapshot]:
    """Hold one moment of the database that the driver is connected to.

    No table changes its form before the end of the block: rows of a table that is
    rewritten or truncated meanwhile would be missing in the dump though the
    snapshot has them. Raises SchemaOutdated where there is nothing of ours.
    """
    await driver.execute(f"SET lock_timeout = '{LOCK_WAIT}'")
    # No init-db between the list of the tables and the moment that is dumped.
    await driver.execute("SELECT pg_advisory_lock_shared($1)", LOCK_KEY)
    tables = await _tables(driver)
    if "alembic_version" not in tables:
        raise SchemaOutdated(_NO_SCHEMA)
    async with driver.transaction(isolation="repeatable_read", readonly=True):
        # Before the first SELECT, which is what settles the moment.
        await driver.execute(f"LOCK TABLE {', '.join(tables.values())} IN ACCESS SHARE MODE")
        created_at = datetime.now(UTC)
        snapshot = await driver.fetchval("SELECT pg_export_snapshot()")
        await driver.execute("SELECT pg_advisory_unlock_shared($1)", LOCK_KEY)
        properties = await DatabaseProperties.read(driver, database)
        assert properties is not None  # we are connected to it
        revision = await driver.fetchval("SELECT version_num FROM alembic_version")
        if revision is None:
            raise SchemaOutdated(_NO_SCHEMA)
        yield Snapshot(
            id=snapshot,
            created_at=created_at,
            schema_revision=revision,
            rows=await _count(driver, tables),
            roles=tuple(row[0] for row in await driver.fetch(_ROLES)),
            properties=properties,
            server_version=await driver.fetchval("SHOW server_version"),
        )


async def count_rows(driver: Any) -> dict[str, int]:
    """How many rows each table of the database has, by its name (with its schema unless public)."""
    return await _count(driver, await _tables(driver))


async def _tables(driver: Any) -> dict[str, str]:
    """Each table's name, and how it is written in SQL."""
    return {
        (table if schema == "public" else f"{schema}.{table}"): (
            f"{identifier(schema)}.{identifier(table)}"
        )
        for schema, table in await driver.fetch(_TABLES)
    }


async def _count(driver: Any, tables: dict[str, str]) -> dict[str, int]:
    return {
        name: await driver.fetchval(f"SELECT count(*) FROM {table}")
        for name, table in tables.items()
    }
