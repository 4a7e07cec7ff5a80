"""``init-db`` from wherever a database stands: one schema at the end, and every row of before.

What needs processes of its own stands in integration/test_upgrade_processes.py.
"""

import asyncio
import os
import subprocess
import warnings
from collections.abc import Iterator
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection
from sqlalchemy.dialects.postgresql.base import ischema_names

from database_server import Server, connect
from integration.schema_dump import libpq_url, program, schema_dump
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.errors import ConfigurationError, SchemaOutdated
from nakamura_misaki.domain.note import Leg, Note
from nakamura_misaki.infrastructure.database import schema
from nakamura_misaki.infrastructure.database.connect import connected
from nakamura_misaki.infrastructure.database.maintenance import maintain
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import OWNER_ROLE, RUNTIME_ROLE
from nakamura_misaki.infrastructure.database.upgrade import (
    alembic_config,
    downgrade,
    head_revision,
    offline_sql,
    pending_revisions,
    upgrade,
)
from nakamura_misaki.infrastructure.doctor import run_checks

REVISIONS = [
    script.revision
    for script in reversed(list(ScriptDirectory.from_config(alembic_config()).walk_revisions()))
]
FIRST_TABLES = ("tasks", "handoffs", "sessions", "notes")
FIRST_COLUMNS = {
    "handoffs": "workspace_id, id, task_id, from_user_id, to_user_id, progress_note, next_steps,"
    " handoff_at, reminded_at, completed_at, created_at",
    "notes": "workspace_id, id, session_id, user_id, category, content, metadata, source_key,"
    " created_at, updated_at",
}
"""Those that every revision has; others come and go with theirs."""

DATA = """
INSERT INTO tasks SELECT w, ('00000000-0000-7000-8000-00000000000' || n)::uuid, '題 ' || n, '説明',
    'U1', 'U2', 'completed', now(), now(), now(), now() FROM unnest(ARRAY['default', 'T2']) AS w,
    generate_series(1, 9) AS n;
INSERT INTO handoffs SELECT w, gen_random_uuid(), '00000000-0000-7000-8000-000000000001', 'U1', 'U2',
    '半分', '', now(), NULL, now(), now() FROM unnest(ARRAY['default', 'T2']) AS w;
INSERT INTO sessions VALUES ('default', 's1', 'U1', 't', '/w', 3, true, '{"a": [1]}', now(), now());
INSERT INTO notes SELECT w, gen_random_uuid(), NULL, 'U1', 'decisions', '売上の集計 ' || n, '{"n": 1}',
    'key ' || n, now(), now() FROM unnest(ARRAY['default', 'T2']) AS w, generate_series(1, 50) AS n;
"""


async def run(url: str, statement: str) -> None:
    connection = await connect(url)
    await connection.execute(statement)
    await connection.close()


async def data_of(url: str) -> list[str]:
    connection = await connect(url)
    rows = []
    for table in FIRST_TABLES:
        columns = FIRST_COLUMNS.get(table, "*")
        query = f"SELECT t::text FROM (SELECT {columns} FROM {table}) AS t ORDER BY 1"
        rows += [row[0] for row in await connection.fetch(query)]
    await connection.close()
    return rows


@pytest.fixture(scope="module")
def present_schema(server: Server, template: str) -> str:
    return schema_dump(server.url(template))


@pytest.mark.parametrize("start", [None, *REVISIONS])
async def test_every_way_ends_in_the_same_schema_with_every_row(
    server: Server, empty_database: str, present_schema: str, start: str | None
) -> None:
    url = server.url(empty_database)
    before: list[str] = []
    if start is not None:
        await upgrade(url, revision=start)
        await run(url, DATA)
        before = await data_of(url)
        assert len(before) == 121
        index = REVISIONS.index(start)
        assert await pending_revisions(url) == REVISIONS[index + 1 :]
    report = await upgrade(url)
    assert (report.from_revision, report.to_revision) == (start, head_revision())
    assert schema_dump(url) == present_schema
    assert (await upgrade(url)).actions == []
    assert schema_dump(url) == present_schema
    assert await pending_revisions(url) == []
    if start is None:
        return
    assert await data_of(url) == before
    manager = DatabaseManager(server.url(empty_database, RUNTIME_ROLE))
    notes = PostgreSQLNoteRepository(manager, HashingEmbedder(32))
    assert await notes.count_pending() == 50
    assert len(await notes.search("売上", "U1", 100)) == 50
    await manager.close()


@pytest.mark.parametrize("revision", REVISIONS)
async def test_revision_goes_up_and_down_with_every_row(
    server: Server, empty_database: str, revision: str
) -> None:
    url = server.url(empty_database)
    index = REVISIONS.index(revision)
    if index == 0:
        # Whatever else init-db prepares, so that what is compared is the revision's.
        await upgrade(url, revision=revision)
        await downgrade(url, "base")
    else:
        await upgrade(url, revision=REVISIONS[index - 1])
        await run(url, DATA)
    before = schema_dump(url, rights=False)
    rows = await data_of(url) if index else []
    await upgrade(url, revision=revision)
    assert schema_dump(url, rights=False) != before
    if index == 0:
        await run(url, DATA)
    else:
        assert await data_of(url) == rows
    await downgrade(url, REVISIONS[index - 1] if index else "base")
    assert schema_dump(url, rights=False) == before
    assert (await data_of(url) if index else []) == rows
    await upgrade(url)
    assert await pending_revisions(url) == []


async def test_declared_tables_are_those_that_the_revisions_build(owner_url: str) -> None:
    """As far as SQLAlchemy can express them.

    It knows nothing of functions, policies, rights, storage and a column's
    collation, does not compare CHECKs, and skips the terms of an index on expressions.
    """

    def compare(connection: Connection) -> list[object]:
        ischema_names["halfvec"] = schema.HalfVector
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "autogenerate skipping metadata-specified expression")
            return compare_metadata(context, schema.metadata)

    async with connected(owner_url, "test") as connection:
        assert await connection.run_sync(compare) == []
        checks = await connection.exec_driver_sql(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace ="
            " 'public'::regnamespace"
        )
        assert {name for (name,) in checks} == {
            str(constraint.name)
            for table in schema.metadata.tables.values()
            for constraint in table.constraints
            if isinstance(constraint, CheckConstraint)
        }
        indexes = await connection.exec_driver_sql(
            "SELECT indexname FROM pg_indexes AS i WHERE schemaname = 'public'"
            " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = i.indexname)"
        )
        assert {name for (name,) in indexes} == {
            index.name for table in schema.metadata.tables.values() for index in table.indexes
        }
        storage = await connection.exec_driver_sql(
            "SELECT attstorage::text FROM pg_attribute WHERE attname = 'embedding'"
            " AND attrelid = 'note_embeddings'::regclass"
        )
        assert storage.scalar() == "p"


async def test_newer_database_is_refused_in_one_sentence_and_left(
    server: Server, database: str, owner_url: str
) -> None:
    server.run("UPDATE alembic_version SET version_num = '9999'", database=database)
    before = schema_dump(owner_url)
    for attempt in (upgrade, pending_revisions):
        with pytest.raises(SchemaOutdated) as caught:
            await attempt(owner_url)
        assert str(caught.value) == (
            "The database is at schema revision 9999, which this release does not know:"
            " it was made by a newer one. Use that release."
        )
    assert schema_dump(owner_url) == before


@pytest.fixture
def plain_role(server: Server, empty_database: str) -> Iterator[str]:
    """A role that may do nothing but own this test's database."""
    name = f"plain_{uuid4().hex[:12]}"
    password = os.environ.get("TEST_RUNTIME_PASSWORD", "unused")
    server.run(
        f"CREATE ROLE {name} LOGIN PASSWORD '{password}'",
        f"ALTER DATABASE {empty_database} OWNER TO {name}",
    )
    yield name
    server.run(f"ALTER DATABASE {empty_database} OWNER TO CURRENT_USER")
    server.run(f"DROP OWNED BY {name} CASCADE", database=empty_database)
    server.run(f"DROP ROLE {name}")


async def test_missing_extension_that_only_a_superuser_may_create_is_one_sentence(
    server: Server, empty_database: str, plain_role: str
) -> None:
    url = server.url(empty_database, plain_role)
    before = schema_dump(server.url(empty_database))
    with pytest.raises(ConfigurationError) as caught:
        await upgrade(url)
    assert str(caught.value).endswith("run there, as superuser, CREATE EXTENSION vector;")
    assert "\n" not in str(caught.value)
    assert schema_dump(server.url(empty_database)) == before


async def test_single_role_owns_and_runs_with_isolation_and_search(
    server: Server, empty_database: str, plain_role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run("CREATE EXTENSION vector SCHEMA public", database=empty_database)
    url = server.url(empty_database, plain_role)
    report = await upgrade(url)
    assert not [action for action in report.actions if "role" in action and "created" in action]
    assert (await upgrade(url)).actions == []

    monkeypatch.setattr("nakamura_misaki.infrastructure.database.maintenance.INDEX_FROM_ROWS", 30)
    embedder = HashingEmbedder(32)
    manager = DatabaseManager(url)
    try:
        here = PostgreSQLNoteRepository(manager, embedder)
        there = PostgreSQLNoteRepository(manager, embedder, workspace_id="T2")
        ours = [Note(id=uuid4(), user_id="U1", content=f"売上の集計 {n}") for n in range(40)]
        theirs = await there.save(Note(id=uuid4(), user_id="U1", content="売上の極秘"))
        await here.save_many(ours, await embedder.embed([note.content for note in ours]))
        maintained = []
        for _ in range(2):
            found = await here.search("売上", "U1", 100)
            assert found.legs == (Leg.VECTOR, Leg.WORDS)
            assert {note.id for note in found} == {note.id for note in ours}
            assert [note.id for note in await there.search("売上", None, 100)] == [theirs.id]
            assert await here.get(theirs.id) is None
            maintained.append((await maintain(url, "default")).actions)
        assert "vector index of U1 built" in maintained[0]
        assert maintained[1] == []
        count = "SELECT count(*) FROM notes"
        assert await manager.run(lambda c: c.fetchval(count)) == 40
        assert await manager.run(lambda c: c.fetchval(count), workspace_id="T2") == 1
        assert await manager.run(lambda c: c.fetchval(count), workspace_id="T3") == 0
        wrong = [check for check in await run_checks(manager, embedder) if not check.ok]
        assert wrong == []
    finally:
        await manager.close()
    with pytest.raises(ConfigurationError, match=f"belong to the role {plain_role}.*REASSIGN"):
        await upgrade(server.url(empty_database))
    await downgrade(url, "base")
    assert await pending_revisions(url) == REVISIONS


async def test_owner_that_may_create_nothing_in_the_schema_hears_one_sentence(
    server: Server, empty_database: str, plain_role: str
) -> None:
    server.run(
        "CREATE EXTENSION vector SCHEMA public",
        "ALTER SCHEMA public OWNER TO CURRENT_USER",
        database=empty_database,
    )
    with pytest.raises(
        ConfigurationError, match="may not change the schema; set DATABASE_OWNER_URL"
    ):
        await upgrade(server.url(empty_database, plain_role))


async def test_schema_that_was_closed_to_the_public_is_opened_to_our_roles(
    server: Server, empty_database: str
) -> None:
    server.run("REVOKE ALL ON SCHEMA public FROM PUBLIC", database=empty_database)
    await upgrade(server.url(empty_database))
    manager = DatabaseManager(server.url(empty_database, RUNTIME_ROLE))
    checks = await run_checks(manager, None)
    await manager.close()
    assert [check for check in checks if not check.ok] == []


async def test_unknown_database_is_one_sentence(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        await upgrade(server.url("there_is_none"))


def test_printed_sql_run_by_psql_as_it_says_builds_the_same_schema(
    server: Server, empty_database: str, present_schema: str
) -> None:
    script = offline_sql()
    once = [line.removeprefix("-- ") for line in script.splitlines() if line.startswith("-- ")]
    # Roles are the cluster's, and the template's are there already.
    once = [line for line in once if line.endswith(";") and not line.startswith("CREATE ROLE")]
    assert once[-1] == f"SET ROLE {OWNER_ROLE};"
    done = subprocess.run(
        [
            program("psql"),
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            f"--dbname={libpq_url(server.url(empty_database))}",
        ],
        input="\n".join([*once, script]),
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert schema_dump(server.url(empty_database)) == present_schema
    assert asyncio.run(upgrade(server.url(empty_database))).actions == []


async def test_old_release_goes_on_reading_and_writing_while_newer_revisions_come(
    server: Server, empty_database: str
) -> None:
    """What the first revision's release writes fits every later schema."""
    url = server.url(empty_database)
    await upgrade(url, revision=REVISIONS[0])
    statement = DATA.replace("'T2'", "'T3'")
    for revision in REVISIONS[1:]:
        await upgrade(url, revision=revision)
        columns = f"INSERT INTO notes ({FIRST_COLUMNS['notes']})"
        await run(
            url, statement.replace("INSERT INTO notes", columns).replace("'s1'", f"'{revision}'")
        )
        await run(url, "DELETE FROM tasks; DELETE FROM notes")
