"""The documents say what is so: links lead somewhere, commands exist, examples run."""

import ast
import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from database_server import connect
from nakamura_misaki.adapters.primary.cli.failures import EXIT_CODES
from nakamura_misaki.adapters.primary.cli.main import PROGRAM, cli
from nakamura_misaki.infrastructure.settings import Settings
from nakamura_misaki.infrastructure.settings_sources import environment_name

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
README_JA = ROOT / "README.ja.md"
PAGES = (
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "pkgs" / "nakamura-misaki" / "README.md",
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _fences(page: Path, *languages: str) -> list[str]:
    found = _FENCE.findall(page.read_text("utf-8"))
    return [body for language, body in found if language in languages]


def _anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _broken_links(page: Path) -> list[str]:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_docs_links_lead_to_files_and_headings(page: Path) -> None:
    assert _broken_links(page) == []


def test_docs_link_check_notices_what_is_not_there(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](#here) [b](page.md#here) [c](gone.md) [d](#there)\n```\n# no\n```\n"
    )

    assert _broken_links(page) == ["gone.md", "#there"]


def _lines_of_shell(page: Path) -> Iterator[str]:
    for body in _fences(page, "sh"):
        yield from body.splitlines()
    for body in _fences(page, "console"):
        yield from (line[2:] for line in body.splitlines() if line.startswith("$ "))


def _calls(line: str) -> Iterator[list[str]]:
    """The arguments of every call of the command in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            while words and re.match(r"[A-Z_]+=", words[0]):
                del words[0]
            if words and Path(words[0]).name == PROGRAM:
                yield words[1:]
            words = []
        else:
            words.append(word)


def _commands(page: Path) -> list[tuple[list[str], bool]]:
    """Every call that the page shows, and whether it is complete, rather than named in a sentence."""
    complete = [(call, True) for line in _lines_of_shell(page) for call in _calls(line)]
    named = re.findall(rf"`({PROGRAM} [^`\n]+)`", _FENCE.sub("", page.read_text("utf-8")))
    return complete + [(call, False) for text in named for call in _calls(text)]


def _parse(arguments: list[str], *, is_complete: bool) -> None:
    """Parse a call as the command line would, without running it. Raises click.UsageError."""
    command: click.Command = cli
    context = click.Context(cli, info_name=PROGRAM)
    words = [word for word in arguments if word not in ("…", "COMMAND")]
    while isinstance(command, click.Group):
        _, words, _ = command.make_parser(context).parse_args(words)
        if not words:
            return
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    try:
        command.make_context(context.info_name, words, parent=context.parent)
    except click.MissingParameter:
        if is_complete:
            raise
    except click.exceptions.Exit:
        pass  # --help


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_docs_show_only_commands_that_exist(page: Path) -> None:
    for arguments, is_complete in _commands(page):
        try:
            _parse(arguments, is_complete=is_complete)
        except click.UsageError as error:
            pytest.fail(f"{PROGRAM} {shlex.join(arguments)}: {error.format_message()}")


def test_docs_show_every_command_somewhere() -> None:
    shown = {arguments[0] for page in PAGES for arguments, _ in _commands(page)}

    assert set(cli.list_commands(click.Context(cli))) <= shown


@pytest.mark.parametrize(
    "arguments",
    [["mirgate", "data"], ["migrate", "data", "--verfy"], ["migrate"], ["task", "finish", "1"]],
    ids=" ".join,
)
def test_docs_command_check_notices_what_is_not_there(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        _parse(arguments, is_complete=True)


def test_docs_readme_example_prints_what_it_says(database_url: str, tmp_path: Path) -> None:
    (program,) = _fences(README, "python")
    output = README.read_text("utf-8").split(program)[1].split("```text\n")[1].split("```")[0]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=os.environ | {"DATABASE_URL": database_url, "PYTHONUTF8": "1"},
    )

    assert (done.stderr, done.stdout) == ("", output)


def test_docs_both_readmes_show_the_same_code_and_settings() -> None:
    english, japanese = README.read_text("utf-8"), README_JA.read_text("utf-8")

    assert _FENCE.findall(japanese) == _FENCE.findall(english)
    assert japanese.count("\n## ") == english.count("\n## ")
    assert _settings(README_JA) == _settings(README)


def _settings(page: Path) -> list[str]:
    return re.findall(r"^\| `([A-Z_]+)` \|", page.read_text("utf-8"), re.MULTILINE)


def test_docs_readme_names_every_setting() -> None:
    assert set(_settings(README)) == {environment_name(name) for name in Settings.model_fields}


def test_docs_operations_name_every_exit_code() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    table = text.split("## Exit codes")[1]

    rows = re.findall(r"^\| (\d+) \| (.+) \|$", table, re.MULTILINE)
    assert [(int(code), meaning) for code, meaning in rows] == list(EXIT_CODES)


def _schema_page() -> str:
    return (ROOT / "docs" / "database-schema.md").read_text("utf-8")


def _query(url: str, statement: str) -> list[tuple[object, ...]]:
    async def fetch() -> list[tuple[object, ...]]:
        connection = await connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_docs_schema_describes_every_column(owner_url: str) -> None:
    described = [
        (table, column, kind, null == "yes")
        for table, section in re.findall(
            r"^### `(\w+)`\n(.*?)(?=^##)", _schema_page(), re.MULTILINE | re.DOTALL
        )
        for column, kind, null in re.findall(
            r"^\| `(\w+)` \| (\w+) \| (yes)? ?\|", section, re.MULTILINE
        )
    ]

    actual = _query(
        owner_url,
        "SELECT c.relname, a.attname, replace(format_type(a.atttypid, NULL),"
        " 'timestamp with time zone', 'timestamptz'), NOT a.attnotnull"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        " AND c.relname <> 'alembic_version' ORDER BY c.relname, a.attnum",
    )
    assert sorted(described, key=lambda row: row[0]) == actual


def test_docs_schema_names_every_index_constraint_policy_and_function(owner_url: str) -> None:
    named = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", _schema_page()))

    actual = _query(
        owner_url,
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
        " AND tablename <> 'alembic_version'"
        " UNION SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " AND conrelid NOT IN (0, 'alembic_version'::regclass)"
        " UNION SELECT policyname FROM pg_policies"
        " UNION SELECT proname FROM pg_proc WHERE proname LIKE 'nakamura%'"
        " UNION SELECT rolname FROM pg_roles WHERE rolname LIKE 'nakamura%'"
        " UNION SELECT version_num FROM alembic_version",
    )
    present = {str(name) for (name,) in actual}
    assert present - named == set()
    kinds = ("pk_", "uq_", "ck_", "fk_", "ix_", "nakamura_misaki")
    settings = {"nakamura_misaki"}
    assert {name for name in named if name.startswith(kinds)} - settings <= present


def test_docs_plan_names_tests_that_are_there() -> None:
    plan = (ROOT / "docs" / "IMPLEMENTATION_PLAN.md").read_text("utf-8")
    rows = re.findall(r"^\| `(tests/\S+\.py)` \| (.+) \|$", plan, re.MULTILINE)

    assert rows
    for file, tests in rows:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        defined = {getattr(node, "name", None) for node in ast.walk(tree)}
        assert set(re.findall(r"`(\w+)`", tests)) <= defined, file
