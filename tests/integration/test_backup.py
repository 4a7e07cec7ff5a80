"""``backup``: what is written is complete, of one moment, closed to others, and never less than before."""

import asyncio
import hashlib
import json
import signal
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from database_server import connect
from integration.backup_stage import BackupStage, Gate, family, replaced, started, until, wait_for
from integration.command import MODULE
from integration.two_workspaces import OURS
from nakamura_misaki import __version__
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.task import Task
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.upgrade import head_revision


def test_backup_is_a_dump_with_a_manifest_that_only_its_owner_reads(stage: BackupStage) -> None:
    before = stage.rows()
    started_at = datetime.now(UTC)
    told = stage.cli("backup", "--json").json

    (dump,) = stage.dumps()
    assert told["file"] == str(dump)
    assert stage.names() == [dump.name, dump.with_suffix(".json").name]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in stage.directory.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(stage.directory.stat().st_mode) == 0o700
    manifest = stage.manifest()
    assert manifest["dump"] == dump.name
    assert manifest["sha256"] == hashlib.sha256(dump.read_bytes()).hexdigest() == told["sha256"]
    assert manifest["size_bytes"] == dump.stat().st_size == told["size_bytes"]
    made_at = datetime.fromisoformat(manifest["created_at"])
    assert timedelta(0) <= made_at - started_at < timedelta(minutes=1)
    assert dump.name == f"nakamura-misaki-{made_at:%Y%m%dT%H%M%SZ}.dump"
    counted = {table: len(rows) for table, rows in before.items()} | {"alembic_version": 1}
    assert manifest["rows"] == counted == told["rows"]
    assert 0 not in {rows for table, rows in counted.items() if table != "spare_embeddings"}
    assert manifest["roles"] == ["nakamura_misaki", "nakamura_misaki_owner"]
    assert (manifest["database"], manifest["schema_revision"]) == (
        stage.database,
        head_revision(),
    )
    assert manifest["package_version"] == __version__
    assert manifest["server_version"] == stage.ask("SHOW server_version")
    assert manifest["program_version"].startswith("pg_dump (PostgreSQL) ")
    status = stage.status()
    assert abs(status["last_success"] - time.time()) < 60
    assert (status["size_bytes"], status["last_failure"]) == (manifest["size_bytes"], 0)
    assert stat.S_IMODE(stage.status_file.stat().st_mode) == 0o644
    assert stage.rows() == before


def test_backup_says_file_size_rows_and_time(stage: BackupStage) -> None:
    done = stage.cli("backup")
    (dump,) = stage.dumps()
    rows = sum(stage.manifest()["rows"].values())
    first, second, third = done.out.splitlines()
    assert (done.code, first, third) == (0, str(dump), "1 backup kept, 0 deleted.")
    kilobytes = f"{dump.stat().st_size / 1000:,.0f} kB"
    assert second.startswith(f"{kilobytes}, {rows} rows in 12 tables, in ")


async def test_dump_and_counts_are_of_one_moment_while_others_write(stage: BackupStage) -> None:
    """Each write adds a task and a note at once; whoever saw half of one would count them unequal."""
    manager = DatabaseManager(stage.database_url, workspace_id=OURS)
    tasks, notes = PostgreSQLTaskRepository(manager), PostgreSQLNoteRepository(manager, None)
    is_over = asyncio.Event()

    async def write() -> int:
        written = 0
        while not is_over.is_set():
            async with manager.transaction():
                await tasks.create(
                    Task(id=uuid4(), title="書き込み", assignee_user_id="U1", creator_user_id="U1")
                )
                await notes.save(Note(id=uuid4(), user_id="U1", content="売上の書き込み"))
            written += 1
        return written

    command = stage.command()
    writers = [asyncio.create_task(write()) for _ in range(4)]
    try:
        told = await asyncio.to_thread(command.json, "backup")
    finally:
        is_over.set()
        written = sum(await asyncio.gather(*writers))
        await manager.close()

    rows = told["rows"]
    others = {"notes": 80, "tasks": 2}  # of before
    seen = rows["notes"] - others["notes"]
    assert seen == rows["tasks"] - others["tasks"]
    assert 0 < seen < written
    verified = await asyncio.to_thread(command.json, "verify-backup")
    assert (verified["rows"], verified["rows_compared"]) == (rows, True)


def test_no_table_is_emptied_between_the_counts_and_the_dump(stage: BackupStage) -> None:
    """A truncated table would be empty in the dump, though the snapshot still has its rows."""
    gate = Gate(stage, "pg_dump", when="--snapshot")
    command = stage.command(POSTGRESQL_PROGRAMS=str(gate.directory))

    async def truncate() -> None:
        connection = await connect(stage.server.url(stage.database))
        try:
            await connection.execute("SET lock_timeout = '300ms'; TRUNCATE notes CASCADE")
        finally:
            await connection.close()

    with started(command, "backup", "--json") as process:
        gate.wait()
        with pytest.raises(Exception, match="lock timeout"):
            asyncio.run(truncate())
        gate.open()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["rows"]["notes"]) == (0, 80), err


def test_table_that_is_emptied_at_this_moment_is_waited_for(stage: BackupStage) -> None:
    """Of whoever empties it the backup has all or nothing, though old snapshots see it empty, too."""

    async def empty() -> None:
        connection = await connect(stage.server.url(stage.database))
        await connection.execute("BEGIN; LOCK TABLE handoffs, tasks IN ACCESS EXCLUSIVE MODE")
        with started(stage.command(), "backup", "--json") as process:
            waits = (
                "SELECT EXISTS (SELECT FROM pg_locks"
                " WHERE relation = 'handoffs'::regclass AND NOT granted)"
            )
            await until(lambda: connection.fetchval(waits))
            await connection.execute("TRUNCATE tasks CASCADE; DELETE FROM sessions; COMMIT")
            await connection.close()
            out, err = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, err
        rows = json.loads(out)["rows"]
        assert (rows["tasks"], rows["sessions"], rows["notes"]) == (0, 0, 80)

    asyncio.run(empty())
    assert stage.cli("verify-backup").code == 0


def test_schema_change_that_is_under_way_is_waited_for(stage: BackupStage) -> None:
    """As long as init-db holds its lock, tables may come and go."""

    async def hold() -> None:
        connection = await connect(stage.server.url(stage.database))
        await connection.execute("SELECT pg_advisory_lock(x'6e616b61'::bigint)")
        with started(stage.command(), "backup", "--json") as process:
            waits = (
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
            )
            await until(lambda: connection.fetchval(waits))
            await connection.execute("CREATE TABLE late (n int); INSERT INTO late VALUES (1), (2)")
            await connection.close()
            out, err = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)["rows"]["late"] == 2

    asyncio.run(hold())


def test_oldest_go_once_there_is_a_newer_one(stage: BackupStage) -> None:
    stage.cli.set(BACKUP_KEEP="3")
    made = []
    for number in range(5):
        told = stage.cli("backup", "--json").json
        made.append(Path(told["file"]))
        assert told["kept"] == min(number + 1, 3)
        assert told["deleted"] == ([made[number - 3].name] if number >= 3 else [])
    assert stage.dumps() == made[2:] == sorted(made)[2:]
    assert len(stage.names()) == 6
    foreign = ["nakamura-misaki-by-hand.dump", "notes.txt", "nakamura-misaki-20010101T000000Z.dump"]
    for name in foreign:
        (stage.directory / name).write_text("mine")
    told = stage.cli("backup", "--keep", "1", "--json").json
    assert (told["kept"], len(told["deleted"])) == (1, 3)
    assert set(stage.names()) - set(foreign) == {
        Path(told["file"]).name,
        Path(told["file"]).with_suffix(".json").name,
    }
    assert all((stage.directory / name).read_text() == "mine" for name in foreign)


def test_backup_to_another_place_leaves_the_usual_one(stage: BackupStage) -> None:
    stage.back_up()
    before = stage.names()
    told = stage.cli("backup", "--to", "elsewhere/new", "--keep", "1", "--json").json
    assert Path(told["file"]).parent == stage.root / "elsewhere" / "new"
    assert stage.names() == before


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("pg_dump", 'case $1 in --version) exec REAL "$@";; *) exec REAL "$@" --file=/dev/full;; esac', "No space left on device"),
        ("pg_dump", 'case $1 in --version) exec REAL "$@";; *) kill -9 $$;; esac', "killed by signal 9"),
        ("pg_dump", 'case $1 in --version) exec REAL "$@";; *) exit 0;; esac', "pg_restore can't read the dump"),
        ("pg_restore", "echo 'pg_restore: error: input file is too short' >&2; exit 1", "input file is too short"),
    ],
    ids=["disk full", "killed", "nothing written", "unreadable"],
)  # fmt: skip
def test_failed_backup_is_one_sentence_and_leaves_every_old_one(
    stage: BackupStage, name: str, text: str, reason: str
) -> None:
    stage.back_up()
    stage.back_up()
    stage.cli.set(BACKUP_KEEP="1")
    before = {name: (stage.directory / name).read_bytes() for name in stage.names()}
    stage.cli.set(POSTGRESQL_PROGRAMS=str(replaced(stage, name, text)))

    failed = stage.cli("backup")
    assert (failed.code, failed.out, failed.err.count("\n")) == (1, "", 1)
    assert reason in failed.err
    assert {name: (stage.directory / name).read_bytes() for name in stage.names()} == before
    status = stage.status()
    assert status["last_failure"] > status["last_success"] > 0
    assert stage.cli("backup", "--json").error["kind"] == "backup_failed"


def test_directory_that_can_not_be_written_is_one_sentence(stage: BackupStage) -> None:
    (stage.root / "file").write_text("")
    failed = stage.cli("backup", "--to", "file/backups")
    assert (failed.code, failed.err.count("\n")) == (1, 1)
    assert failed.err.endswith("can't be written to: Not a directory.\n")
    stage.directory.mkdir()
    (stage.directory / ".nakamura-misaki-backup.lock").symlink_to("/etc/passwd")
    assert "can't be written to: Too many levels of symbolic links" in stage.cli("backup").err


def test_second_backup_at_once_is_refused(stage: BackupStage) -> None:
    gate = Gate(stage, "pg_dump", when="--snapshot")
    with started(
        stage.command(POSTGRESQL_PROGRAMS=str(gate.directory)), "backup", "--json"
    ) as process:
        gate.wait()
        refused = stage.cli("backup", "--json")
        assert (refused.code, refused.error["kind"]) == (1, "already_at_work")
        assert refused.error["error"] == (
            f"Another backup into {stage.directory} is at work; try again when it has ended."
        )
        assert not stage.status_file.exists()  # the first one will say how it ended
        gate.open()
        process.communicate(timeout=60)
    assert (process.returncode, len(stage.dumps())) == (0, 1)
    assert stage.cli("backup").code == 0


def test_pg_dump_that_is_missing_or_older_than_the_server_is_one_sentence(
    stage: BackupStage,
) -> None:
    stage.cli.set(POSTGRESQL_PROGRAMS=str(stage.root / "nowhere"))
    missing = stage.cli("backup")
    assert missing.code == 5
    assert "There is no pg_restore in" in missing.err
    assert "set POSTGRESQL_PROGRAMS" in missing.err
    old = replaced(stage, "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'")
    stage.cli.set(POSTGRESQL_PROGRAMS=str(old))
    major = int(stage.ask("SHOW server_version_num")) // 10000
    assert stage.cli("backup").err == (
        f"Error: pg_dump is of PostgreSQL 9, older than the server's {major}: set"
        " POSTGRESQL_PROGRAMS to the directory of its own.\n"
    )
    assert (stage.cli("backup").code, stage.dumps()) == (5, [])


@pytest.mark.parametrize("on_ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_interrupted_backup_cleans_up_and_says_that_it_failed(
    stage: BackupStage, on_ctrl_c: Any
) -> None:
    """As systemd ends a timer's unit: SIGTERM; also where a shell's background ignores Ctrl-C."""
    gate = Gate(stage, "pg_dump", when="--snapshot")
    before = signal.signal(signal.SIGINT, on_ctrl_c)
    with started(stage.command(POSTGRESQL_PROGRAMS=str(gate.directory)), "backup") as process:
        signal.signal(signal.SIGINT, before)
        gate.wait()
        assert len(stage.names()) == 1
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Error: interrupted.\n")
    assert stage.names() == []
    assert stage.status()["last_failure"] > 0


def test_backup_goes_on_in_the_background_of_a_shell(stage: BackupStage) -> None:
    """There Ctrl-C is ignored, so that SIGTERM must not be taken for it."""
    command = stage.command()
    done = subprocess.run(
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *MODULE, "backup"],
        cwd=command.directory,
        env=command.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr, len(stage.dumps())) == (0, b"", 1)


def test_no_secret_is_seen_by_others_while_it_runs(stage: BackupStage, tmp_path: Path) -> None:
    url = make_url(stage.server.url(stage.database))
    secret = url.password or "geheim-秘密:p\\w"
    url = url.set(password=secret)
    (tmp_path / "admin-url").write_text(url.render_as_string(hide_password=False))
    told = tmp_path / "told"
    directory = replaced(
        stage,
        "pg_dump",
        f'case $1 in --version) ;; *) cat "$PGPASSFILE" > {told}; env >> {told};'
        f' touch {told}.done; sleep 1;; esac; exec REAL "$@"',
    )
    command = stage.command(POSTGRESQL_PROGRAMS=str(directory), OPENAI_API_KEY="sk-private")
    del command.environment["DATABASE_ADMIN_URL"]
    command.environment["DATABASE_ADMIN_URL_FILE"] = str(tmp_path / "admin-url")
    with started(command, "backup") as process:
        wait_for(Path(f"{told}.done").exists)
        seen = b"".join(
            Path(f"/proc/{pid}/{name}").read_bytes()
            for pid in family(process.pid)
            for name in ("cmdline", "environ")
        )
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"pg_dump" in seen
    assert secret.encode() not in seen
    assert quote(secret).encode() not in seen
    first, *environment = told.read_text().splitlines()
    escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
    assert first == f"*:*:*:*:{escaped}"
    assert not [line for line in environment if "sk-private" in line or secret in line]
