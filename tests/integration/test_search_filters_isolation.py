"""A filter is no way into another workspace: its functions run as the tables' owner."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from database_server import connect
from nakamura_misaki.infrastructure.database.manager import WORKSPACE_SETTING

WORDS = "SELECT note_id FROM nakamura_misaki_words_among('極秘', $1, 1000, $2::jsonb, $3)"
MATCHING = "SELECT nakamura_misaki_matching($1, $2::jsonb, 1000)"
FILTERS = (
    "{}",
    '{"categories": ["x"]}',
    '{"metadata": {"a": 1}}',
    '{"since": "1999-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}',
    """{"session_id": "' OR true --", "categories": ["x"]}""",
    """{"session_id": "s' OR n.workspace_id <> ''"}""",
    """{"categories": ["x'::text]) OR true --", "x"]}""",
    """{"metadata": {"a'::jsonb OR true --": 1}}""",
)
SAVE = """
INSERT INTO notes SELECT w, gen_random_uuid(), 's', 'U1', 'x', '極秘 ' || w || n, '{"a": 1}', NULL,
    now(), now() FROM unnest(ARRAY['ours', 'theirs']) AS w, generate_series(1, 20) AS n"""


@pytest.fixture
async def stranger(owner_url: str, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The runtime role's own connection, in one of two workspaces that hold the same."""
    owner = await connect(owner_url)
    await owner.execute(SAVE)
    await owner.close()
    connection = await connect(database_url)
    await connection.execute("SELECT set_config($1, 'ours', false)", WORKSPACE_SETTING)
    yield connection
    await connection.close()


@pytest.mark.parametrize("which", FILTERS)
@pytest.mark.parametrize("user_id", [None, "U1", "' OR true --"])
async def test_a_filter_reaches_no_other_workspace(
    stranger: asyncpg.Connection, which: str, user_id: str | None
) -> None:
    ours = {row[0] for row in await stranger.fetch("SELECT id FROM notes")}
    assert len(ours) == 20
    matching = set(await stranger.fetchval(MATCHING, user_id, which))
    assert matching <= ours
    for ids in (list(matching), None):
        assert {row[0] for row in await stranger.fetch(WORDS, user_id, which, ids)} <= ours


async def test_ids_of_another_workspace_find_nothing(
    stranger: asyncpg.Connection, owner_url: str
) -> None:
    owner = await connect(owner_url)
    theirs = await owner.fetchval("SELECT array_agg(id) FROM notes WHERE workspace_id = 'theirs'")
    await owner.close()
    assert len(theirs) == 20
    assert await stranger.fetch(WORDS, None, "{}", theirs) == []


async def test_without_a_workspace_there_is_nothing(stranger: asyncpg.Connection) -> None:
    await stranger.execute(f"RESET {WORKSPACE_SETTING}")
    assert await stranger.fetchval(MATCHING, None, "{}") == []
    assert await stranger.fetch(WORDS, None, None, None) == []


async def test_nothing_planted_is_run(stranger: asyncpg.Connection) -> None:
    expected = {row[0] for row in await stranger.fetch(WORDS, None, '{"metadata": {"a": 1}}', None)}
    assert len(expected) == 20
    notices: list[str] = []
    stranger.add_log_listener(lambda _, message: notices.append(str(message)))
    await stranger.execute("""
        CREATE FUNCTION pg_temp.nakamura_misaki_condition(which jsonb) RETURNS text
            LANGUAGE sql RETURN ' OR true';
        CREATE FUNCTION pg_temp.nakamura_misaki_subject_terms(question text)
            RETURNS TABLE (term text, is_prefix boolean, weight double precision) LANGUAGE plpgsql
            AS $$ BEGIN RAISE NOTICE 'hijacked'; RETURN; END $$;
        CREATE FUNCTION pg_temp.spy(jsonb, jsonb) RETURNS boolean
            LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hijacked'; RETURN true; END $$;
        CREATE OPERATOR pg_temp.@> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = pg_temp.spy);
        CREATE TEMP TABLE notes AS SELECT * FROM public.notes WITH NO DATA;
        SET search_path = pg_temp, pg_catalog, public""")
    found = {row[0] for row in await stranger.fetch(WORDS, None, '{"metadata": {"a": 1}}', None)}
    assert found == expected
    assert notices == []
