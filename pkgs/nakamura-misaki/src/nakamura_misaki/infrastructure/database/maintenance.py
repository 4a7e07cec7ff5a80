"""Work that keeps searches fast and never stands in the way of a write.

Vector indexes are built and filled here, and the counts of common terms taken.
Without any of it every search is still right: vectors that no index holds are
compared one by one, and terms of unknown frequency count as rare. Meant for a
timer, and run at the end of an import.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asyncpg.exceptions import InsufficientResourcesError, LockNotAvailableError

from nakamura_misaki.domain.errors import ConfigurationError, SchemaOutdated, StorageUnavailable
from nakamura_misaki.infrastructure.database.connect import become_owner, connected, driver_of
from nakamura_misaki.infrastructure.database.manager import WORKSPACE_SETTING

LOCK_WAIT = "60s"
MAINTENANCE_LOCK = 0x6E616B62
INDEX_FROM_ROWS = 2500
"""From how many vectors an HNSW beats the exact scan: about 1 ms per 1,000 rows against 2 ms."""
MOST_INDEXES = 64
"""Each index costs the planner and every row that maintenance files; the largest users get one."""
FEW_NOTES = 2000
"""Up to here the word search looks at every note that matches, and needs no counts."""
COMMON_FROM = 100
FILE_AT_ONCE = 500

Say = Callable[[str], None]


@dataclass(slots=True)
class MaintenanceReport:
    """What was done, as sentences for a person; empty when there was nothing to do."""

    actions: list[str] = field(default_factory=list)


class _Index(NamedTuple):
    name: str
    user_id: str | None


async def maintain(
    owner_url: str, workspace_id: str, *, say: Say = lambda _: None
) -> MaintenanceReport:
    """Do what one workspace needs; ``say`` hears of each step before it begins.

    ``owner_url`` connects as the tables' owner, or as a superuser. Only one
    process at a time does it; a second one returns at once.
    """
    report = MaintenanceReport()
    async with _waiting_in_bounds(), connected(owner_url, "nakamura-misaki maintain") as connection:
        await become_owner(connection)
        await connection.commit()
        driver = await driver_of(connection)
        await _require_owner(driver)
        if not await driver.fetchval("SELECT pg_try_advisory_lock($1)", MAINTENANCE_LOCK):
            report.actions.append("another maintenance is at work; nothing done here")
            return report
        await driver.execute("SELECT set_config($1, $2, false)", WORKSPACE_SETTING, workspace_id)
        await driver.execute("SET maintenance_work_mem = '1GB'")
        # An index is built once every older transaction has ended, and one may be forgotten.
        await driver.execute(f"SET lock_timeout = '{LOCK_WAIT}'")
        await _build_vector_indexes(driver, workspace_id, report, say)
        say("tidying tables")
        await driver.execute("VACUUM (ANALYZE) tasks, handoffs, sessions, notes, note_embeddings")
        await _count_common_terms(driver, workspace_id, report, say)
    return report


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


async def _build_vector_indexes(
    driver: Any, workspace_id: str, report: MaintenanceReport, say: Say
) -> None:
    active = await driver.fetchrow(
        "SELECT model, dimensions FROM embedding_models WHERE workspace_id = $1 AND is_active",
        workspace_id,
    )
    if active is None:
        return
    model, dimensions = active
    wanted = await _wanted_indexes(driver, workspace_id, model)
    await _drop_unwanted(driver, workspace_id, {index.name for index in wanted}, report)
    valid = {
        name
        for (name,) in await driver.fetch(
            "SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
            " WHERE i.indisvalid AND c.relname = ANY($1)",
            [index.name for index in wanted],
        )
    }
    if not wanted:
        return
    if not valid:
        # With no index to be kept up, filing rows first costs little, and the build that follows
        # does them all at once, in parallel. Until it is done every search stays exact.
        await _file_rows(driver, workspace_id, model, report, say, vacuum_after=20_000)
    for index in wanted:
        if index.name not in valid:
            whose = "everybody" if index.user_id is None else index.user_id
            say(f"building the vector index of {whose}")
            await _create(driver, index, workspace_id, model, dimensions)
            report.actions.append(f"vector index of {whose} built")
    await _file_rows(driver, workspace_id, model, report, say)


async def _wanted_indexes(driver: Any, workspace_id: str, model: str) -> list[_Index]:
    rows = await driver.fetch(
        "SELECT nakamura_misaki_index_name($1, $2, user_id), user_id, count(*)"
        " FROM note_embeddings WHERE workspace_id = $1 AND model = $2"
        " GROUP BY GROUPING SETS ((), (user_id)) HAVING count(*) >= $3"
        " ORDER BY count(*) DESC, user_id NULLS FIRST LIMIT $4",
        workspace_id,
        model,
        INDEX_FROM_ROWS,
        MOST_INDEXES,
    )
    return [_Index(name, user_id) for name, user_id, _ in rows]


async def _create(
    driver: Any, index: _Index, workspace_id: str, model: str, dimensions: int
) -> None:
    # An invalid one, of a build that was broken off.
    await driver.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
    whose = {"workspace": workspace_id, "model": model, "user": index.user_id}
    create, comment = await driver.fetchrow(
        "SELECT format('CREATE INDEX CONCURRENTLY %I ON note_embeddings"
        " USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops)"
        " WHERE workspace_id = %L AND model = %L AND is_indexed', $1::text, $2::int, $3::text,"
        " $4::text) || CASE WHEN $5::text IS NULL THEN '' ELSE format(' AND user_id = %L', $5) END,"
        " format('COMMENT ON INDEX %I IS %L', $1, $6::text)",
        index.name,
        dimensions,
        workspace_id,
        model,
        index.user_id,
        json.dumps(whose, ensure_ascii=False),
    )
    try:
        await driver.execute(create)
    except InsufficientResourcesError:
        # Workers that build together share their memory, of which a container may have little.
        await driver.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
        await driver.execute("SET max_parallel_maintenance_workers = 0")
        await driver.execute(create)
    await driver.execute(comment)


async def _drop_unwanted(
    driver: Any, workspace_id: str, wanted: set[str], report: MaintenanceReport
) -> None:
    indexes = await driver.fetch(
        "SELECT c.relname, d.description FROM pg_index AS i"
        " JOIN pg_class AS c ON c.oid = i.indexrelid"
        " LEFT JOIN pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0"
        " WHERE i.indrelid = 'note_embeddings'::regclass"
        r" AND c.relname LIKE 'ix\_note\_embeddings\_hnsw\_%'"
    )
    for name, comment in indexes:
        # Without a comment it is of a build that was killed in its last moment, of any workspace;
        # who wants it builds it again.
        if name not in wanted and (
            comment is None or json.loads(comment)["workspace"] == workspace_id
        ):
            await driver.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            report.actions.append(f"vector index {name} dropped")


async def _file_rows(
    driver: Any,
    workspace_id: str,
    model: str,
    report: MaintenanceReport,
    say: Say,
    *,
    vacuum_after: int | None = None,
) -> None:
    """Put the rows that no vector index holds into the indexes, a few hundred at a time.

    Each is written anew; with ``vacuum_after`` rows the space of the old ones is
    made free for the next, or the table would end at twice its size.
    """
    filed = 0
    since_vacuum = 0
    while True:
        status = await driver.execute(
            "UPDATE note_embeddings SET is_indexed = true WHERE ctid = ANY (ARRAY("
            " SELECT ctid FROM note_embeddings"
            " WHERE workspace_id = $1 AND model = $2 AND NOT is_indexed"
            " LIMIT $3 FOR UPDATE SKIP LOCKED))",
            workspace_id,
            model,
            FILE_AT_ONCE,
        )
        count = int(status.split()[-1])
        filed += count
        since_vacuum += count
        if vacuum_after is not None and since_vacuum >= vacuum_after:
            await driver.execute("VACUUM note_embeddings")
            since_vacuum = 0
        if count == 0:
            break
        say(f"filing vectors: {filed:,}")
    if filed:
        report.actions.append(f"{filed:,} vectors filed")


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
