"""How the command line begins and ends: help, usage, failures, pipes, signals, start-up."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_driver import CommandLine
from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.failures import EXIT_CODES, describe, redacted
from nakamura_misaki.adapters.primary.cli.main import cli as root
from nakamura_misaki.domain import errors

MODULE = (sys.executable, "-m", "nakamura_misaki")


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    return CommandLine(monkeypatch, capsys, tmp_path, None)


def _commands() -> list[tuple[str, ...]]:
    import click

    found: list[tuple[str, ...]] = []

    def walk(group: click.Group, path: tuple[str, ...]) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                walk(command, (*path, name))
            else:
                found.append((*path, name))

    walk(root, ())
    return found


@pytest.mark.parametrize("path", _commands(), ids=" ".join)
def test_cli_help_of_each_command_teaches(cli: CommandLine, path: tuple[str, ...]) -> None:
    outcome = cli(*path, "--help")
    assert outcome.code == 0
    assert "--json" in outcome.out
    assert re.search(rf"Examples?:\n    .*nakamura-misaki {' '.join(path)}", outcome.out)
    assert "Exits with" in outcome.out


def test_cli_main_help_documents_every_exit_code(cli: CommandLine) -> None:
    out = cli("--help").out
    family = [errors.NakamuraMisakiError, *_descendants(errors.NakamuraMisakiError)]
    assert {kind.exit_code for kind in family} <= {code for code, _ in EXIT_CODES}
    for code, meaning in EXIT_CODES:
        assert f"{code:>3}  {meaning}" in out


def _descendants(kind: type) -> list[type]:
    children = kind.__subclasses__()
    return children + [each for child in children for each in _descendants(child)]


def test_cli_version_is_the_packages(cli: CommandLine) -> None:
    from nakamura_misaki import __version__

    assert cli("--version").out == f"nakamura-misaki {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("tsk",), ("task", "lst"), ("task", "add"), ("task", "list", "--status", "x")]
)
def test_cli_usage_errors_exit_2_and_name_the_help(
    cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Error: ")
    assert "--help shows how it is used" in outcome.err


def test_cli_usage_error_with_json_is_json(cli: CommandLine) -> None:
    outcome = cli("task", "add", "--json")
    assert (outcome.code, outcome.error["kind"]) == (2, "usage")


def test_cli_json_after_the_end_of_options_is_no_option(cli: CommandLine) -> None:
    assert not cli("task", "show", "x", "--", "--json").err.startswith("{")


def test_cli_unreachable_database_exits_6_without_its_password(cli: CommandLine) -> None:
    cli.set(DATABASE_URL="postgresql+asyncpg://u:hunter2@127.0.0.1:1/none")
    outcome = cli("--debug", "task", "list", "--json")
    assert (outcome.code, outcome.error["kind"]) == (6, "storage_unavailable")
    assert "hunter2" not in outcome.err


def test_cli_wrong_setting_exits_5(cli: CommandLine) -> None:
    cli.set(STORAGE_BACKEND="json")
    assert cli("task", "list").code == 5
    cli.set(STORAGE_BACKEND="mysql")
    assert cli("task", "list").code == 5


def test_cli_unforeseen_error_exits_70_and_debug_shows_where(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("postgresql://u:hunter2@host/db")

    monkeypatch.setattr("nakamura_misaki.infrastructure.settings.load_settings", fail)
    outcome = cli("task", "list", "--json")
    assert (outcome.code, outcome.error["kind"]) == (70, "unexpected")
    assert "--debug" in outcome.error["error"]
    assert "Traceback" not in outcome.err
    shown = cli("--debug", "task", "list")
    assert "Traceback" in shown.err
    assert "hunter2" not in outcome.err + shown.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "at postgresql+asyncpg://u:p@ss/w@host/db now",
            "at postgresql+asyncpg://u:***@host/db now",
        ),
        ("http://:secret@proxy", "http://:***@proxy"),
        ("http://host:80/a", "http://host:80/a"),
    ],
)
def test_cli_redacts_the_passwords_of_urls(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_cli_describes_a_file_that_is_not_there_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "none").read_text()
    failure = describe(caught.value)
    assert failure.exit_code == 1
    assert str(tmp_path / "none") in failure.sentence


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("there is no task", "there is no task."),
        ("run: nakamura-misaki init-db", "run: nakamura-misaki init-db"),
        (
            "run: nakamura-misaki reembed",
            "run: nakamura-misaki reembed",
        ),
    ],
)
def test_cli_error_ends_with_a_full_stop_or_a_command_to_copy(message: str, sentence: str) -> None:
    assert describe(errors.NotFound(message)).sentence == sentence


def test_cli_broken_pipe_is_quiet() -> None:
    process = subprocess.Popen(
        [*MODULE, "completion", "bash"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, b"")


def test_cli_ctrl_c_exits_130_without_a_traceback(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        [*MODULE, "note", "add", "-"],
        stdin=read_end,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        # Whoever runs the tests in the background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            _wait_until_reading_stdin(process.pid)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    os.close(write_end)
    os.close(read_end)
    assert (process.returncode, err) == (130, b"Error: interrupted.\n")


def _wait_until_reading_stdin(pid: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/wchan").read_text() in ("pipe_read", "anon_pipe_read"):
            return
        if Path(f"/proc/{pid}/syscall").exists():
            try:
                if Path(f"/proc/{pid}/syscall").read_text().startswith("0 0x0 "):
                    return
            except OSError:
                pass
        time.sleep(0.01)
    raise AssertionError("never began to read standard input")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_cli_completion_script_asks_this_program(cli: CommandLine, shell: str) -> None:
    script = cli("completion", shell).out
    assert f"_NAKAMURA_MISAKI_COMPLETE={shell}_complete" in script
    assert cli("completion", shell, "--json").json["script"] + "\n" == script


def test_cli_completes_commands_and_choices() -> None:
    def complete(words: str) -> list[str]:
        environment = os.environ | {
            "_NAKAMURA_MISAKI_COMPLETE": "bash_complete",
            "COMP_WORDS": f"nakamura-misaki {words}",
            "COMP_CWORD": str(len(words.split())),
        }
        done = subprocess.run(
            MODULE, env=environment, capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stderr == ""
        return [line.removeprefix("plain,") for line in done.stdout.splitlines()]

    assert complete("ta") == ["task"]
    assert complete("task list --status comp") == ["completed"]


def test_cli_help_and_completion_import_nothing_slow() -> None:
    script = (
        "import sys; from nakamura_misaki.adapters.primary.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'sqlalchemy', 'openai', 'pydantic', 'rich', 'asyncio', 'asyncpg', 'alembic'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_cli_stdout_that_is_not_utf8_gets_escapes_never_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stdout)
    output.print_json({"query": "移行"})
    output.print_human(output.styled("移行"))
    stdout.flush()
    assert json.loads(written.getvalue().split(b"}")[0] + b"}") == {"query": "移行"}
    assert written.getvalue().endswith(b"\\u79fb\\u884c\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_cli_full_disk_is_a_failure_in_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MODULE, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "Error: the output: No space left on device.\n")
