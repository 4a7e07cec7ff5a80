"""A page costs the same wherever it stands: each is one range of an index, read in its order."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from database_server import Server
from nakamura_misaki.adapters.secondary import (
    postgresql_handoff_repository as handoffs,
)
from nakamura_misaki.adapters.secondary import (
    postgresql_note_repository as notes,
)
from nakamura_misaki.adapters.secondary import (
    postgresql_session_repository as sessions,
)
from nakamura_misaki.adapters.secondary import (
    postgresql_task_repository as tasks,
)
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE

ROWS = 20_000
SCANS = {"Limit", "Result", "Index Scan", "Incremental Sort", "Merge Append"}
START = datetime(2026, 1, 1, tzinfo=UTC)
MIDDLE = START + timedelta(minutes=ROWS // 2)
HERE = (MIDDLE, UUID(int=2**127))

AT = f"'{START.isoformat()}'::timestamptz + g * interval '1 minute'"
FILL = [
    (
        "INSERT INTO tasks SELECT 'default', gen_random_uuid(), 'x', '', 'U1', 'U1', 'pending',"
        f" CASE WHEN g % 2 = 0 THEN {AT} END, NULL, now(), now() FROM generate_series(1, {ROWS}) AS g"
    ),
    (
        "INSERT INTO handoffs SELECT 'default', gen_random_uuid(), NULL, 'U2', 'U1', 'x', '',"
        f" {AT}, NULL, NULL, now() FROM generate_series(1, {ROWS}) AS g"
    ),
    (
        "INSERT INTO sessions SELECT 'default', 's' || g, 'U1', '', NULL, 0, true, '{}',"
        f" {AT}, now() FROM generate_series(1, {ROWS}) AS g"
    ),
    (
        "INSERT INTO notes (workspace_id, id, session_id, user_id, content, created_at, updated_at)"
        f" SELECT 'default', gen_random_uuid(), 's1', 'U1', 'x', {AT}, now()"
        f" FROM generate_series(1, {ROWS}) AS g"
    ),
    "ANALYZE tasks, handoffs, sessions, notes",
]

PAGES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tasks": (tasks._of_any_status(tasks._BY_USER), ("U1", 51, None)),
    "open tasks": (tasks._BY_USER, ("U1", 51, ["pending", "in_progress"])),
    "tasks after one that is due": (
        tasks._of_any_status(tasks._BY_USER_AFTER_DUE),
        ("U1", 51, None, *HERE),
    ),
    "tasks after one without": (
        tasks._of_any_status(tasks._BY_USER_AFTER_UNDATED),
        ("U1", 51, None, HERE[1]),
    ),
    "tasks due today": (tasks._DUE_BETWEEN, ("U1", 51, ["pending"], START, MIDDLE)),
    "more tasks due today": (
        tasks._DUE_BETWEEN_AFTER,
        ("U1", 51, ["pending"], START, MIDDLE + timedelta(days=1), *HERE),
    ),
    "handoffs": (handoffs._TO_USER, ("U1", 51, None)),
    "more handoffs": (handoffs._TO_USER_AFTER, ("U1", 51, False, *HERE)),
    "notes": (notes._BY_USER, ("U1", 51, None)),
    "more notes": (notes._BY_USER_AFTER, ("U1", 51, None, *HERE)),
    "notes of a session": (notes._BY_SESSION, ("s1", 51, None)),
    "more notes of a session": (notes._BY_SESSION_AFTER, ("s1", 51, "U1", *HERE)),
    "sessions": (sessions._BY_USER, ("U1", 51)),
    "more sessions": (sessions._BY_USER_AFTER, ("U1", 51, MIDDLE, "s5")),
}


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[str]:
    name = server.create_database(template)
    server.run(*FILL, database=name)
    yield server.url(name, RUNTIME_ROLE)
    server.drop_database(name)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case list():
            return f"'{{{','.join(value)}}}'"
        case int():
            return str(value)
    return f"'{value}'"


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_page_is_read_off_an_index(filled: str, mode: str) -> None:
    """Planned for its values, and (as after some executions of a prepared statement) for any."""
    manager = DatabaseManager(filled)

    async def plan_of(connection: asyncpg.Connection, statement: str, values: str) -> Any:
        await connection.execute(f"SET plan_cache_mode = {mode}; PREPARE page AS {statement}")
        try:
            (explained,) = await connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE page ({values})"
            )
            return explained["Plan"]
        finally:
            await connection.execute("DEALLOCATE page; RESET plan_cache_mode")

    try:
        for name, (statement, arguments) in PAGES.items():
            values = ", ".join(map(literal, ("default", *arguments)))
            plan = await manager.run(lambda c, s=statement, v=values: plan_of(c, s, v))
            found = list(nodes(plan))
            assert {node["Node Type"] for node in found} <= SCANS, name
            assert found[0]["Actual Rows"] == 51, name
            read = [node["Actual Rows"] for node in found if node["Node Type"] == "Index Scan"]
            assert sum(read) <= 54, name
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 100, name
    finally:
        await manager.close()
