"""The database server as backups need it: with a role from which no row is hidden."""

import contextlib
import re
import secrets
from collections.abc import AsyncIterator
from typing import Any

from asyncpg.exceptions import InvalidCatalogNameError, PostgresError
from sqlalchemy.engine import make_url

from nakamura_misaki.domain.errors import AlreadyAtWork, BackupFailed, ConfigurationError
from nakamura_misaki.infrastructure.database.connect import connected, driver_of
from nakamura_misaki.infrastructure.database.errors import domain_error, driver_error

LONGEST_NAME = 63
"""Bytes of an identifier; PostgreSQL cuts off the rest in silence."""

_ELSEWHERE = ("postgres", "template1")
"""Databases that nearly every server has."""

_TIMEOUTS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)


class DatabaseServer:
    """A server, and the name of the service's database there.

    ``url`` connects as the role for backups, ``setting`` is where it comes from.
    """

    def __init__(self, url: str, database: str, *, setting: str) -> None:
        self._url = make_url(url)
        self.database = database
        self._setting = setting

    def url(self, database: str | None = None) -> str:
        """The URL of one database of the server (None: the service's) for the role for backups."""
        url = self._url.set(database=database or self.database).difference_update_query(
            ["database"]
        )
        return url.render_as_string(hide_password=False)

    @contextlib.asynccontextmanager
    async def connected(self, database: str | None = None) -> AsyncIterator[Any]:
        """A driver connection, on which nothing is hidden and nothing is ended for its length.

        Where rows would be hidden from the role, statements that meet them fail.
        Raises what ``domain.errors`` has for it.
        """
        async with connected(self.url(database), "nakamura-misaki backup") as connection:
            driver = await driver_of(connection)
            await driver.execute("SET row_security = off")
            await driver.execute(
                "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY ($1)",
                _TIMEOUTS,
            )
            try:
                yield driver
            except PostgresError as error:
                if domain_error(error) is not error:
                    raise
                raise BackupFailed(f"The database server refuses: {error.args[0]}.") from error

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[Any]:
        """A driver connection to another database, from where ours can be created and renamed."""
        async with self.connected(await self._another_database()) as driver:
            yield driver

    async def _another_database(self) -> str:
        refusal: ConfigurationError | None = None
        for name in dict.fromkeys((*_ELSEWHERE, self._url.database)):
            if name is None or name == self.database:
                continue
            try:
                async with connected(self.url(name), "nakamura-misaki backup"):
                    return name
            except ConfigurationError as error:
                cause = error.__cause__
                if cause is None or not isinstance(driver_error(cause), InvalidCatalogNameError):
                    raise
                refusal = error
        raise refusal or ConfigurationError("The server has no database but the service's own.")

    async def require_rights(self, driver: Any, *, to_create: bool = False) -> None:
        """Raise ConfigurationError unless the role sees every row (and may create databases)."""
        role, sees_all, creates = await driver.fetchrow(
            "SELECT rolname, rolsuper OR rolbypassrls, rolsuper OR rolcreatedb FROM pg_roles"
            " WHERE rolname = current_user"
        )
        if not sees_all or (to_create and not creates):
            raise ConfigurationError(
                f"The role {role} of {self._setting} may not do this: set DATABASE_ADMIN_URL to a"
                " superuser, or to a role that has BYPASSRLS and CREATEDB."
            )


def database_of(url: str) -> str:
    """The database that a URL names; like the driver, the role's name where it names none.

    Raises ConfigurationError where it names neither.
    """
    parts = make_url(url)
    for name in (parts.query.get("database"), parts.database, parts.query.get("user")):
        if isinstance(name, str) and name:
            return name
    if not parts.username:
        raise ConfigurationError("DATABASE_URL names no database; write it behind the host.")
    return parts.username


async def require_alone(driver: Any, what: str, database: str) -> None:
    """Be the only one that does this to the database until the connection is closed.

    Raises AlreadyAtWork if another process does it.
    """
    if not await driver.fetchval(
        "SELECT pg_try_advisory_lock(hashtext('nakamura-misaki ' || $1), hashtext($2))",
        what,
        database,
    ):
        raise AlreadyAtWork(
            f"Another {what} of {database} is at work; try again when it has ended."
        )


@contextlib.asynccontextmanager
async def scratch_database(driver: Any, database: str, what: str) -> AsyncIterator[str]:
    """A name for a database that exists only while the block runs, however that ends.

    Those that killed runs have left are dropped first, so only one process at a time
    may do ``what``.
    """
    digits = secrets.token_hex(4)
    name = name_beside(database, f"_{what}_{digits}")
    prefix = name.removesuffix(digits)
    rows = await driver.fetch(
        "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", prefix
    )
    for (stale,) in rows:
        if re.fullmatch("[0-9a-f]{8}", stale.removeprefix(prefix)):
            await drop(driver, stale)
    try:
        yield name
    except BaseException:
        with contextlib.suppress(Exception):  # what ended the block counts more
            await drop(driver, name)
        raise
    await drop(driver, name)


async def drop(driver: Any, database: str) -> None:
    """Drop a database of ours, whoever uses it, if it is there."""
    exists = await driver.fetchval(
        "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database
    )
    if exists:
        await driver.execute(f"DROP DATABASE IF EXISTS {identifier(database)} WITH (FORCE)")


def name_beside(database: str, suffix: str) -> str:
    """A name for a database that belongs to another one."""
    room = LONGEST_NAME - len(suffix.encode())
    return database.encode()[:room].decode("utf-8", "ignore") + suffix


def identifier(name: str) -> str:
    """The name as SQL has it in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as a literal, whatever ``standard_conforming_strings`` is."""
    quoted = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{quoted}'" if "\\" in text else f"'{quoted}'"
