"""Bring a database to this release's schema, from wherever it stands.

The revisions are found beside this file, whatever the working directory: in a
wheel, an editable install or a read-only directory alike. Any number of
processes may upgrade at once; an advisory lock lets one after the other.
"""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from nakamura_misaki.domain.errors import (
    ConfigurationError,
    SchemaOutdated,
    StorageUnavailable,
)
from nakamura_misaki.infrastructure.database import roles
from nakamura_misaki.infrastructure.database.connect import (
    become_owner,
    connected,
    driver_of,
    scalar,
)

LOCK_KEY = 0x6E616B61  # "naka", so that nobody else's advisory lock is likely to be this one
LOCK_WAIT_SECONDS = 120
LOCK_TIMEOUT = "30s"
"""How long a change waits for a table that somebody uses, and everybody else behind it."""
LEAST_PGVECTOR = (0, 8, 0)
"""The first pgvector with iterative index scans, without which filtered searches lose rows."""


@dataclass(slots=True)
class UpgradeReport:
    """What an upgrade found and did; ``actions`` are sentences for a person."""

    from_revision: str | None
    to_revision: str
    actions: list[str] = field(default_factory=list)


def alembic_config(output: io.StringIO | None = None) -> Config:
    """Alembic's configuration without any ini file."""
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head_revision() -> str:
    """The revision that this release works with."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


async def upgrade(url: str, *, revision: str = "head", owner: str | None = None) -> UpgradeReport:
    """Bring the database to ``revision``, with roles, extension and grants.

    ``owner`` is for a role that may act as any: the one that owns the tables, where
    that is not the usual one. No roles are made then.

    Raises ConfigurationError (extension missing and not to be created here),
    SchemaOutdated (the database is newer than this release) and
    StorageUnavailable; the database is then as it was.
    """
    async with connected(url, "nakamura-misaki init-db") as connection:
        async with _locked(connection):
            actions = [] if owner else await _prepare_roles(connection)
            actions += await _prepare_extension(connection)
            await become_owner(connection, owner)
            await _require_ownership(connection)
            before = await connection.run_sync(_current_revision)
            if before is None or before != _resolve(revision):
                _require_known(before)
                await _require_create(connection)
                await connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
                await connection.run_sync(_run_alembic, revision)
                actions.append(f"schema brought from {before or 'nothing'} to {_resolve(revision)}")
            if _resolve(revision) == head_revision():
                actions += await _grant(connection)
            await connection.commit()
        return UpgradeReport(before, _resolve(revision), actions)


async def downgrade(url: str, revision: str) -> None:
    """Take the schema back to ``revision`` ("base": to nothing). Loses what came with the rest."""
    async with connected(url, "nakamura-misaki init-db") as connection, _locked(connection):
        await become_owner(connection)
        await connection.run_sync(_run_alembic, revision, back=True)
        await connection.commit()


async def pending_revisions(url: str) -> list[str]:
    """The revisions that the database lacks, oldest first; empty when it is current."""
    async with connected(url, "nakamura-misaki init-db") as connection:
        current = await connection.run_sync(_current_revision)
    _require_known(current)
    scripts = ScriptDirectory.from_config(alembic_config())
    return [
        s.revision for s in reversed(list(scripts.iterate_revisions("head", current or "base")))
    ]


def offline_sql() -> str:
    """The SQL that builds the schema from nothing, for a person to read or to run as the owner."""
    output = io.StringIO()
    command.upgrade(alembic_config(output), "head", sql=True)
    before = [
        "-- As a superuser, once:",
        *(f"-- {statement};" for statement in roles.create_roles_sql()),
        "-- CREATE EXTENSION IF NOT EXISTS vector SCHEMA public;",
        *(f"-- {statement};" for statement in roles.schema_rights_sql()),
        f"-- SET ROLE {roles.OWNER_ROLE};",
    ]
    after = [f"{statement};" for statement in roles.grants_sql()]
    return "\n".join([*before, "", output.getvalue().strip(), "", *after, ""])


@contextlib.asynccontextmanager
async def _locked(connection: AsyncConnection) -> AsyncIterator[None]:
    for _ in range(LOCK_WAIT_SECONDS * 10):
        if await scalar(connection, f"SELECT pg_try_advisory_lock({LOCK_KEY})"):
            break
        await connection.rollback()
        await asyncio.sleep(0.1)
    else:
        raise StorageUnavailable(
            f"Another init-db has been at work for {LOCK_WAIT_SECONDS} seconds; try again later."
        )
    # The session's, not the transaction's: it goes when the connection is closed.
    yield


async def _prepare_roles(connection: AsyncConnection) -> list[str]:
    actions: list[str] = []
    if not await scalar(
        connection, "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ):
        return actions
    for name, statement in zip(
        (roles.OWNER_ROLE, roles.RUNTIME_ROLE), roles.create_roles_sql(), strict=True
    ):
        driver = await driver_of(connection)
        if not await roles.role_exists(driver, name):
            try:
                async with driver.transaction():
                    await driver.execute(statement)
            except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
                continue  # roles are the cluster's: an init-db of another database was faster
            actions.append(f"role {name} created")
    if not await scalar(
        connection, f"SELECT pg_has_role(current_user, '{roles.OWNER_ROLE}', 'SET')"
    ):
        await connection.exec_driver_sql(f"GRANT {roles.OWNER_ROLE} TO CURRENT_USER")
    if not await scalar(
        connection,
        f"SELECT has_schema_privilege('{roles.OWNER_ROLE}', 'public', 'CREATE')"
        f" AND has_schema_privilege('{roles.OWNER_ROLE}', 'public', 'USAGE')"
        f" AND has_schema_privilege('{roles.RUNTIME_ROLE}', 'public', 'USAGE')",
    ):
        for statement in roles.schema_rights_sql():
            await connection.exec_driver_sql(statement)
    return actions


async def _prepare_extension(connection: AsyncConnection) -> list[str]:
    version = await scalar(
        connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    )
    default = await scalar(
        connection, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
    )
    is_superuser = await scalar(
        connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    if version is None and default is None:
        raise ConfigurationError(
            "The PostgreSQL server has no pgvector; install it there (NixOS:"
            " services.postgresql.extensions = ps: [ ps.pgvector ];)."
        )
    actions = []
    if version is None:
        if not is_superuser:
            raise ConfigurationError(
                "The extension vector is missing in this database and only a superuser may"
                " create it: run there, as superuser, CREATE EXTENSION vector;"
            )
        await connection.exec_driver_sql("CREATE EXTENSION vector SCHEMA public")
        version = default
        actions.append(f"extension vector {version} created")
    elif is_superuser and default is not None and _numbers(version) < _numbers(default):
        await connection.exec_driver_sql("ALTER EXTENSION vector UPDATE")
        actions.append(f"extension vector updated from {version} to {default}")
        version = default
    if _numbers(version) < LEAST_PGVECTOR:
        least = ".".join(map(str, LEAST_PGVECTOR))
        raise ConfigurationError(f"pgvector {version} is too old; at least {least} is needed.")
    return actions


async def _grant(connection: AsyncConnection) -> list[str]:
    """Give the runtime role what it needs, and say so only where something was missing."""
    current = await scalar(connection, "SELECT current_user")
    if current == roles.RUNTIME_ROLE or not await roles.role_exists(
        await driver_of(connection), roles.RUNTIME_ROLE
    ):
        return []
    tables = ", ".join(f"'{table}'" for table in roles.RUNTIME_TABLES)
    functions = ", ".join(f"'{function}'" for function in roles.RUNTIME_FUNCTIONS)
    complete = await scalar(
        connection,
        f"SELECT bool_and(has_table_privilege('{roles.RUNTIME_ROLE}', t, p))"
        f" AND has_table_privilege('{roles.RUNTIME_ROLE}', 'alembic_version', 'SELECT')"
        f" AND (SELECT bool_and(has_function_privilege('{roles.RUNTIME_ROLE}', f, 'EXECUTE'))"
        f" FROM unnest(ARRAY[{functions}]) AS f)"
        f" FROM unnest(ARRAY[{tables}]) AS t,"
        f" unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p",
    )
    if complete:
        return []
    for statement in roles.grants_sql():
        await connection.exec_driver_sql(statement)
    return [f"rights granted to {roles.RUNTIME_ROLE}"]


async def _require_ownership(connection: AsyncConnection) -> None:
    owner = await scalar(
        connection,
        "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('alembic_version')"
        " AND NOT pg_has_role(current_user, relowner, 'USAGE')",
    )
    if owner is not None:
        raise ConfigurationError(
            f"The tables belong to the role {owner}; set DATABASE_OWNER_URL to it, or run as"
            f" superuser in this database: REASSIGN OWNED BY {owner} TO {roles.OWNER_ROLE};"
        )


async def _require_create(connection: AsyncConnection) -> None:
    if not await scalar(
        connection, "SELECT has_schema_privilege(current_user, 'public', 'CREATE')"
    ):
        role = await scalar(connection, "SELECT current_user")
        raise ConfigurationError(
            f"The role {role} may not change the schema; set DATABASE_OWNER_URL to a role that"
            f" may, such as {roles.OWNER_ROLE}."
        )


def _run_alembic(connection: Connection, revision: str, *, back: bool = False) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    (command.downgrade if back else command.upgrade)(config, revision)


def _current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _resolve(revision: str) -> str:
    return head_revision() if revision == "head" else revision


def is_known_revision(revision: str) -> bool:
    """Whether this release knows the revision; one that it does not know is of a newer one."""
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return revision in {script.revision for script in scripts}


def _require_known(revision: str | None) -> None:
    if revision is not None and not is_known_revision(revision):
        raise SchemaOutdated(
            f"The database is at schema revision {revision}, which this release does not know:"
            " it was made by a newer one. Use that release."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
