"""``verify-backup``: what restores passes, and whatever is not as it was dumped is told."""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from integration.backup_stage import (
    BackupStage,
    Gate,
    flip_byte,
    replaced,
    started,
    wait_for,
)
from integration.schema_dump import libpq_url
from integration.two_workspaces import OURS, THEIRS
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.note import Note
from nakamura_misaki.infrastructure.database.manager import DatabaseManager


def edit(manifest: Path, **changes: Any) -> None:
    manifest.write_text(json.dumps(json.loads(manifest.read_text("utf-8")) | changes))


def test_newest_backup_restores_counts_and_answers(stage: BackupStage) -> None:
    stage.back_up()
    newest = stage.back_up()
    told = stage.cli("verify-backup", "--json").json
    assert told["file"] == str(newest)
    assert (told["rows"], told["rows_compared"]) == (stage.manifest()["rows"], True)
    assert told["found_again"]["workspace_id"] == OURS
    assert told["found_again"]["legs"] == ["vector", "words"]
    assert told["age_hours"] < 1
    assert stage.databases() == []
    status = stage.status()
    assert abs(status["verified"] - time.time()) < 60
    assert status["verification_failed"] == 0

    said = stage.cli("verify-backup", str(newest)).out.splitlines()
    assert said[0] == str(newest)
    assert said[1].startswith("0 minutes old, restored in ")
    rows = sum(told["rows"].values())
    assert said[2] == f"{rows} rows in 12 tables, as its manifest says"
    assert "is found again by its vector and by its words." in said[3]


def test_another_directory_and_an_age_can_be_asked_for(stage: BackupStage) -> None:
    dump = stage.back_up()
    told = stage.cli("verify-backup", "--from", "backups", "--max-age", "1", "--json").json
    assert told["file"] == str(dump)
    edit(dump.with_suffix(".json"), created_at="2026-01-01T00:00:00+00:00")
    refused = stage.cli("verify-backup", "--max-age", "36.5")
    assert (refused.code, "and at most 36.5 hours are asked for" in refused.err) == (1, True)
    assert stage.status()["verification_failed"] == 1
    assert stage.cli("verify-backup").code == 0
    assert stage.status()["verification_failed"] == 0
    assert stage.cli("verify-backup", str(dump), "--from", "backups").code == 2


def test_no_backup_is_a_failure(stage: BackupStage) -> None:
    for _ in range(2):
        none = stage.cli("verify-backup")
        assert (none.code, none.err) == (
            1,
            f"Error: There is no backup in {stage.directory}; make one with: nakamura-misaki backup\n",
        )
        stage.directory.mkdir(exist_ok=True)
    assert stage.status()["verification_failed"] == 1
    assert stage.cli("verify-backup", "none.dump").code == 2
    assert stage.cli("verify-backup", "backups").code == 2


def _truncate(dump: Path) -> None:
    os.truncate(dump, dump.stat().st_size * 2 // 3)


def _flip(dump: Path) -> None:
    flip_byte(dump, dump.stat().st_size // 2)


def _other_rows(dump: Path) -> None:
    manifest = json.loads(dump.with_suffix(".json").read_text("utf-8"))
    rows = manifest["rows"] | {"notes": 81, "gone": 1}
    edit(dump.with_suffix(".json"), rows=rows)


def _broken_manifest(dump: Path) -> None:
    dump.with_suffix(".json").write_text("{")


def _newer_manifest(dump: Path) -> None:
    edit(dump.with_suffix(".json"), format=2)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "is damaged: it has"),
        (_flip, "is damaged: its SHA-256 is not the manifest's."),
        (_other_rows, "gone has no table instead of 1 row, notes has 80 rows instead of 81 rows."),
        (_broken_manifest, "is damaged; move it away to use the dump without it."),
        (_newer_manifest, "it was made by a newer one. Use that release."),
    ],
)
def test_damage_is_one_sentence_and_fails(
    stage: BackupStage, damage: Callable[[Path], None], reason: str
) -> None:
    dump = stage.back_up()
    damage(dump)
    failed = stage.cli("verify-backup")
    assert (failed.code, failed.out, failed.err.count("\n")) == (1, "", 1)
    assert reason in failed.err
    assert stage.databases() == []
    assert stage.status()["verification_failed"] == 1
    before = stage.rows()
    assert stage.cli("restore", str(dump), "--yes").code == 1
    assert stage.rows() == before
    assert stage.databases() == []


def test_dump_without_its_manifest_is_verified_and_says_what_is_missing(stage: BackupStage) -> None:
    dump = stage.back_up()
    dump.with_suffix(".json").unlink()
    done = stage.cli("verify-backup", "--json")
    assert (done.code, done.json["rows_compared"]) == (0, False)
    assert "there is no manifest beside the dump" in done.err
    _truncate(dump)
    failed = stage.cli("verify-backup")
    assert (failed.code, "can't be restored" in failed.err) == (1, True)
    dump.write_bytes(b"no dump at all")
    assert "can't be restored" in stage.cli("verify-backup").err


def test_database_without_our_schema_is_not_backed_up(stage: BackupStage) -> None:
    """Or dumps of nothing would, one a night, take the place of those that hold everything."""
    stage.server.run("DELETE FROM alembic_version", database=stage.database)
    assert stage.cli("backup").code == 7
    stage.server.run("DROP TABLE alembic_version", database=stage.database)
    refused = stage.cli("backup")
    assert (refused.code, "has no schema yet, so there is nothing" in refused.err) == (7, True)
    assert stage.names() == []


def test_dump_of_another_database_is_no_backup(stage: BackupStage, empty_database: str) -> None:
    other = stage.root / "other.dump"
    url = libpq_url(stage.server.url(empty_database))
    subprocess.run([stage.programs / "pg_dump", "-Fc", "-f", other, "-d", url], check=True)
    for command in (("verify-backup", str(other)), ("restore", str(other), "--yes")):
        refused = stage.cli(*command, "--json")
        assert refused.code == 1
        assert refused.error["error"] == f"{other} is no backup of nakamura-misaki."


def test_rows_that_only_the_dump_lost_are_noticed(stage: BackupStage) -> None:
    """As if pg_dump had left something out: the manifest counts what the database had."""
    text = (
        'case $1 in --version) exec REAL "$@";; *) exec REAL --exclude-table-data=tasks "$@";; esac'
    )
    stage.cli.set(POSTGRESQL_PROGRAMS=str(replaced(stage, "pg_dump", text)))
    stage.server.run("DELETE FROM handoffs", database=stage.database)
    stage.back_up()
    failed = stage.cli("verify-backup")
    assert failed.code == 1
    assert failed.err.endswith("tasks has 0 rows instead of 2 rows.\n")


def test_search_that_finds_nothing_fails(stage: BackupStage) -> None:
    """Every row is there, but what makes words of a question is broken."""
    stage.server.run(
        "CREATE OR REPLACE FUNCTION nakamura_misaki_subject_terms(question text)"
        " RETURNS TABLE (term text, is_prefix boolean, weight double precision)"
        " LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN; END'",
        database=stage.database,
    )
    stage.back_up()
    failed = stage.cli("verify-backup")
    assert (failed.code, failed.err.endswith(f"workspace {OURS} again by its words.\n")) == (
        1,
        True,
    )
    assert stage.databases() == []


def test_search_that_the_service_may_not_do_fails(stage: BackupStage) -> None:
    stage.server.run("REVOKE SELECT ON notes FROM nakamura_misaki", database=stage.database)
    stage.back_up()
    failed = stage.cli("verify-backup")
    assert failed.code == 1
    assert "restores, but a search in it fails: " in failed.err
    assert "permission denied" in failed.err


def test_scratch_database_of_a_killed_run_goes_with_the_next(stage: BackupStage) -> None:
    stage.back_up()
    gate = Gate(stage, "pg_restore", when="--dbname")
    command = stage.command(POSTGRESQL_PROGRAMS=str(gate.directory))
    with started(command, "verify-backup") as process:
        gate.wait()
        (scratch,) = stage.databases()
        assert scratch.startswith(f"{stage.database}_verify_")
        refused = stage.cli("verify-backup", "--json")
        assert (refused.code, refused.error["kind"]) == (1, "already_at_work")
        assert stage.databases() == [scratch]
        process.kill()
        process.wait()
    assert stage.databases() == [scratch]
    bystander = f"{stage.database}_verify_of_mine"
    stage.server.run(f"CREATE DATABASE {bystander}")
    wait_for(lambda: stage.cli("verify-backup").code == 0)
    assert stage.databases() == [bystander]


def test_interrupted_verification_drops_its_database(stage: BackupStage) -> None:
    stage.back_up()
    gate = Gate(stage, "pg_restore", when="--dbname")
    command = stage.command(POSTGRESQL_PROGRAMS=str(gate.directory))
    with started(command, "verify-backup") as process:
        gate.wait()
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "Error: interrupted.\n")
    assert stage.databases() == []
    assert stage.status()["verification_failed"] == 1


def test_backup_that_rotation_deletes_meanwhile_is_verified_to_its_end(stage: BackupStage) -> None:
    dump = stage.back_up()
    gate = Gate(stage, "pg_restore", when="--dbname")
    command = stage.command(POSTGRESQL_PROGRAMS=str(gate.directory))
    with started(command, "verify-backup", "--json") as process:
        gate.wait()
        assert stage.cli("backup", "--keep", "1").code == 0
        assert not dump.exists()
        gate.open()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["file"]) == (0, str(dump)), err


@pytest.mark.parametrize(
    "content",
    ["何ですか？", "教えてください", "税", "です", "🎉🎉", "---", "a", "そうですね", "x" * 5000, " \n" * 2000 + "末尾"],
)  # fmt: skip
async def test_any_note_is_found_again(
    stage: BackupStage, manager: DatabaseManager, content: str
) -> None:
    stage.server.run("TRUNCATE notes CASCADE", database=stage.database)
    notes = PostgreSQLNoteRepository(manager, HashingEmbedder(64), workspace_id=THEIRS)
    await notes.save(Note(id=uuid4(), user_id="U1", content=content))
    command = stage.command()
    await asyncio.to_thread(command.json, "backup")
    found = (await asyncio.to_thread(command.json, "verify-backup"))["found_again"]
    assert found["workspace_id"] == THEIRS
    assert "vector" in found["legs"]
    has_words = any(character.isalnum() for character in content)
    assert ("words" in found["legs"]) == has_words


def test_database_without_notes_says_so(stage: BackupStage) -> None:
    stage.server.run("TRUNCATE notes CASCADE", database=stage.database)
    stage.back_up()
    assert stage.cli("verify-backup", "--json").json["found_again"] is None
    assert stage.cli("verify-backup").out.splitlines()[-1] == (
        "It holds no note to be found again."
    )


def test_unfit_programs_are_one_sentence(stage: BackupStage) -> None:
    stage.back_up()
    broken = replaced(stage, "pg_restore", "echo nonsense")
    stage.cli.set(POSTGRESQL_PROGRAMS=str(broken))
    refused = stage.cli("verify-backup")
    assert (refused.code, "is no backup of nakamura-misaki" in refused.err) == (1, True)
