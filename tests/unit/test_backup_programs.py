"""PostgreSQL's programs are told of a server what the driver is told, and get no secret of ours."""

import asyncio
import os
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.infrastructure.backup import programs as module
from nakamura_misaki.infrastructure.backup.programs import Ended, Programs, connection_variables
from nakamura_misaki.infrastructure.backup.server import (
    DatabaseServer,
    database_of,
    identifier,
    literal,
    name_beside,
)
from nakamura_misaki.infrastructure.backup.unpacking import _has_only_that
from nakamura_misaki.infrastructure.database_url import normalise_database_url


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGSERVICE", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "told", "password"),
    [
        (
            "postgresql://u:p%40%3A@h:5433/d?sslmode=verify-full",
            {
                "PGHOST": "h",
                "PGPORT": "5433",
                "PGUSER": "u",
                "PGDATABASE": "d",
                "PGSSLMODE": "verify-full",
            },
            "p@:",
        ),
        (
            "postgresql://postgres@/nakamura_misaki?host=/run/postgresql&port=5432",
            {
                "PGHOST": "/run/postgresql",
                "PGPORT": "5432",
                "PGUSER": "postgres",
                "PGDATABASE": "nakamura_misaki",
            },
            None,
        ),
        (
            "postgresql://u@/d?host=a:1&host=b:2&target_session_attrs=read-write",
            {
                "PGHOST": "a,b",
                "PGPORT": "1,2",
                "PGUSER": "u",
                "PGDATABASE": "d",
                "PGTARGETSESSIONATTRS": "read-write",
            },
            None,
        ),
        (
            "postgresql://h/d?user=x&password=y&passfile=/etc/pass&prepared_statement_cache_size=0",
            {"PGHOST": "h", "PGUSER": "x", "PGDATABASE": "d", "PGPASSFILE": "/etc/pass"},
            "y",
        ),
        ("postgresql:///d?service=s", {"PGSERVICE": "s", "PGDATABASE": "d"}, None),
    ],
)
def test_url_means_the_same_to_the_programs(
    url: str, told: dict[str, str], password: str | None
) -> None:
    assert connection_variables(normalise_database_url(url)) == (told, password)


def test_without_a_host_they_look_where_the_driver_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SOCKET_DIRECTORIES", (str(tmp_path / "none"), str(tmp_path)))
    assert connection_variables("postgresql+asyncpg:///d")[0]["PGHOST"] == "localhost"
    (tmp_path / ".s.PGSQL.5432").touch()
    assert connection_variables("postgresql+asyncpg:///d")[0]["PGHOST"] == str(tmp_path)
    other_port = "postgresql+asyncpg:///d?port=5433"
    assert connection_variables(other_port)[0]["PGHOST"] == "localhost"
    monkeypatch.setenv("PGHOST", "db")
    assert "PGHOST" not in connection_variables("postgresql+asyncpg:///d")[0]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where pg_dump tells what it was given."""
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "$@"; env; cat "$PGPASSFILE"\n')
    program.chmod(0o755)
    return tmp_path


async def test_program_gets_the_password_in_a_file_and_nothing_of_the_rest(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-private")
    monkeypatch.setenv("PGPASSWORD", "another")
    monkeypatch.setenv("PGOPTIONS", "-c evil")
    monkeypatch.setenv("PGSSLROOTCERT", "/etc/root.crt")
    url = "postgresql+asyncpg://u:a%5Cb%3Ac@h/d"
    ended = await Programs(directory).run("pg_dump", "--x", url=url, options="-c jit=off")
    first, *rest = ended.output.decode().splitlines()
    assert (ended.code, first, rest[-1]) == (0, "--x", "*:*:*:*:a\\\\b\\:c")
    variables = dict(line.split("=", 1) for line in rest[:-1])
    assert variables["PGPASSFILE"].startswith("/proc/self/fd/")
    assert {name: variables[name] for name in ("PGOPTIONS", "PGSSLROOTCERT", "LC_ALL")} == {
        "PGOPTIONS": "-c jit=off",
        "PGSSLROOTCERT": "/etc/root.crt",
        "LC_ALL": "C",
    }
    assert not {"PGPASSWORD", "OPENAI_API_KEY"} & variables.keys()


async def test_password_that_no_file_can_hold_is_told(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds a line break"):
        await Programs(directory).run("pg_dump", url="postgresql+asyncpg://u:a%0Ab@h/d")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("pg_dump (PostgreSQL) 16.14", 16),
        ("pg_dump (PostgreSQL) 17.12 (Debian 17.12-0+deb13u1)", 17),
        ("pg_dump (PostgreSQL) 19devel", 19),
    ],
)
async def test_version_is_read(tmp_path: Path, text: str, version: int) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\necho '{text}'\n")
    program.chmod(0o755)
    assert await Programs(tmp_path).version("pg_dump") == (version, text)


async def test_program_that_is_missing_or_no_program_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=f"There is no pg_dump in {tmp_path}: set"):
        Programs(tmp_path).path("pg_dump")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="There is no pg_dump on the PATH"):
        Programs(None).path("pg_dump")
    program = tmp_path / "pg_dump"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    with pytest.raises(ConfigurationError, match="can't be run: Exec format error"):
        await Programs(None).version("pg_dump")
    program.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(ConfigurationError, match="does not tell its version: hello"):
        await Programs(None).version("pg_dump")


def test_reason_is_the_programs_own_or_the_signal() -> None:
    said = b"pg_dump: error: could not write to output file: No space left on device\n"
    assert Ended(1, b"", said).reason == "could not write to output file: No space left on device"
    assert Ended(-9, b"", b"").reason == "it was killed by signal 9"


@pytest.mark.parametrize("trap", ["", "trap '' TERM"], ids=["ends", "ignores SIGTERM"])
async def test_program_is_ended_with_whoever_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.setattr(module, "_ENDS_WITHIN", 0.2)
    pid = tmp_path / "pid"
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\n{trap}\necho $$ > {pid}\nexec sleep 60\n")
    program.chmod(0o755)
    running = asyncio.create_task(Programs(tmp_path).run("pg_dump"))
    while not (pid.exists() and pid.read_text()):  # noqa: ASYNC110  (a file tells nobody)
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


_UNKNOWN = (
    b"pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter"
    b' "transaction_timeout"\nCommand was: SET transaction_timeout = 0;\n'
)
_IGNORED = b"pg_restore: warning: errors ignored on restore: 2\n"
_REAL = (
    b"pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 3; 0 0 TABLE DATA notes\n"
    b'pg_restore: error: COPY failed for table "notes": ERROR:  no space\n'
)


@pytest.mark.parametrize(
    ("complaints", "harmless"),
    [
        (_UNKNOWN + _UNKNOWN + _IGNORED, True),
        (_UNKNOWN + _REAL + _IGNORED, False),
        (_REAL + _IGNORED, False),
    ],
)
def test_newer_pg_restore_is_forgiven_one_thing_only(complaints: bytes, harmless: bool) -> None:
    """As pg_restore 17.12 complains to a server of PostgreSQL 16."""
    assert _has_only_that(Ended(1, b"", complaints)) == harmless
    assert not _has_only_that(Ended(-9, b"", complaints))


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("postgresql+asyncpg://u:p@h/d", "d"),
        ("postgresql+asyncpg://u@/?host=/run/postgresql", "u"),
        ("postgresql+asyncpg://h?database=x&user=y", "x"),
        ("postgresql+asyncpg://h?user=y", "y"),
    ],
)
def test_database_is_the_one_that_the_driver_would_take(url: str, database: str) -> None:
    assert database_of(url) == database


def test_url_without_any_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names no database"):
        database_of("postgresql+asyncpg://h")


def test_urls_of_other_databases_keep_the_rest() -> None:
    url = "postgresql+asyncpg://u:p%40@/d?host=/run/postgresql&database=e"
    server = DatabaseServer(url, "d", setting="DATABASE_ADMIN_URL")
    assert server.url() == "postgresql+asyncpg://u:p%40@/d?host=%2Frun%2Fpostgresql"
    for name in ("日 本", "a/b?c"):
        other = make_url(server.url(name))
        assert (other.database, other.password) == (name, "p@")


def test_names_beside_a_database_fit_whatever_its_own_is() -> None:
    assert name_beside("nakamura_misaki", "_verify_0a1b2c3d") == "nakamura_misaki_verify_0a1b2c3d"
    long = name_beside("中村" * 20, "_before_20261125_023000")
    assert long.endswith(("村_before_20261125_023000", "中_before_20261125_023000"))
    assert len(long.encode()) <= 63


def test_sql_is_quoted() -> None:
    assert identifier('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    assert literal("a\\'b") == "E'a\\\\''b'"
