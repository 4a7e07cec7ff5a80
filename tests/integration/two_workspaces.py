"""A database with the rows of two workspaces, and what of it may never change."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

from database_server import connect
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.task import Task
from nakamura_misaki.infrastructure.database.manager import WORKSPACE_SETTING, DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE, RUNTIME_TABLES

OURS, THEIRS = "T_OURS", "T_VICTIM"
TABLES = [table for table in RUNTIME_TABLES if table != "note_common_terms"]
"""Those in which both workspaces have rows."""


@dataclass(frozen=True)
class Scene:
    """A database with rows of two workspaces; those of the other one all name the VICTIM."""

    owner_url: str
    url: str
    task_id: UUID
    note_id: UUID


async def fill(manager: DatabaseManager, workspace: str, person: str, task_id: UUID) -> UUID:
    embedder = HashingEmbedder(64)
    notes = PostgreSQLNoteRepository(manager, embedder, workspace_id=workspace)
    many = [
        Note(id=uuid4(), user_id=person, content=f"{person} の極秘 {n}", source_key=f"key {n}")
        for n in range(40)
    ]
    await notes.save_many(many, await embedder.embed([note.content for note in many]))
    await PostgreSQLTaskRepository(manager, workspace_id=workspace).create(
        Task(id=task_id, title=f"{person} の極秘", assignee_user_id=person, creator_user_id=person)
    )

    async def rest(connection: asyncpg.Connection) -> None:
        await connection.execute(
            "INSERT INTO sessions (workspace_id, id, user_id, last_active_at, created_at)"
            f" VALUES ('{workspace}', 's1', '{person}', now(), now())"
        )
        await connection.execute(
            "INSERT INTO handoffs (workspace_id, id, task_id, from_user_id, to_user_id,"
            f" progress_note, handoff_at, created_at) VALUES ('{workspace}', gen_random_uuid(),"
            f" '{task_id}', '{person}', 'U0', '{person}', now(), now())"
        )
        await connection.execute(
            "INSERT INTO api_tokens (workspace_id, id, name, secret_hash, created_at)"
            f" VALUES ('{workspace}', gen_random_uuid(), '{person}', sha256('{person}'), now())"
        )
        await connection.execute(
            "INSERT INTO idempotency_keys (workspace_id, scope, key, fingerprint, entity_id,"
            f" created_at) VALUES ('{workspace}', '{person}', 'k1', sha256('{person}'),"
            " gen_random_uuid(), now())"
        )
        await connection.execute(
            "INSERT INTO inbox_events (workspace_id, id, body, entity_id, received_at,"
            f" claimed_until) VALUES ('{workspace}', '{person}', '{{}}', gen_random_uuid(),"
            " now(), now())"
        )
        await connection.execute(
            "INSERT INTO spare_embeddings SELECT workspace_id, model, text_hash, embedding, now()"
            " FROM note_embeddings LIMIT 1"
        )

    await manager.run(rest, workspace_id=workspace)
    return many[0].id


async def name_workspace(connection: asyncpg.Connection, workspace: str) -> None:
    await connection.execute("SELECT set_config($1, $2, false)", WORKSPACE_SETTING, workspace)


async def state(owner_url: str) -> list[str]:
    """The other workspace's rows, and all that guards them, as one sees it from above."""
    connection = await connect(owner_url)
    try:
        found = []
        for table in RUNTIME_TABLES:
            query = f"SELECT t::text FROM {table} AS t WHERE workspace_id <> $1 ORDER BY 1"
            found += [row[0] for row in await connection.fetch(query, OURS)]
        guards = await connection.fetch(
            "SELECT c.relname, c.relowner::regrole::text, c.relacl::text, c.relrowsecurity,"
            " c.relforcerowsecurity, c.relhastriggers, c.relhasrules,"
            " (SELECT string_agg(p.polname || pg_get_expr(p.polqual, p.polrelid), ','"
            "  ORDER BY p.polname) FROM pg_policy AS p WHERE p.polrelid = c.oid)"
            " FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1"
        )
        routines = await connection.fetch(
            "SELECT p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)), p.proacl::text"
            " FROM pg_proc AS p WHERE p.proname LIKE 'nakamura%' ORDER BY 1"
        )
        role = await connection.fetch("SELECT * FROM pg_roles WHERE rolname = $1", RUNTIME_ROLE)
        return [*found, *map(repr, guards), *map(repr, routines), repr(role)]
    finally:
        await connection.close()
