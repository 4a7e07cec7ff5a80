"""Work that keeps searches fast and never stands in the way of a write.

Vector indexes are built and filled here, and the counts of common terms taken.
Without any of it every search is still right: vectors that no index holds are
compared one by one, and terms of unknown frequency count as rare. Meant for a
timer, and run at the end of an import.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from asyncpg.exceptions import (
    FeatureNotSupportedError,
    InvalidParameterValueError,
    LockNotAvailableError,
)

from nakamura_misaki.domain.errors import ConfigurationError, SchemaOutdated, StorageUnavailable
from nakamura_misaki.infrastructure.database.connect import become_owner, connected, driver_of
from nakamura_misaki.infrastructure.database.manager import WORKSPACE_SETTING
from nakamura_misaki.infrastructure.database.vector_indexes import Say, VectorIndexes

LOCK_WAIT = "60s"
MAINTENANCE_LOCK = 0x6E616B62
OTHERS_MAY_TAKE = 600.0
"""Seconds within which another maintenance, of any workspace, should have come to its end."""
INDEX_FROM_ROWS = 2500
"""From how many vectors an HNSW beats the exact scan: about 1 ms per 1,000 rows against 2 ms."""
FEW_NOTES = 2000
"""Up to here the word search looks at every note that matches, and needs no counts."""
COMMON_FROM = 100
SPARE_KEPT_FOR = "30 days"
"""How long the vector of a text that was edited or deleted waits for that text to come back."""


@dataclass(slots=True)
class MaintenanceReport:
    """What was done, as sentences for a person; empty when there was nothing to do."""

    actions: list[str] = field(default_factory=list)


async def maintain(
    owner_url: str, workspace_id: str, *, say: Say = lambda _: None
) -> MaintenanceReport:
    """Do what one workspace needs; ``say`` hears of each step before it begins.

    ``owner_url`` connects as the tables' owner, or as a superuser. Only one
    process at a time does it; a second one returns at once.
    """
    report = MaintenanceReport()
    async with _owner(owner_url, workspace_id) as driver:
        if not await _is_alone(driver):
            report.actions.append("another maintenance is at work; nothing done here")
            return report
        indexes = VectorIndexes(driver, workspace_id, from_rows=INDEX_FROM_ROWS, say=say)
        await indexes.build_active()
        report.actions += indexes.actions
        await _drop_spare_vectors(driver, workspace_id)
        say("tidying tables")
        await driver.execute(
            "VACUUM (ANALYZE) tasks, handoffs, sessions, notes, note_embeddings, spare_embeddings"
        )
        await _count_common_terms(driver, workspace_id, report, say)
    return report


async def index_model(
    owner_url: str, workspace_id: str, model: str, *, say: Say = lambda _: None
) -> MaintenanceReport:
    """Build the vector indexes of a model that is not in use yet.

    Another maintenance that is at work is waited for. Raises as ``maintain`` does,
    and StorageUnavailable if that one takes too long.
    """
    async with _owner(owner_url, workspace_id) as driver:
        end = time.monotonic() + OTHERS_MAY_TAKE
        while not await _is_alone(driver):
            say("waiting for another maintenance")
            if time.monotonic() > end:
                raise StorageUnavailable("Another maintenance has been at work for ten minutes.")
            # Not by a statement that waits: its snapshot would hold up the other's index builds.
            await asyncio.sleep(0.2)
        indexes = VectorIndexes(driver, workspace_id, from_rows=INDEX_FROM_ROWS, say=say)
        await indexes.build(model)
        # The planner has never seen a row of this model yet, and the first searches come at once.
        await driver.execute("ANALYZE note_embeddings")
        return MaintenanceReport(indexes.actions)


@contextlib.asynccontextmanager
async def _owner(owner_url: str, workspace_id: str) -> AsyncIterator[Any]:
    """A driver connection as the tables' owner, on which nothing waits without end."""
    async with _waiting_in_bounds(), connected(owner_url, "nakamura-misaki maintain") as connection:
        await become_owner(connection)
        await connection.commit()
        driver = await driver_of(connection)
        await _require_owner(driver)
        await driver.execute("SELECT set_config($1, $2, false)", WORKSPACE_SETTING, workspace_id)
        await driver.execute("SET maintenance_work_mem = '1GB'")
        # An index is built once every older transaction has ended, and one may be forgotten.
        await driver.execute(f"SET lock_timeout = '{LOCK_WAIT}'")
        with contextlib.suppress(FeatureNotSupportedError, InvalidParameterValueError):
            # Or the server would go on with the build for a client that was killed.
            await driver.execute("SET client_connection_check_interval = '1s'")
        yield driver


async def _is_alone(driver: Any) -> bool:
    is_alone: bool = await driver.fetchval("SELECT pg_try_advisory_lock($1)", MAINTENANCE_LOCK)
    return is_alone


async def _drop_spare_vectors(driver: Any, workspace_id: str) -> None:
    await driver.execute(
        "DELETE FROM spare_embeddings WHERE workspace_id = $1"
        f" AND kept_at < now() - interval '{SPARE_KEPT_FOR}'",
        workspace_id,
    )


@contextlib.asynccontextmanager
async def _waiting_in_bounds() -> AsyncIterator[None]:
    try:
        yield
    except StorageUnavailable as error:
        if not isinstance(error.__cause__, LockNotAvailableError):
            raise
        raise StorageUnavailable(
            f"Another session kept a transaction open for {LOCK_WAIT}, and an index is built only"
            " once it has ended; end it (pg_stat_activity shows it) and run maintain again."
        ) from error


async def _require_owner(driver: Any) -> None:
    may = await driver.fetchval(
        "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class"
        " WHERE oid = to_regclass('note_embeddings')"
    )
    if may is None:
        raise SchemaOutdated("The database has no schema yet; run: nakamura-misaki init-db")
    if not may:
        raise ConfigurationError(
            "Only the owner of the tables may build their indexes; set DATABASE_OWNER_URL."
        )


async def _count_common_terms(
    driver: Any, workspace_id: str, report: MaintenanceReport, say: Say
) -> None:
    total = await driver.fetchval(
        "SELECT count(*) FROM notes WHERE workspace_id = $1", workspace_id
    )
    if total <= FEW_NOTES:
        await driver.execute("DELETE FROM note_common_terms WHERE workspace_id = $1", workspace_id)
        return
    say("counting common terms")
    share = min(1.0, 20_000 / total)  # a sample is enough to tell common terms from rare ones
    sample = await driver.fetchval(
        "SELECT format('SELECT search_tokens FROM notes TABLESAMPLE BERNOULLI (%s) REPEATABLE (1)"
        " WHERE workspace_id = %L', $1::float8, $2::text)",
        100 * share,
        workspace_id,
    )
    async with driver.transaction():
        await driver.execute("DELETE FROM note_common_terms WHERE workspace_id = $1", workspace_id)
        await driver.execute(
            "INSERT INTO note_common_terms (workspace_id, term, note_count)"
            " SELECT $1, word, (ndoc / $3::float8)::int FROM ts_stat($2)"
            " WHERE ndoc / $3::float8 >= $4",
            workspace_id,
            sample,
            share,
            COMMON_FROM,
        )
        await driver.execute(
            "INSERT INTO note_common_terms VALUES ($1, '', $2)", workspace_id, total
        )
    report.actions.append(f"common terms of {total:,} notes counted")
