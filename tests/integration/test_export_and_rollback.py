"""Out of PostgreSQL into files and in again, to the byte; and back to the files for good."""

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import asyncpg

from cli_driver import CommandLine
from database_server import Server, connect
from integration.command import Command
from integration.stores import rows, rows_now, stores_of
from nakamura_misaki.adapters.secondary.legacy_export import ExportDirectory
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.application.export import export
from nakamura_misaki.application.legacy import Stores
from nakamura_misaki.application.migration import MigrationOptions, migrate
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import StoredEmbedding
from nakamura_misaki.domain.task import Task
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE, RUNTIME_TABLES
from unit.legacy_stores import SESSION_ID, note_entry, session_entry, tree, write

VERIFY = MigrationOptions(verify=True)


async def fill(stores: Stores) -> None:
    """Entries of every kind with values that are hard to write down."""
    assert isinstance(stores.notes, PostgreSQLNoteRepository)
    moment = datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC)
    uuids = map(UUID, (f"{n:032x}" for n in count(1)))
    tasks = [
        Task(
            id=next(uuids),
            title=f"題 {n} \u2028'\"\\",
            assignee_user_id="U/1",
            creator_user_id="..",
            description="\r\n\t\x01",
            due_at=moment + timedelta(hours=n),
            created_at=moment,
            updated_at=moment,
        )
        for n in range(5)
    ]
    await stores.tasks.create_many([*tasks[:3], tasks[3].complete(moment), tasks[4].cancel(moment)])
    await stores.handoffs.create_many(
        Handoff(
            id=next(uuids),
            task_id=task.id,
            from_user_id="U1",
            to_user_id="U/1",
            progress_note="半分",
            handoff_at=moment,
            created_at=moment,
            reminded_at=moment,
        )
        for task in tasks
    )
    metadata = [{}, {"legacy": 1}, {"legacy": {"id": 1}}, {"a": [1.5, None, True, 10**30, "日"]}]
    for n, category in enumerate(["decisions", None, "decisions", "x/../y", "todos", "決定"]):
        for data in metadata:
            await stores.notes.save(
                Note(
                    id=next(uuids),
                    user_id="U/1",
                    content=f"{category} {n} 🚀\u0301 \u202e",
                    category=category,
                    session_id=None if n % 2 else "s\u3000/1",
                    metadata=data,
                    source_key=None if n else f"key {metadata.index(data)}",
                    created_at=moment,
                    updated_at=moment + timedelta(microseconds=n),
                )
            )
    note = await anext(stores.notes.stream())
    await stores.notes.store_embeddings([StoredEmbedding(note.id, "another@3", [0.1, -2.0, 6e-8])])


async def test_export_into_another_database_and_out_again_is_the_same_bytes(
    server: Server, template: str, stores: Stores, look: asyncpg.Connection, tmp_path: Path
) -> None:
    await fill(stores)
    write(
        tmp_path, "old/user_U1_sessions.json", {SESSION_ID: session_entry(extra={"b": 1, "a": 2})}
    )
    await migrate(LegacyDirectory(tmp_path / "old"), stores)
    await export(stores, ExportDirectory(tmp_path / "first"))
    first = tree(tmp_path / "first")
    assert first["embeddings.jsonl"].count(b"\n") == 25

    name = server.create_database(template)
    manager = DatabaseManager(server.url(name, RUNTIME_ROLE))
    try:
        other = stores_of(manager)
        report = await migrate(LegacyDirectory(tmp_path / "first"), other, VERIFY)
        assert (report.rejections, report.mismatches, report.verified) == ([], [], True)
        await export(other, ExportDirectory(tmp_path / "second"))
        assert tree(tmp_path / "second") == first
        there = await connect(server.url(name))
        # Which model is in use is the database's own affair, and so is what maintenance filed.
        tables = [t for t in RUNTIME_TABLES if t != "embedding_models"]
        imported = await rows(there)
        await there.close()
        stored = await rows(look)
        assert {t: imported[t] for t in tables} == {t: stored[t] for t in tables}
    finally:
        await manager.close()
        server.drop_database(name)


def test_rollback_to_files_and_forward_again_loses_nothing(
    command: Command, cli: CommandLine, owner_url: str, tmp_path: Path
) -> None:
    write(tmp_path, "data/notes/decisions.json", [note_entry(), note_entry("消費税は四捨五入")])
    write(tmp_path, "data/user_U1_sessions.json", {SESSION_ID: session_entry()})
    cli("migrate", "data")
    since = cli("task", "add", "移行後の作業", "--due", "2026-10-15T10:00", "--json").json
    cli("note", "add", "移行後の覚え書き", "--category", "decisions")
    before = rows_now(owner_url)
    command.json("export", "out")

    files = Command(tmp_path, STORAGE_BACKEND="json", JSON_DATA_DIR=str(tmp_path / "out"))
    meanwhile = files.json("task", "add", "ファイルの時代の作業")
    noted = files.json("note", "add", "ファイルの時代の覚え書き", "--category", "decisions")
    files.json("task", "start", since["id"])
    assert [n["id"] for n in files.json("note", "search", "時代")["notes"]] == [noted["id"]]

    assert rows_now(owner_url) == before
    back = command.json("migrate", "out", "--verify")
    assert (back["ok"], back["new"], back["updated"]) == (True, 2, 1)
    tasks = {t["id"]: t["status"] for t in cli("task", "list", "--all", "--json").json}
    assert tasks == {since["id"]: "in_progress", meanwhile["id"]: "pending"}
    assert cli("note", "show", noted["id"], "--json").json == noted
    after = rows_now(owner_url)
    assert set(before["notes"]) < set(after["notes"])
    assert set(before["note_embeddings"]) < set(after["note_embeddings"])
    assert before["sessions"] == after["sessions"]
