"""``doctor``: content with a good database, and one line with its remedy for each thing broken."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from database_server import Server, connect
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.note import Note
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE
from nakamura_misaki.infrastructure.database.upgrade import downgrade, upgrade
from nakamura_misaki.infrastructure.doctor import Check, run_checks

NAMES = [
    "server",
    "extension",
    "schema",
    "role",
    "row-level security",
    "rights",
    "pool",
    "embeddings",
    "indexes",
    "search",
]


def wrong(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}


async def test_good_database_is_good_in_every_respect(
    manager: DatabaseManager, embedder: HashingEmbedder
) -> None:
    checks = await run_checks(manager, embedder)
    assert [check.name for check in checks] == NAMES
    assert wrong(checks) == {}
    details = {check.name: check.detail for check in checks}
    assert "PostgreSQL 16." in details["server"] or "PostgreSQL 17." in details["server"]
    assert details["role"] == "nakamura_misaki, which may read and write rows only"
    assert details["row-level security"] == "in force on all 11 tables"
    assert details["pool"].startswith("10+20 connections; the server allows ")
    assert details["embeddings"] == f"{embedder.model}; none pending"
    assert not [check for check in checks if "\n" in check.detail]


async def test_notes_without_a_vector_are_counted_and_no_fault(
    manager: DatabaseManager, embedder: HashingEmbedder
) -> None:
    await PostgreSQLNoteRepository(manager, None).save_many(
        [Note(id=uuid4(), user_id="U1", content=f"n {n}") for n in range(3)]
    )
    elsewhere = PostgreSQLNoteRepository(manager, None, workspace_id="another")
    await elsewhere.save(Note(id=uuid4(), user_id="U1", content="x"))
    checks = await run_checks(manager, embedder)
    assert wrong(checks) == {}
    (detail,) = (check.detail for check in checks if check.name == "embeddings")
    assert detail == f"{embedder.model}; 3 pending: run nakamura-misaki embed-pending"
    (without,) = (c for c in await run_checks(manager, None) if c.name == "embeddings")
    assert (without.ok, "words only" in without.detail) == (True, True)


# What is broken as a superuser; which check says so; the remedy that stands in its line.
BREAKS = {
    "row security off": (
        "ALTER TABLE handoffs DISABLE ROW LEVEL SECURITY",
        "row-level security",
        "not in force on handoffs; as the owner run for each: ALTER TABLE handoffs ENABLE",
    ),
    "row security not forced": (
        "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
        "row-level security",
        "not in force on notes; as the owner",
    ),
    "policy gone": (
        "DROP POLICY workspace ON tasks; CREATE POLICY mine ON tasks USING (true)",
        "row-level security",
        "not in force on tasks; as the owner",
    ),
    "a right revoked": (
        f"REVOKE DELETE ON notes FROM {RUNTIME_ROLE}",
        "rights",
        "missing on notes (DELETE); run: nakamura-misaki init-db",
    ),
    "rights revoked": (
        f"REVOKE INSERT, UPDATE ON sessions FROM {RUNTIME_ROLE}",
        "rights",
        "run: nakamura-misaki init-db",
    ),
    "the search function's right revoked": (
        f"REVOKE EXECUTE ON FUNCTION nakamura_misaki_words FROM {RUNTIME_ROLE}",
        "rights",
        "missing on nakamura_misaki_words (EXECUTE); run: nakamura-misaki init-db",
    ),
    "table gone": (
        "DROP TABLE note_common_terms CASCADE",
        "rights",
        "note_common_terms (SELECT)",
    ),
    "older schema": (
        "UPDATE alembic_version SET version_num = '0001'",
        "schema",
        "revision 0001, not",
    ),
    "newer schema": (
        "UPDATE alembic_version SET version_num = '9999'",
        "schema",
        "revision 9999, not",
    ),
    "invalid index": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_notes_user'::regclass",
        "indexes",
        "ix_notes_user invalid; as the owner run: REINDEX INDEX CONCURRENTLY ix_notes_user",
    ),
    "invalid vector index": (
        (
            "CREATE INDEX ix_note_embeddings_hnsw_0 ON note_embeddings (model);"
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'ix_note_embeddings_hnsw_0'::regclass"
        ),
        "indexes",
        "ix_note_embeddings_hnsw_0 invalid; run: nakamura-misaki maintain",
    ),
    "another model": (
        "INSERT INTO embedding_models VALUES ('default', 'other@9', 9, true)",
        "embeddings",
        "run: nakamura-misaki reembed",
    ),
    "tokens": (
        (
            "CREATE OR REPLACE FUNCTION nakamura_misaki_tokens(content text) RETURNS tsvector"
            " LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN ''::tsvector"
        ),
        "search",
        "tokens are wrong",
    ),
    "schema open to everybody": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "role",
        "as a superuser run: REVOKE CREATE ON SCHEMA public FROM PUBLIC, nakamura_misaki",
    ),
}


@pytest.mark.parametrize(("broken", "check", "remedy"), BREAKS.values(), ids=BREAKS)
async def test_broken_thing_is_said_with_its_remedy(
    server: Server,
    database: str,
    manager: DatabaseManager,
    embedder: HashingEmbedder,
    broken: str,
    check: str,
    remedy: str,
) -> None:
    server.run(f"SET allow_system_table_mods = on; {broken}", database=database)
    checks = await run_checks(manager, embedder)
    assert [each.name for each in checks] == NAMES
    found = wrong(checks)
    assert remedy in found.pop(check)
    # What depends on it may be wrong, too, but nothing else.
    assert set(found) <= {"search"}


async def test_superuser_connection_is_above_row_level_security(
    owner_url: str, embedder: HashingEmbedder
) -> None:
    manager = DatabaseManager(owner_url)
    found = wrong(await run_checks(manager, embedder))
    await manager.close()
    assert found.keys() == {"role"}
    assert "is above row-level security; connect as another role" in found["role"]


@pytest.fixture
def other_role(server: Server) -> Iterator[str]:
    name = f"other_{uuid4().hex[:12]}"
    server.run(f"CREATE ROLE {name} LOGIN IN ROLE {RUNTIME_ROLE}")
    yield name
    server.run(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER ROLE {role} BYPASSRLS", "above row-level security"),
        ("GRANT nakamura_misaki_owner TO {role}", "may act as the tables' owner"),
    ],
)
async def test_role_that_could_step_over_the_policies_is_wrong(
    server: Server, database: str, other_role: str, change: str, said: str
) -> None:
    manager = DatabaseManager(server.url(database, other_role))
    try:
        assert wrong(await run_checks(manager, None)) == {}
        server.run(change.format(role=other_role))
        found = wrong(await run_checks(manager, None))
    finally:
        await manager.close()
    assert found.keys() == {"role"}
    assert said in found["role"]
    assert "connect as another role" in found["role"]


async def test_pool_larger_than_the_server_allows(
    database_url: str, embedder: HashingEmbedder
) -> None:
    manager = DatabaseManager(database_url, pool_size=500, max_overflow=500)
    found = wrong(await run_checks(manager, embedder))
    await manager.close()
    assert found.keys() == {"pool"}
    assert found["pool"].endswith("lower POOL_SIZE and MAX_OVERFLOW")


async def test_unreachable_server_is_the_only_line() -> None:
    manager = DatabaseManager("postgresql+asyncpg://u:hunter2@127.0.0.1:1/none")
    checks = await run_checks(manager, None)
    await manager.close()
    assert [check.name for check in checks] == ["server"]
    assert checks[0].ok is False
    assert "can't be reached" in checks[0].detail
    assert "check DATABASE_URL" in checks[0].detail
    assert "hunter2" not in checks[0].detail


async def test_database_that_is_not_there_is_the_only_line(server: Server) -> None:
    manager = DatabaseManager(server.url("there_is_none", RUNTIME_ROLE))
    checks = await run_checks(manager, None)
    await manager.close()
    assert [check.name for check in checks] == ["server"]
    assert "does not exist" in checks[0].detail


@pytest.mark.parametrize("revision", [None, "0001", "0002"])
async def test_older_or_no_schema_is_said_with_init_db(
    server: Server, empty_database: str, embedder: HashingEmbedder, revision: str | None
) -> None:
    if revision is None:
        await upgrade(server.url(empty_database))
        await downgrade(server.url(empty_database), "base")
    else:
        await upgrade(server.url(empty_database))
        await downgrade(server.url(empty_database), revision)
    manager = DatabaseManager(server.url(empty_database, RUNTIME_ROLE))
    found = wrong(await run_checks(manager, embedder))
    await manager.close()
    assert "init-db" in found["schema"]
    assert not [detail for detail in found.values() if "Error" in detail]


async def test_a_newer_schema_is_not_to_be_mended_by_init_db(
    server: Server, database: str, manager: DatabaseManager, embedder: HashingEmbedder
) -> None:
    server.run("UPDATE alembic_version SET version_num = '9999'", database=database)
    detail = wrong(await run_checks(manager, embedder))["schema"]
    assert "a newer release made it" in detail
    assert "init-db" not in detail


async def test_database_in_another_encoding_is_wrong(server: Server) -> None:
    name = f"test_{uuid4().hex[:16]}"
    server.run(
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc"
        " TEMPLATE template0"
    )
    manager = DatabaseManager(server.url(name, RUNTIME_ROLE))
    found = wrong(await run_checks(manager, None))
    await manager.close()
    server.drop_database(name)
    assert "LATIN1" in found["server"]
    assert "must be UTF8" in found["server"]
    assert "init-db" in found["extension"]


@pytest.fixture
async def old_extension(server: Server, database: str) -> AsyncIterator[None]:
    connection = await connect(server.url(database))
    await connection.execute(
        "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'"
    )
    yield
    await connection.close()


@pytest.mark.usefixtures("old_extension")
async def test_old_extension_is_to_be_updated(
    manager: DatabaseManager, embedder: HashingEmbedder
) -> None:
    found = wrong(await run_checks(manager, embedder))
    assert found == {"extension": "pgvector 0.7.4; update it to at least 0.8.3"}
