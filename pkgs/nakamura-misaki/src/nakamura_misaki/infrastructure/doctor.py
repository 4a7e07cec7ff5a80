"""One line for each thing that must hold for this installation to work."""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.domain.errors import NakamuraMisakiError
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_FUNCTIONS, RUNTIME_TABLES
from nakamura_misaki.infrastructure.database.upgrade import head_revision, is_known_revision

VECTOR_INDEX_PREFIX = "ix_note_embeddings_hnsw_"
GOOD_PGVECTOR = (0, 8, 3)
"""Older ones can overflow in a parallel index build (until 0.8.2) or corrupt one in a vacuum."""


class Check(NamedTuple):
    """What was looked at, whether it is right, and what was seen (with the remedy if it is not)."""

    name: str
    ok: bool
    detail: str


async def run_checks(manager: DatabaseManager, embedder: Embedder | None) -> list[Check]:
    """Every check, in order; where the database can't be reached, only that one."""
    checks: list[Check] = []
    checklist: list[tuple[str, Callable[[], Awaitable[Check]]]] = [
        ("server", lambda: _server(manager)),
        ("extension", lambda: _extension(manager)),
        ("schema", lambda: _schema(manager)),
        ("role", lambda: _role(manager)),
        ("row-level security", lambda: _row_level_security(manager)),
        ("rights", lambda: _rights(manager)),
        ("pool", lambda: _pool(manager)),
        ("embeddings", lambda: _embeddings(manager, embedder)),
        ("indexes", lambda: _indexes(manager)),
        ("search", lambda: _search(manager)),
    ]
    for name, check in checklist:
        try:
            checks.append(await check())
        except NakamuraMisakiError as error:
            if name == "server":
                remedy = "check DATABASE_URL, and that the server runs"
                checks.append(Check(name, False, f"{error} To do: {remedy}"))
                break
            checks.append(Check(name, False, str(error)))
    return checks


async def _server(manager: DatabaseManager) -> Check:
    started = time.perf_counter()
    version, encoding = await manager.run(
        lambda c: c.fetchrow(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')"
        )
    )
    milliseconds = 1000 * (time.perf_counter() - started)
    detail = f"PostgreSQL {version // 10000}.{version % 10000}, {encoding}, {milliseconds:.1f} ms"
    if encoding != "UTF8":
        return Check("server", False, f"{detail}; the database's encoding must be UTF8")
    if version < 160000:
        return Check("server", False, f"{detail}; PostgreSQL 16 or newer is needed")
    return Check("server", True, detail)


async def _extension(manager: DatabaseManager) -> Check:
    version = await manager.run(
        lambda c: c.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    )
    if version is None:
        return Check("extension", False, "pgvector is missing; run: nakamura-misaki init-db")
    numbers = tuple(int(part) for part in version.split("."))
    if numbers < GOOD_PGVECTOR:
        good = ".".join(map(str, GOOD_PGVECTOR))
        return Check("extension", False, f"pgvector {version}; update it to at least {good}")
    return Check("extension", True, f"pgvector {version}")


async def _schema(manager: DatabaseManager) -> Check:
    revision = await manager.run(lambda c: c.fetchval("SELECT version_num FROM alembic_version"))
    head = head_revision()
    if revision != head:
        remedy = "run: nakamura-misaki init-db"
        if revision is not None and not is_known_revision(revision):
            # After a rollback: the code of one release works on the schema of the next.
            remedy = (
                "a newer release made it, which works with this one until you install that again"
            )
        return Check("schema", False, f"revision {revision}, not {head}; {remedy}")
    return Check("schema", True, f"revision {revision}")


async def _role(manager: DatabaseManager) -> Check:
    role, is_super, bypasses, owns, becomes_owner, creates = await manager.run(
        lambda c: c.fetchrow(
            "SELECT current_user, rolsuper, rolbypassrls, relowner = r.oid,"
            " pg_has_role(relowner, 'MEMBER'),"
            " has_schema_privilege(relnamespace, 'CREATE') FROM pg_roles AS r"
            " LEFT JOIN pg_class AS c ON c.oid = to_regclass('notes')"
            " WHERE rolname = current_user"
        )
    )
    if is_super or bypasses:
        return Check("role", False, f"{role} is above row-level security; connect as another role")
    if owns:
        return Check("role", True, f"{role}, which owns the tables too: one role for everything")
    if becomes_owner:
        return Check(
            "role",
            False,
            f"{role} may act as the tables' owner; revoke that, or connect as another role",
        )
    if creates:
        # What it made there, the search function, which is above the policies, might call.
        return Check(
            "role",
            False,
            f"{role} may create objects in the schema of the tables; as a superuser run:"
            f" REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role}",
        )
    return Check("role", True, f"{role}, which may read and write rows only")


async def _row_level_security(manager: DatabaseManager) -> Check:
    open_tables = await manager.run(
        lambda c: c.fetch(
            "SELECT t FROM unnest($1::text[]) AS t"
            " WHERE to_regclass(t) IS NOT NULL AND NOT EXISTS ("
            " SELECT FROM pg_class AS c JOIN pg_policy AS p ON p.polrelid = c.oid"
            " WHERE c.oid = to_regclass(t) AND relrowsecurity AND relforcerowsecurity"
            " AND polname = 'workspace')",
            list(RUNTIME_TABLES),
        )
    )
    if open_tables:
        names = ", ".join(row[0] for row in open_tables)
        first = open_tables[0][0]
        return Check(
            "row-level security",
            False,
            f"not in force on {names}; as the owner run for each: ALTER TABLE {first} ENABLE ROW"
            " LEVEL SECURITY, FORCE ROW LEVEL SECURITY, and see that its policy is there",
        )
    return Check("row-level security", True, f"in force on all {len(RUNTIME_TABLES)} tables")


async def _rights(manager: DatabaseManager) -> Check:
    missing = await manager.run(
        lambda c: c.fetch(
            "SELECT t || ' (' || p || ')' FROM unnest($1::text[]) AS t,"
            " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p"
            " WHERE to_regclass(t) IS NULL OR NOT has_table_privilege(to_regclass(t), p)"
            " UNION ALL SELECT split_part(f, '(', 1) || ' (EXECUTE)' FROM unnest($2::text[]) AS f"
            " WHERE to_regprocedure(f) IS NULL OR NOT has_function_privilege(to_regprocedure(f), 'EXECUTE')",
            list(RUNTIME_TABLES),
            list(RUNTIME_FUNCTIONS),
        )
    )
    if missing:
        names = ", ".join(row[0] for row in missing[:3]) + (", …" if len(missing) > 3 else "")
        return Check("rights", False, f"missing on {names}; run: nakamura-misaki init-db")
    return Check("rights", True, "select, insert, update, delete on every table")


async def _pool(manager: DatabaseManager) -> Check:
    allowed, reserved, used = await manager.run(
        lambda c: c.fetchrow(
            "SELECT current_setting('max_connections')::int,"
            " current_setting('superuser_reserved_connections')::int,"
            " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
        )
    )
    status = manager.pool_status()
    most = status.pool_size + status.max_overflow
    detail = (
        f"{status.pool_size}+{status.max_overflow} connections;"
        f" the server allows {allowed}, {used} are in use"
    )
    if most > allowed - reserved:
        return Check("pool", False, f"{detail}; lower POOL_SIZE and MAX_OVERFLOW")
    return Check("pool", True, detail)


async def _embeddings(manager: DatabaseManager, embedder: Embedder | None) -> Check:
    active = await manager.run(
        lambda c: c.fetchval(
            "SELECT model FROM embedding_models WHERE workspace_id = $1 AND is_active",
            manager.workspace_id,
        )
    )
    if embedder is None:
        return Check("embeddings", True, "no embedder configured: notes are found by words only")
    if active is not None and active != embedder.model:
        return Check(
            "embeddings",
            False,
            f"stored vectors are of {active}, configured is {embedder.model};"
            " run: nakamura-misaki reembed",
        )
    kept = await manager.run(
        lambda c: c.fetchval(
            "SELECT count(*) FROM embedding_models WHERE workspace_id = $1 AND NOT is_active",
            manager.workspace_id,
        )
    )
    beside = f"; {kept:,} beside it: nakamura-misaki reembed --status" if kept else ""
    pending = await manager.run(
        lambda c: c.fetchval(
            "SELECT (SELECT count(*) FROM notes)"
            " - (SELECT count(*) FROM note_embeddings WHERE model = $1)",
            embedder.model,
        )
    )
    if pending:
        detail = f"{embedder.model}; {pending:,} pending: run nakamura-misaki embed-pending{beside}"
        return Check("embeddings", True, detail)
    return Check("embeddings", True, f"{embedder.model}; none pending{beside}")


async def _indexes(manager: DatabaseManager) -> Check:
    rows = await manager.run(
        lambda c: c.fetch(
            "SELECT c.relname, i.indisvalid AND i.indisready FROM pg_index AS i"
            " JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid"
            " WHERE t.oid = ANY (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)",
            list(RUNTIME_TABLES),
        )
    )
    invalid = [name for name, valid in rows if not valid]
    if invalid:
        names = ", ".join(invalid)
        remedy = "run: nakamura-misaki maintain"
        if lasting := [name for name in invalid if not name.startswith(VECTOR_INDEX_PREFIX)]:
            remedy = f"as the owner run: REINDEX INDEX CONCURRENTLY {lasting[0]}"
        return Check("indexes", False, f"{names} invalid; {remedy}")
    unfiled = await manager.run(
        lambda c: c.fetchval("SELECT count(*) FROM note_embeddings WHERE NOT is_indexed")
    )
    detail = f"all {len(rows)} valid; {unfiled:,} vectors are searched without one"
    return Check("indexes", True, detail)


async def _search(manager: DatabaseManager) -> Check:
    found = await manager.run(
        lambda c: c.fetchval("SELECT nakamura_misaki_tokens('税の売上') @@ '売上'::tsquery")
    )
    await manager.run(lambda c: c.fetch("SELECT FROM nakamura_misaki_words('売上', NULL, 1)"))
    return Check("search", bool(found), "Japanese words are found" if found else "tokens are wrong")
