"""``demo``, ``--demo`` and ``embedded``, on an embedded server of their own."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from cli_driver import USER, CommandLine
from nakamura_misaki.adapters.primary.cli.calling import DATA_DIR_VARIABLE, command_line
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer

pytestmark = pytest.mark.xdist_group("embedded")


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    parent = "/var/lib" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="nakamura-misaki-demo-test-", dir=parent))
    yield directory
    EmbeddedServer(directory).stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    data_dir: Path,
) -> CommandLine:
    made = CommandLine(monkeypatch, capsys, tmp_path, None)
    made.set(NAKAMURA_MISAKI_DATA_DIR=str(data_dir))
    return made


def test_cli_demo_answers_and_can_be_asked_further(
    cli: CommandLine, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EmbeddedServer(data_dir).start()
    # Neither a database of one's own nor a key has any part in the demo.
    cli.set(DATABASE_URL="postgresql+asyncpg://u@127.0.0.1:1/none", OPENAI_API_KEY="sk-none-at-all")
    cli.set(EMBEDDING_PROVIDER="openai")
    first = cli("demo")
    assert first.code == 0
    assert "DB移行の決定事項: JSONファイルをやめてPostgreSQL 16 + pgvectorへ移す" in first.out
    assert "66 new, 0 updated, 0 known before, 4 rejected" in first.out
    assert "\x1b" not in first.out
    assert first.err.startswith(f"Using the embedded PostgreSQL in {data_dir}; it keeps running")
    assert first.err.endswith(" embedded stop\n")
    assert first.err.count("\n") == 1

    again = cli("demo", "--json").json
    assert again["migration"]["new"] == again["migration"]["entries"]["notes"] + 4 == 66
    assert again["migration"]["embedded"] == 62
    assert again["seconds"] < 15
    assert len(again["answers"]) == 3
    assert all(answer["notes"][0]["legs"] == ["vector", "words"] for answer in again["answers"])
    assert [task["assignee_user_id"] for task in again["tasks"]] == [USER] * 3
    assert again["handoff"]["to_user_id"] == USER

    further = cli("--demo", "note", "search", "DB移行の決定事項は？", "--json").json
    assert further["notes"][0]["content"].startswith("DB移行の決定事項:")
    assert len(cli("--demo", "task", "list", "--json").json) == 4
    assert len(cli("--demo", "handoff", "list", "--json").json) == 1


def test_cli_demo_prints_commands_that_work_as_printed(
    cli: CommandLine, tmp_path: Path, data_dir: Path
) -> None:
    def run(command: str | list[str], environment: dict[str, str]) -> str:
        done = subprocess.run(
            command,
            shell=isinstance(command, str),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    environment = dict(os.environ)
    told = run([sys.executable, "-m", "nakamura_misaki", "demo", "--json"], environment)
    suggested = json.loads(told)["next"]
    del environment[DATA_DIR_VARIABLE]
    for command in suggested[:2]:
        assert run(command, environment)
    assert all(str(data_dir) in command for command in suggested)
    assert suggested[-2].endswith("--demo serve --with-jobs")


def test_cli_prints_a_command_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "nakamura-misaki"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_line("note", "search", "税 $x") == "bin/nakamura-misaki note search '税 $x'"
    assert command_line("task", "list", "決定") == 'bin/nakamura-misaki task list "決定"'
    monkeypatch.setenv("PATH", str(program.parent))
    assert command_line("demo") == "nakamura-misaki demo"
    monkeypatch.setenv(DATA_DIR_VARIABLE, "/srv/a b")
    assert command_line("demo") == "NAKAMURA_MISAKI_DATA_DIR='/srv/a b' nakamura-misaki demo"


def test_cli_without_a_database_url_uses_the_embedded_one_and_says_so(
    cli: CommandLine, data_dir: Path
) -> None:
    EmbeddedServer(data_dir).start()
    added = cli("task", "add", "自分の仕事")
    assert added.code == 0
    assert added.err.count("\n") == 1
    assert str(data_dir) in added.err
    listed = cli("task", "list", "--json")
    assert [task["title"] for task in listed.json] == ["自分の仕事"]
    assert '"notice"' in listed.err
    assert cli("init-db", "--check").code == 0


def test_cli_embedded_status_and_stop(cli: CommandLine, data_dir: Path) -> None:
    EmbeddedServer(data_dir).start()
    assert cli("embedded", "status", "--json").json == {"running": True, "data_dir": str(data_dir)}
    assert cli("embedded", "stop").out.startswith("Stopped")
    assert cli("embedded", "status").code == 1
    assert cli("embedded", "stop").code == 0


def test_cli_demo_option_before_any_demo_says_what_to_run(cli: CommandLine, data_dir: Path) -> None:
    EmbeddedServer(data_dir).start()

    async def drop() -> None:
        url = EmbeddedServer(data_dir).url("postgres").replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        await connection.execute("DROP DATABASE IF EXISTS nakamura_misaki_demo WITH (FORCE)")
        await connection.close()

    asyncio.run(drop())
    outcome = cli("--demo", "task", "list", "--json")
    assert outcome.code == 5
    assert "nakamura-misaki demo" in outcome.error["error"]
