"""One database put in the place of another, in one transaction: both are renamed, or neither."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from asyncpg.exceptions import ObjectInUseError

from nakamura_misaki.domain.errors import DatabaseInUse
from nakamura_misaki.infrastructure.backup.server import DatabaseServer, identifier

_AGAIN = 0.05

_USERS = """
SELECT coalesce(nullif(application_name, ''), backend_type) AS application, usename, count(*) AS n
FROM pg_stat_activity WHERE datname = $1 AND backend_type NOT LIKE 'autovacuum%'
GROUP BY 1, 2 ORDER BY n DESC, 1, 2"""

_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY ($1)"


async def require_unused(driver: Any, database: str) -> None:
    """Raise DatabaseInUse, with who it is, while anybody is connected to the database."""
    users = [
        f"{application} as {role or 'nobody'} ({number})"
        for application, role, number in await driver.fetch(_USERS, database)
    ]
    if users:
        raise DatabaseInUse(
            f"The database {database} is in use by {', '.join(users)}: stop that first, or give"
            " --disconnect to end these connections."
        )


async def exchange(
    server: DatabaseServer, driver: Any, new: str, before: str, *, disconnect: bool
) -> bool:
    """Give ``new`` the name of the service's database, and that one (if it is there) ``before``.

    Whoever connects meanwhile waits, then is refused once, and reaches the new one
    the next time. ``disconnect`` ends the connections to the old one; whether there was one.
    Raises DatabaseInUse if somebody stays connected for 5 s; nothing is renamed then.
    """
    name = server.database
    there = await driver.fetchval(
        "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name
    )
    if there and not disconnect:
        await require_unused(driver, name)
    # What others look for in a database that has just appeared must not stand in its way.
    async with _connections_ended(server, [new, name] if disconnect else [new]):
        try:
            async with driver.transaction():
                if there:
                    await _rename(driver, name, before)
                await _rename(driver, new, name)
        except ObjectInUseError as error:
            await require_unused(driver, name)
            detail = f" ({error.detail.rstrip('.')})" if error.detail else ""
            raise DatabaseInUse(
                f"The databases can't be exchanged: {error.args[0]}{detail}; try again."
            ) from error
    return bool(there)


async def _rename(driver: Any, old: str, new: str) -> None:
    # It keeps others from connecting, and waits for those who are, up to 5 s.
    await driver.execute(f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}")


@contextlib.asynccontextmanager
async def _connections_ended(
    server: DatabaseServer, databases: Sequence[str]
) -> AsyncIterator[None]:
    """End every connection to the databases for as long as the block runs."""
    async with server.beside() as driver:

        async def end_them() -> None:
            while True:
                await driver.execute(_END, databases)
                await asyncio.sleep(_AGAIN)

        ending = asyncio.create_task(end_them())
        try:
            yield
        except BaseException:
            await _stop(ending)
            if not ending.cancelled():
                ending.result()  # why they could not be ended says more
            raise
        await _stop(ending)


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))
