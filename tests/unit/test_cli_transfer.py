"""``migrate``, ``export``, ``init-db``, ``maintain``, ``doctor`` as an operator runs them."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

import nakamura_misaki
from cli_driver import USER, CommandLine

DEMO_DATA = Path(nakamura_misaki.__file__).parent / "demo_data"
REVISIONS = Path(nakamura_misaki.__file__).parent / "infrastructure/database/migrations/versions"


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A small legacy directory: three notes, one file that is broken."""
    directory = tmp_path / "data"
    (directory / "notes").mkdir(parents=True)
    notes = [
        {
            "user_id": USER,
            "category": "decisions",
            "content": content,
            "timestamp": "2025-10-07T01:15:00",
        }
        for content in ("決定: 売上は月次で見る", "決定: 税は四捨五入", "Decision: no Redis")
    ]
    (directory / "notes" / "decisions.json").write_text(json.dumps(notes, ensure_ascii=False))
    (directory / "notes" / "broken.json").write_text('[{"user_id"')
    return directory


def test_cli_migrate_reports_embeds_and_is_idempotent(cli: CommandLine, legacy: Path) -> None:
    first = cli("migrate", "data", "--verify", "--json")
    assert first.code == 1
    report = first.json
    assert (report["new"], report["known"], report["embedded"]) == (3, 0, 3)
    assert report["entries"]["notes"] == 3
    assert [each["path"] for each in report["rejected"]] == ["notes/broken.json"]
    assert report["verified"] is True

    (legacy / "notes" / "broken.json").unlink()
    second = cli("migrate", "data")
    assert second.code == 0
    assert "0 new, 0 updated, 3 known before, 0 rejected" in second.out
    assert second.err == ""
    assert cli("note", "search", "売上", "--json").json["notes"][0]["user_id"] == USER


def test_cli_migrate_lists_what_it_rejected_with_its_reason(cli: CommandLine, legacy: Path) -> None:
    out = cli("migrate", str(legacy)).out
    assert "1 rejected" in out
    (line,) = [line for line in out.splitlines() if line.startswith("notes/broken.json")]
    assert "JSON" in line


def test_cli_migrate_dry_run_writes_nothing(cli: CommandLine, legacy: Path) -> None:
    dry = cli("migrate", str(legacy), "--dry-run", "--json").json
    assert (dry["dry_run"], dry["new"], dry["embedded"]) == (True, 3, 0)
    assert "would be new" in cli("migrate", str(legacy), "--dry-run").out
    assert cli("note", "list", "--json").json == []


def test_cli_migrate_without_vectors_leaves_them_to_embed_pending(
    cli: CommandLine, legacy: Path
) -> None:
    assert cli("migrate", str(legacy), "--no-embed", "--json").json["embedded"] == 0
    assert cli("embed-pending", "--json").json == {
        "embedded": 3,
        "model_switched": False,
    }
    assert cli("embed-pending").out == "No note lacks a vector.\n"


def test_cli_migrate_survives_an_embedder_that_is_down(cli: CommandLine, legacy: Path) -> None:
    (legacy / "notes" / "broken.json").unlink()
    with _closed_port() as port:
        cli.set(
            EMBEDDING_PROVIDER="openai",
            OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1",
            EMBEDDING_TIMEOUT="0.2",
        )
        outcome = cli("migrate", str(legacy))
    assert outcome.code == 0
    assert "3 new" in outcome.out
    assert "not every note has a vector" in outcome.err
    assert "Traceback" not in outcome.err


class _closed_port:  # noqa: N801  (used like a function)
    """A port of this machine that refuses every connection while it is held."""

    def __enter__(self) -> int:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def test_cli_migrate_deletes_only_what_is_backed_up(cli: CommandLine, legacy: Path) -> None:
    refused = cli("migrate", str(legacy), "--delete-source")
    assert refused.code == 2
    assert "backup" in refused.err
    assert len(list(legacy.rglob("*.json"))) == 2

    outcome = cli("migrate", str(legacy), "--delete-source", "--backup", "b.tar.gz", "--json")
    assert outcome.json["deleted_files"] == 1
    assert Path("b.tar.gz").stat().st_size > 0
    assert [file.name for file in legacy.rglob("*.json")] == ["broken.json"]


def test_cli_migrate_of_nothing_exits_2(cli: CommandLine) -> None:
    outcome = cli("migrate", "not-there", "--json")
    assert (outcome.code, outcome.error["kind"]) == (2, "invalid_input")


def test_cli_export_can_be_gone_on_from_with_json_storage(
    cli: CommandLine, legacy: Path, tmp_path: Path
) -> None:
    cli("migrate", str(legacy))
    task = cli("task", "add", "移行", "--json").json
    exported = cli("export", "out", "--json").json
    assert exported["counts"]["notes"] == 3
    assert exported["counts"]["tasks"] == 1

    cli.set(STORAGE_BACKEND="json", JSON_DATA_DIR=str(tmp_path / "out"))
    assert cli("task", "list", "--json").json == [task]
    assert cli("task", "start", task["id"][-8:], "--json").json["status"] == "in_progress"
    answer = cli("note", "search", "売上")
    assert "決定: 売上は月次で見る" in answer.out
    assert "not by vector: this storage keeps no vectors" in answer.out
    for command in ("embed-pending", "reembed", "doctor", "maintain", "init-db"):
        assert cli(command).code == 5


def test_cli_export_into_something_else_exits_2_and_leaves_it(
    cli: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("x")
    assert cli("export", "other").code == 2
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["precious.txt"]


def test_cli_init_db_from_nothing_to_current(
    cli: CommandLine, server: Any, empty_database: str
) -> None:
    cli.set(DATABASE_OWNER_URL=server.url(empty_database))
    behind = cli("init-db", "--check", "--json")
    assert (behind.code, behind.json["current"]) == (1, False)
    assert cli("init-db", "--check").out.startswith("The schema is behind by")

    made = cli("init-db", "--json").json
    assert made["from_revision"] is None
    assert made["to_revision"] == behind.json["pending"][-1]
    assert made["actions"]
    assert cli("init-db", "--check").code == 0
    assert cli("init-db", "--json").json["actions"] == []
    assert cli("init-db").out == f"The schema was already at revision {made['to_revision']}.\n"


def test_cli_init_db_prints_the_sql_without_any_database(cli: CommandLine) -> None:
    cli.set(DATABASE_URL="postgresql+asyncpg://u@127.0.0.1:1/none")
    assert "CREATE TABLE" in cli("init-db", "--sql").out
    assert cli("init-db", "--sql", "--check").code == 2


def test_cli_missing_schema_exits_7_and_names_init_db(
    cli: CommandLine, server: Any, empty_database: str
) -> None:
    cli.set(DATABASE_URL=server.url(empty_database))
    outcome = cli("task", "list", "--json")
    assert (outcome.code, outcome.error["kind"]) == (7, "schema_outdated")
    assert "init-db" in outcome.error["error"]


def test_cli_doctor_is_content_with_a_fresh_database(cli: CommandLine) -> None:
    checks = cli("doctor", "--json")
    assert [each for each in checks.json if not each["ok"]] == []
    assert checks.code == 0
    lines = cli("doctor").out.splitlines()
    assert len(lines) == len(checks.json) + 1
    assert all(line.startswith("ok  ") for line in lines[1:])


def test_cli_doctor_exits_1_where_something_is_wrong(cli: CommandLine, owner_url: str) -> None:
    cli.set(DATABASE_URL=owner_url)
    outcome = cli("doctor")
    assert outcome.code == 1
    assert "WRONG  role" in outcome.out


def test_cli_maintain_has_nothing_to_do_for_a_few_notes(cli: CommandLine, legacy: Path) -> None:
    cli("migrate", str(legacy))
    assert cli("maintain", "--json").json == {"actions": []}
    assert cli("maintain").out == "Nothing was to be done.\n"


def test_newest_revision_by_file_name_is_alembics_head() -> None:
    from nakamura_misaki.infrastructure.database.local import newest_revision
    from nakamura_misaki.infrastructure.database.upgrade import head_revision

    assert newest_revision() == head_revision()
