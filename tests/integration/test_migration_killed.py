"""``kill -9`` of an import at any moment, and one more run: nothing is lost, nothing is twice."""

import asyncio
import json
import random
import time
from pathlib import Path

from database_server import Server, connect
from integration.command import Command, ForkingCommand
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE, RUNTIME_TABLES

NOTES = 1200
HELD_AT = ("tasks", "notes", "handoffs", "note_embeddings")  # one a round
KILLS = 5
WAITS = """SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass
AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


def write_source(root: Path) -> None:
    """Every kind of entry, so that a kill may fall between any two of them."""
    (root / "notes").mkdir(parents=True)
    for n in range(NOTES - 300):
        note = {
            "user_id": f"U{n % 7}",
            "content": f"決定 {n}: 議事録の続き",
            "session_id": f"s{n % 50}",
        }
        (root / "notes" / f"{n:05}.json").write_text(json.dumps(note, ensure_ascii=False))
    for category in ("decisions", "todos", "errors"):
        entries = [
            {
                "user_id": "U1",
                "category": category,
                "content": f"同じ文 {n // 2}",
                "timestamp": "2025-10-07T01:15:00.482193",
                "metadata": {},
            }
            for n in range(100)
        ]
        (root / "notes" / f"{category}.json").write_text(json.dumps(entries, ensure_ascii=False))
    sessions = {
        f"s{n}": {"user_id": "U1", "session_id": f"s{n}", "last_active": "2025-10-07T09:03:12"}
        for n in range(50)
    }
    (root / "user_U1_sessions.json").write_text(json.dumps(sessions))
    tasks = {
        f"00000000-0000-7000-8000-{n:012}": {
            "title": f"作業 {n}",
            "assignee_user_id": "U1",
            "creator_user_id": "U2",
            "status": "pending",
            "created_at": "2025-10-07T00:00:00+00:00",
            "updated_at": "2025-10-07T00:00:00+00:00",
        }
        for n in range(200)
    }
    (root / "tasks.json").write_text(json.dumps(tasks))
    handoffs = {
        f"10000000-0000-7000-8000-{n:012}": {
            "task_id": task,
            "from_user_id": "U1",
            "to_user_id": "U2",
            "progress_note": "半分",
            "handoff_at": "2025-10-08T00:00:00+00:00",
            "created_at": "2025-10-07T00:00:00+00:00",
        }
        for n, task in enumerate(tasks)
    }
    (root / "handoffs.json").write_text(json.dumps(handoffs))


async def all_rows(url: str) -> dict[str, list[str]]:
    """A digest of every row of every table, ids and vectors included."""
    connection = await connect(url)
    try:
        return {
            table: [
                row[0]
                for row in await connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")
            ]
            for table in RUNTIME_TABLES
        }
    finally:
        await connection.close()


async def count_rows(url: str) -> int:
    connection = await connect(url)
    counts = [f"(SELECT count(*) FROM {table})" for table in RUNTIME_TABLES]
    count: int = await connection.fetchval(f"SELECT {' + '.join(counts)}")
    await connection.close()
    return count


async def kill_after(seconds: float, command: ForkingCommand) -> None:
    while True:
        process = command.start("migrate", "source")
        await asyncio.sleep(seconds)
        command.kill(process)
        if command.wait() != 0:
            return
        seconds /= 2  # it was done before


async def kill_before_writing(table: str, command: ForkingCommand, url: str) -> None:
    """Kill it where its first row for ``table`` waits for us: a moment that no clock can miss."""
    connection = await connect(url)
    try:
        async with asyncio.timeout(60), connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
            process = command.start("migrate", "source")
            while not await connection.fetchval(WAITS, table):  # noqa: ASYNC110  (its state is the server's)
                await asyncio.sleep(0.005)
            command.kill(process)
            assert command.wait() != 0
    finally:
        await connection.close()


async def test_import_killed_at_twenty_moments_is_completed_by_one_more_run(
    server: Server, template: str, database: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    write_source(source)
    other = server.create_database(template)
    calm, killed = (
        Command(
            tmp_path, DATABASE_URL=server.url(n, RUNTIME_ROLE), DATABASE_OWNER_URL=server.url(n)
        )
        for n in (other, database)
    )
    try:
        with ForkingCommand(calm) as command:
            started = time.monotonic()
            command.start("migrate", "source")
            assert command.wait() == 0
            lasted = time.monotonic() - started
        expected = await all_rows(server.url(other))
    finally:
        server.drop_database(other)
    assert [len(expected[table]) for table in ("notes", "tasks", "handoffs", "sessions")] == [
        NOTES,
        200,
        200,
        50,
    ]
    assert len(expected["note_embeddings"]) == NOTES

    seed = random.randrange(2**32)
    print(f"seed {seed}, undisturbed {lasted:.2f} s")
    chance = random.Random(seed)
    left_behind: list[int] = []
    with ForkingCommand(killed) as command:
        for table in HELD_AT:
            server.run(f"TRUNCATE {', '.join(RUNTIME_TABLES)}", database=database)
            await kill_before_writing(table, command, server.url(database))
            left_behind.append(await count_rows(server.url(database)))
            for _ in range(KILLS - 1):
                # What is done already is passed over quickly, so these moments lie closer together.
                await kill_after(chance.uniform(0, lasted / 2), command)
                left_behind.append(await count_rows(server.url(database)))
            command.start("migrate", "source")
            assert command.wait() == 0
            assert await all_rows(server.url(database)) == expected
    print(f"rows after each kill: {left_behind}")
    whole = sum(map(len, expected.values()))
    assert any(0 < rows < whole for rows in left_behind)
    again = killed.json("migrate", "source", "--verify")
    assert (again["new"], again["updated"], again["embedded"], again["verified"]) == (0, 0, 0, True)
    assert await all_rows(server.url(database)) == expected
