"""What a stranger with the runtime role's connection can do by SQL of their own.

The connection names one workspace. Whoever may send SQL could name another one,
so that setting is the key and never comes from a user; all else must not open
the door. The tests of what the repositories do stand in unit/test_isolation.py.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest

from database_server import Server, connect, run_apart
from integration.two_workspaces import OURS, TABLES, THEIRS, Scene, fill, name_workspace, state
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.infrastructure.database.manager import WORKSPACE_SETTING, DatabaseManager
from nakamura_misaki.infrastructure.database.roles import OWNER_ROLE, RUNTIME_ROLE, RUNTIME_TABLES


@pytest.fixture(scope="module")
def scene(server: Server, template: str) -> Iterator[Scene]:
    name = server.create_database(template)
    url = server.url(name, RUNTIME_ROLE)
    tasks = {OURS: uuid4(), THEIRS: uuid4()}
    notes = {}

    async def build() -> None:
        manager = DatabaseManager(url)
        for workspace, person in ((OURS, "U_OURS"), (THEIRS, "U_VICTIM")):
            notes[workspace] = await fill(manager, workspace, person, tasks[workspace])
        await manager.close()

    run_apart(build())
    server.run("ANALYZE", database=name)
    yield Scene(server.url(name), url, tasks[THEIRS], notes[THEIRS])
    server.drop_database(name)


@pytest.fixture
async def stranger(scene: Scene) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the runtime role; afterwards the other workspace is as it was."""
    before = await state(scene.owner_url)
    connection = await connect(scene.url)
    await name_workspace(connection, OURS)
    yield connection
    await connection.close()
    assert await state(scene.owner_url) == before


DENIED = [
    f"SET ROLE {OWNER_ROLE}",
    f"SET SESSION AUTHORIZATION {OWNER_ROLE}",
    f"ALTER ROLE {RUNTIME_ROLE} BYPASSRLS",
    f"ALTER ROLE {RUNTIME_ROLE} SUPERUSER",
    f"GRANT {OWNER_ROLE} TO {RUNTIME_ROLE}",
    "SET session_replication_role = replica",
    "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE notes OWNER TO CURRENT_USER",
    "ALTER TABLE notes ADD COLUMN x int",
    "ALTER TABLE notes DROP CONSTRAINT ck_notes_content_not_blank",
    "DROP POLICY workspace ON notes",
    "ALTER POLICY workspace ON notes USING (true)",
    "CREATE POLICY mine ON notes USING (true)",
    *(f"TRUNCATE {table} CASCADE" for table in RUNTIME_TABLES),
    *(f"DROP TABLE {table} CASCADE" for table in RUNTIME_TABLES),
    "DROP INDEX ix_notes_user",
    "CREATE INDEX ON notes (content)",
    (
        "CREATE TRIGGER t BEFORE INSERT ON notes"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "CREATE RULE r AS ON SELECT TO notes DO INSTEAD SELECT 1",
    "CREATE STATISTICS s ON user_id, category FROM notes",
    "CREATE TEMP TABLE heir () INHERITS (notes)",
    "COMMENT ON TABLE notes IS 'mine'",
    "CREATE TABLE public.mine (i int)",
    "CREATE VIEW public.mine AS SELECT 1",
    "CREATE SCHEMA mine",
    "DROP EXTENSION vector CASCADE",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql RETURN 1",
    (
        "CREATE OR REPLACE FUNCTION nakamura_misaki_normalise(content text) RETURNS text"
        " LANGUAGE sql RETURN content"
    ),
    "CREATE OPERATOR public.@> (LEFTARG = text[], RIGHTARG = text[], FUNCTION = array_eq)",
    "ALTER FUNCTION nakamura_misaki_words(text, text, integer) RESET search_path",
    "ALTER FUNCTION nakamura_misaki_words(text, text, integer) SECURITY INVOKER",
    "DROP FUNCTION nakamura_misaki_words",
    "CREATE FUNCTION pg_temp.spy(text) RETURNS boolean LANGUAGE sql LEAKPROOF RETURN true",
    "UPDATE alembic_version SET version_num = '0000'",
    "DELETE FROM alembic_version",
    "UPDATE pg_class SET relrowsecurity = false WHERE relname = 'notes'",
    "SELECT stavalues1::text FROM pg_statistic",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_read_file('postgresql.conf')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/never-written'",
    "SET row_security = off; SELECT count(*) FROM notes",
    "SET row_security = off; SELECT count(*) FROM nakamura_misaki_words('極秘', NULL, 100)",
    "SET row_security = off; SELECT count(*) FROM nakamura_misaki_words('極秘', 'U_VICTIM', 100)",
    *(f"UPDATE {table} SET workspace_id = '{THEIRS}'" for table in TABLES if table != "tasks"),
]


@pytest.mark.parametrize("statement", DENIED)
async def test_runtime_role_may_not(stranger: asyncpg.Connection, statement: str) -> None:
    transaction = stranger.transaction()
    await transaction.start()
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as caught:
            await stranger.execute(statement)
    finally:
        await transaction.rollback()
    assert "VICTIM" not in f"{caught.value} {caught.value.detail}"


IGNORED = [
    "GRANT SELECT ON notes TO PUBLIC",
    f"REVOKE ALL ON notes FROM {OWNER_ROLE}",
    "ANALYZE notes",
    f"DELETE FROM notes WHERE workspace_id = '{THEIRS}'",
    f"UPDATE notes SET content = 'x' WHERE workspace_id = '{THEIRS}'",
    (
        f"MERGE INTO notes AS n USING (SELECT '{THEIRS}' AS w) AS s ON n.workspace_id = s.w"
        " WHEN MATCHED THEN DELETE"
    ),
    f"DELETE FROM tasks WHERE workspace_id <> '{OURS}'",
    f"SELECT 1 FROM notes WHERE workspace_id <> '{OURS}' FOR UPDATE",
]


@pytest.mark.parametrize("statement", IGNORED)
async def test_statement_without_any_effect_there(
    stranger: asyncpg.Connection, statement: str
) -> None:
    """The fixture compares what lies there, and what guards it, before and after."""
    assert (await stranger.execute(statement)).rpartition(" ")[2] in (
        "0",
        "GRANT",
        "REVOKE",
        "ANALYZE",
    )


BLIND = [
    *(f"SELECT t::text FROM {table} AS t" for table in RUNTIME_TABLES),
    f"SELECT content FROM notes WHERE workspace_id = '{THEIRS}' OR true",
    "SELECT content FROM notes TABLESAMPLE SYSTEM (100)",
    (
        "SELECT n.content FROM generate_series(0, 50) AS i JOIN notes AS n"
        " ON n.ctid = format('(0,%s)', i)::tid"
    ),
    "SELECT n.content FROM note_embeddings AS e JOIN notes AS n ON n.id = e.note_id",
    "SELECT user_id FROM note_embeddings ORDER BY embedding <=> embedding",
    "SELECT word FROM ts_stat('SELECT search_tokens FROM notes')",
    "SELECT most_common_vals::text || histogram_bounds::text FROM pg_stats",
    "SELECT most_common_vals::text FROM pg_stats_ext",
    (
        "SELECT n.content FROM nakamura_misaki_words('極秘 victim', NULL, 1000) AS w"
        " JOIN notes AS n ON n.id = w.note_id"
    ),
    "SELECT note_id FROM nakamura_misaki_words('極秘', 'U_VICTIM', 1000)",
    "SELECT note_id FROM nakamura_misaki_words(e'\\'); victim', e'U\\' OR true --', 1000)",
    (
        "SELECT note_id FROM nakamura_misaki_nearest('U_VICTIM', 'hashing-v1@64',"
        " (SELECT embedding FROM note_embeddings LIMIT 1), 1000)"
    ),
    (
        "SELECT note_id FROM nakamura_misaki_nearest(e'\\' OR true --', 'hashing-v1@64',"
        " (SELECT embedding FROM note_embeddings LIMIT 1), 1000)"
    ),
    "WITH gone AS (DELETE FROM sessions RETURNING *) SELECT gone::text FROM gone",
    "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
    "SELECT * FROM pg_prepared_statements",
]


@pytest.mark.parametrize("query", BLIND)
async def test_query_shows_nothing_of_theirs(
    scene: Scene, stranger: asyncpg.Connection, query: str
) -> None:
    transaction = stranger.transaction()
    await transaction.start()
    found = repr([tuple(row) for row in await stranger.fetch(query)])
    await transaction.rollback()
    assert "VICTIM" not in found
    assert "victim" not in found.lower()
    assert str(scene.note_id) not in found


@pytest.mark.parametrize(
    "expression",
    [
        "content::int = 1",
        "1 / (CASE WHEN user_id = 'U_VICTIM' THEN 0 ELSE 1 END) = 1",
        "('{' || content)::jsonb IS NULL",
        "user_id::uuid IS NULL",
    ],
)
async def test_error_in_a_condition_tells_nothing_of_theirs(
    stranger: asyncpg.Connection, expression: str
) -> None:
    """A condition that can fail must be looked at only after the workspace was compared."""
    for plan in ("", "SET enable_indexscan = off; SET enable_bitmapscan = off"):
        await stranger.execute(plan or "RESET ALL")
        await name_workspace(stranger, OURS)
        try:
            found = repr(await stranger.fetch(f"SELECT content FROM notes WHERE {expression}"))
        except asyncpg.PostgresError as error:
            found = f"{error} {error.detail}"
        assert "VICTIM" not in found
        assert "division by zero" not in found


async def test_function_in_a_condition_sees_nothing_of_theirs(stranger: asyncpg.Connection) -> None:
    seen: list[str] = []
    stranger.add_log_listener(lambda _, message: seen.append(str(message)))
    await stranger.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
    await stranger.execute(
        "CREATE FUNCTION pg_temp.spy(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
        " $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$"
    )
    await stranger.execute("SELECT count(*) FROM notes WHERE pg_temp.spy(content)")
    assert len(seen) == 40
    assert not [message for message in seen if "VICTIM" in message]


HIJACKS = {
    "function": "CREATE FUNCTION pg_temp.nakamura_misaki_query_terms(query text)"
    " RETURNS TABLE (term text, is_prefix boolean, weight double precision) LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE NOTICE 'hijacked by %', current_user; RETURN; END $$",
    "operator on tsvector": "CREATE FUNCTION pg_temp.spy(tsvector, tsquery) RETURNS boolean"
    " LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked %', $1; RETURN true; END $$;"
    " CREATE OPERATOR pg_temp.@@ (LEFTARG = tsvector, RIGHTARG = tsquery, FUNCTION = pg_temp.spy)",
    "operator on arrays": "CREATE FUNCTION pg_temp.spy(text[], text[]) RETURNS boolean"
    " LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked %', $1; RETURN true; END $$;"
    " CREATE OPERATOR pg_temp.@> (LEFTARG = text[], RIGHTARG = text[], FUNCTION = pg_temp.spy)",
    "tables": "CREATE TEMP TABLE notes AS SELECT * FROM public.notes WITH NO DATA;"
    " CREATE TEMP TABLE note_common_terms (workspace_id text, term text, note_count int)",
    "type": "CREATE TYPE pg_temp.tsquery AS (x int)",
    "built-in": "CREATE FUNCTION pg_temp.quote_literal(text) RETURNS text LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE NOTICE 'hijacked by %', current_user; RETURN $1; END $$;"
    " CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql"
    f" RETURN '{THEIRS}'",
}


@pytest.mark.parametrize("path", ["pg_temp, public", "pg_temp, pg_catalog, public", "public"])
@pytest.mark.parametrize("hijack", HIJACKS.values(), ids=HIJACKS)
async def test_search_function_runs_nothing_that_a_stranger_made(
    stranger: asyncpg.Connection, hijack: str, path: str
) -> None:
    """It runs as the tables' owner, so whatever it called would be above the policies."""
    words = "SELECT note_id FROM public.nakamura_misaki_words('極秘 victim', NULL, 1000)"
    expected = {row[0] for row in await stranger.fetch(words)}
    assert len(expected) == 40
    notices: list[str] = []
    stranger.add_log_listener(lambda _, message: notices.append(str(message)))
    await stranger.execute(hijack)
    await stranger.execute(f"SET search_path = {path}")
    assert {row[0] for row in await stranger.fetch(words)} == expected
    assert notices == []


@pytest.mark.parametrize("table", TABLES)
async def test_copy_out_gives_ours_and_copy_in_is_refused(
    stranger: asyncpg.Connection, table: str
) -> None:
    out = io.BytesIO()
    await stranger.copy_from_query(f"TABLE {table}", output=out)
    whole = io.BytesIO()
    await stranger.copy_from_table(table, output=whole)
    for copied in (out.getvalue(), whole.getvalue()):
        assert OURS.encode() in copied
        assert b"VICTIM" not in copied
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="row-level security"):
        await stranger.copy_to_table(table, source=io.BytesIO(whole.getvalue()))


async def test_cursor_and_prepared_plan_follow_the_workspace(
    scene: Scene, stranger: asyncpg.Connection
) -> None:
    """One connection serves workspaces in turn: a plan made for one must not answer another."""
    await stranger.execute("SET plan_cache_mode = force_generic_plan")
    count = await stranger.prepare("SELECT count(*), min(workspace_id) FROM notes")
    words = await stranger.prepare("SELECT note_id FROM nakamura_misaki_words('極秘', NULL, 1000)")
    assert tuple(await count.fetchrow()) == (40, OURS)
    ours = {row[0] for row in await words.fetch()}
    async with stranger.transaction():
        await stranger.execute("DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT content FROM notes")
    assert "VICTIM" not in repr(await stranger.fetch("FETCH ALL FROM c"))
    await name_workspace(stranger, "T_EMPTY")
    assert tuple(await count.fetchrow()) == (0, None)
    assert await words.fetch() == []
    await name_workspace(stranger, THEIRS)
    assert tuple(await count.fetchrow()) == (40, THEIRS)
    assert ours.isdisjoint(row[0] for row in await words.fetch())


async def test_connection_without_a_workspace_sees_and_writes_nothing(scene: Scene) -> None:
    connection = await connect(scene.url)
    try:
        for _ in range(2):
            for table in RUNTIME_TABLES:
                assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
            query = "SELECT count(*) FROM nakamura_misaki_words('極秘', $1, 1000)"
            assert await connection.fetchval(query, None) == 0
            assert await connection.fetchval(query, "U_VICTIM") == 0
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(
                    "INSERT INTO sessions (workspace_id, id, user_id, last_active_at, created_at)"
                    f" VALUES ('{THEIRS}', 'x', 'x', now(), now())"
                )
            # Once it was set, a setting of this kind is empty and no longer missing.
            await name_workspace(connection, OURS)
            await connection.execute(f"RESET {WORKSPACE_SETTING}")
    finally:
        await connection.close()


async def test_keys_of_theirs_can_not_be_probed(scene: Scene, stranger: asyncpg.Connection) -> None:
    """An id that is there and one that is nowhere: the same answer, to the letter."""
    insert = (
        "INSERT INTO tasks (workspace_id, id, title, assignee_user_id, creator_user_id, status,"
        " created_at, updated_at) VALUES ('{workspace}', '{id}', 'x', 'x', 'x', 'pending', now(),"
        " now())"
    )
    probes = [
        (
            "INSERT INTO handoffs (workspace_id, id, task_id, from_user_id, to_user_id, progress_note,"
            f" handoff_at, created_at) VALUES ('{OURS}', '{uuid4()}', '{{id}}', 'a', 'b', 'x', now(),"
            " now())"
        ),
        "UPDATE handoffs SET task_id = '{id}'",
        insert.replace("{workspace}", THEIRS),
        insert.replace("{workspace}", THEIRS) + " ON CONFLICT DO NOTHING",
        insert.replace("{workspace}", THEIRS)
        + " ON CONFLICT (workspace_id, id) DO UPDATE SET title = 'mine' RETURNING title",
        insert.replace("{workspace}", OURS) + " ON CONFLICT DO NOTHING",
        f"UPDATE tasks SET workspace_id = '{THEIRS}', id = '{{id}}'",
        "SELECT 1 FROM tasks WHERE id = '{id}' FOR UPDATE",
    ]
    for probe in probes:
        answers = []
        for id_ in (scene.task_id, uuid4()):
            transaction = stranger.transaction()
            await transaction.start()
            try:
                answer = await stranger.execute(probe.replace("{id}", str(id_)))
            except asyncpg.PostgresError as error:
                answer = f"{error} {error.detail}"
            await transaction.rollback()
            answers.append(answer.replace(str(id_), "ID"))
        assert answers[0] == answers[1], probe
        assert "mine" not in answers[0]


async def test_source_key_of_theirs_is_free_here(stranger: asyncpg.Connection) -> None:
    insert = (
        "INSERT INTO notes (workspace_id, id, user_id, content, source_key, created_at,"
        f" updated_at) VALUES ('{OURS}', gen_random_uuid(), 'x', 'x', $1, now(), now())"
    )
    transaction = stranger.transaction()
    await transaction.start()
    await stranger.execute(insert, "key of nobody")
    with pytest.raises(asyncpg.UniqueViolationError):
        await stranger.execute(insert, "key 1")
    await transaction.rollback()


@pytest.mark.parametrize(
    "condition",
    [
        "content LIKE '%VICTIM%'",
        "content ~ 'VICTIM'",
        pytest.param(
            "search_tokens @@ 'victim'",
            marks=pytest.mark.xfail(
                strict=True,
                reason="the estimate for @@ uses the column's statistics, leakproof or not",
            ),
        ),
    ],
)
async def test_explain_estimates_a_content_of_theirs_like_one_of_nobody(
    stranger: asyncpg.Connection, condition: str
) -> None:
    """Statistics are of all workspaces; the planner may only use them for leakproof operators."""
    plans = []
    for name in ("VICTIM", "NOBODY"):
        asked = condition.replace("VICTIM", name).replace("victim", name.lower())
        plan = repr(await stranger.fetch(f"EXPLAIN SELECT 1 FROM notes WHERE {asked}"))
        plans.append(plan.replace(name, "NAME").replace(name.lower(), "NAME"))
    assert plans[0] == plans[1]


async def test_what_others_look_for_does_not_stand_in_the_list_of_activity(
    scene: Scene, stranger: asyncpg.Connection
) -> None:
    """The list shows statements of the same role: values must travel as parameters."""
    manager = DatabaseManager(scene.url, workspace_id=THEIRS)
    notes = PostgreSQLNoteRepository(manager, HashingEmbedder(64))
    try:
        task = asyncio.create_task(notes.search("VICTIM の極秘", "U_VICTIM"))
        while not task.done():
            await asyncio.sleep(0)
            await expect_no_values(stranger)
        assert len(task.result()) == 10
        await expect_no_values(stranger)
    finally:
        await manager.close()


async def expect_no_values(stranger: asyncpg.Connection) -> None:
    rows = await stranger.fetch(
        "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
    )
    assert rows
    assert "VICTIM" not in repr(rows)
