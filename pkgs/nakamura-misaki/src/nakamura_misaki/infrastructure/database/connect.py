"""Single connections for work on the schema, outside any pool."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from nakamura_misaki.infrastructure.database.errors import domain_error
from nakamura_misaki.infrastructure.database.roles import OWNER_ROLE


@contextlib.asynccontextmanager
async def connected(url: str, application_name: str) -> AsyncIterator[AsyncConnection]:
    """One connection; errors of the driver become errors of ``domain.errors``."""
    engine = create_async_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"timeout": 10, "server_settings": {"application_name": application_name}},
    )
    try:
        async with engine.connect() as connection:
            yield connection
    except Exception as error:
        raise domain_error(error) from error
    finally:
        await engine.dispose()


async def become_owner(connection: AsyncConnection, owner: str | None = None) -> None:
    """Act as the owner role, where there is one and the connecting role may act as it.

    ``owner`` is another role to act as, in any case.
    """
    if owner is not None:
        quoted = connection.dialect.identifier_preparer.quote_identifier(owner)
        await connection.exec_driver_sql(f"SET ROLE {quoted}")
    elif await scalar(
        connection,
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :name"
        " AND pg_has_role(current_user, oid, 'SET'))",
        name=OWNER_ROLE,
    ):
        await connection.exec_driver_sql(f"SET ROLE {OWNER_ROLE}")


async def driver_of(connection: AsyncConnection) -> Any:
    """The asyncpg connection beneath."""
    return (await connection.get_raw_connection()).driver_connection


async def scalar(connection: AsyncConnection, statement: str, **parameters: Any) -> Any:
    """The first column of the first row."""
    return (await connection.execute(text(statement), parameters)).scalar()
