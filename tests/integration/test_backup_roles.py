"""Backups by whatever role there is, on whatever server: what each may do, and what it is told."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from cli_driver import CommandLine
from database_server import Server, run_apart, server_directory
from integration.backup_stage import BackupStage
from integration.terminal import answered
from integration.two_workspaces import OURS
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.roles import OWNER_ROLE, RUNTIME_ROLE
from nakamura_misaki.infrastructure.database.upgrade import downgrade, upgrade


@pytest.fixture
def role(stage: BackupStage) -> Iterator[str]:
    """A role that may log in and nothing else yet."""
    name = f"role_{uuid4().hex[:12]}"
    password = os.environ.get("TEST_RUNTIME_PASSWORD", "unused")
    stage.server.run(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    yield name
    for database in (stage.database, *stage.databases()):
        stage.server.run(f"DROP OWNED BY {name} CASCADE", database=database)
    stage.server.run(f"DROP ROLE {name}")


def test_role_from_which_rows_are_hidden_is_told_what_to_set(stage: BackupStage) -> None:
    """A dump as the owner would fail, or with --enable-row-security hold no row."""
    stage.cli.set(
        DATABASE_ADMIN_URL="", DATABASE_OWNER_URL=stage.server.url(stage.database, RUNTIME_ROLE)
    )
    dump = stage.root / "any.dump"
    expected = (
        f"The role {RUNTIME_ROLE} of DATABASE_OWNER_URL may not do this: set DATABASE_ADMIN_URL to"
        " a superuser, or to a role that has BYPASSRLS and CREATEDB."
    )
    for command in (("backup",), ("verify-backup", str(dump)), ("restore", str(dump), "--yes")):
        if command[0] != "backup":
            stage.cli.set(DATABASE_ADMIN_URL=stage.server.url(stage.database))
            shutil.copy(stage.back_up(), dump)
            stage.cli.set(DATABASE_ADMIN_URL="")
        refused = stage.cli(*command)
        assert (refused.code, refused.err) == (5, f"Error: {expected}\n")
    assert stage.databases() == []


def test_owner_url_serves_where_it_is_a_superusers(stage: BackupStage) -> None:
    stage.cli.set(DATABASE_ADMIN_URL="", DATABASE_OWNER_URL=stage.server.url(stage.database))
    stage.back_up()
    assert stage.cli("verify-backup").code == 0


def test_admin_url_may_name_another_database_of_the_server(stage: BackupStage) -> None:
    stage.cli.set(DATABASE_ADMIN_URL=stage.server.url("postgres"))
    dump = stage.back_up()
    assert stage.manifest()["database"] == stage.database
    assert stage.cli("restore", str(dump), "--yes").code == 0


def test_another_database_is_found_on_servers_without_the_usual_ones(
    stage: BackupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a connection to one to make and rename others."""
    elsewhere = "nakamura_misaki.infrastructure.backup.server._ELSEWHERE"
    dump = stage.back_up()
    monkeypatch.setattr(elsewhere, ("there_is_none", stage.database, "template1"))
    assert stage.cli("restore", str(dump), "--yes").code == 0
    monkeypatch.setattr(elsewhere, ("there_is_none",))
    none = stage.cli("restore", str(dump), "--yes")
    assert (none.code, 'database "there_is_none" does not exist' in none.err) == (5, True)
    monkeypatch.setattr(elsewhere, ())
    assert "has no database but the service's own" in stage.cli("verify-backup").err
    stage.cli.set(DATABASE_ADMIN_URL=stage.server.url("postgres"))
    assert stage.cli("verify-backup").code == 0
    stage.cli.set(DATABASE_ADMIN_URL=stage.server.url("postgres", "there_is_no_such_role"))
    refused = stage.cli("verify-backup")
    assert refused.code == 5


def test_role_that_only_bypasses_row_security_backs_up_and_may_not_restore(
    stage: BackupStage, role: str
) -> None:
    stage.server.run(f"ALTER ROLE {role} BYPASSRLS")
    stage.cli.set(DATABASE_ADMIN_URL=stage.server.url(stage.database, role))
    denied = stage.cli("backup")
    assert (denied.code, "permission denied for table" in denied.err) == (5, True)
    stage.server.run(f"GRANT pg_read_all_data TO {role}")
    dump = stage.back_up()
    assert stage.manifest()["rows"]["notes"] == 80
    for command in (("verify-backup",), ("restore", str(dump), "--yes")):
        refused = stage.cli(*command)
        assert (refused.code, f"The role {role} of DATABASE_ADMIN_URL may not" in refused.err) == (
            5,
            True,
        )
    stage.server.run(f"ALTER ROLE {role} CREATEDB")
    refused = stage.cli("verify-backup")
    assert refused.code in (1, 5)
    assert "permission denied" in refused.err or "must be able to SET ROLE" in refused.err
    assert refused.err.count("\n") == 1
    assert stage.databases() == []


def test_one_role_for_everything_is_restored_as_that_role(
    stage: BackupStage, role: str, empty_database: str
) -> None:
    """Where one role owns the tables and runs; its schema is brought up as that role, too."""
    stage.server.run(f"ALTER DATABASE {empty_database} OWNER TO {role}")
    stage.server.run("CREATE EXTENSION vector SCHEMA public", database=empty_database)
    run_apart(upgrade(stage.server.url(empty_database, role)))
    stage.cli.set(
        DATABASE_URL=stage.server.url(empty_database, role),
        DATABASE_OWNER_URL="",
        DATABASE_ADMIN_URL=stage.server.url(empty_database),
    )
    assert stage.cli("note", "add", "決定: 税の売上は四半期ごとに締める").code == 0
    run_apart(downgrade(stage.server.url(empty_database, role), "0005"))
    dump = stage.back_up()
    assert stage.manifest()["roles"] == [RUNTIME_ROLE, role]  # it is on this server, too
    found = stage.cli("verify-backup", "--json").json["found_again"]
    assert found["legs"] == ["vector", "words"]
    told = stage.cli("restore", str(dump), "--yes", "--json").json
    try:
        owner = (
            "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ' ') FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        assert stage.ask(owner, empty_database) == role
        (note,) = stage.cli("note", "search", "売上", "--json").json["notes"]
        assert note["legs"] == ["vector", "words"]
        assert stage.wrong() == []
    finally:
        stage.server.drop_database(told["previous"])
        stage.server.run(f"ALTER DATABASE {empty_database} OWNER TO CURRENT_USER")
        stage.server.run(f"DROP OWNED BY {role} CASCADE", database=empty_database)


@pytest.fixture
def fresh_server() -> Iterator[EmbeddedServer]:
    """A server with no database and no role of ours: another machine, or this one wiped."""
    directory = server_directory()
    directory.chmod(0o755)
    server = EmbeddedServer(directory / "data", durable=False)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def test_backup_restores_on_a_server_that_has_nothing_yet(
    stage: BackupStage, fresh_server: EmbeddedServer, cli: CommandLine
) -> None:
    """The embedded server, of which it needs no setting; as after a lost machine."""
    before = stage.rows()
    dump = stage.back_up()
    for name in stage.settings:
        cli.set(**{name: ""})
    cli.set(
        NAKAMURA_MISAKI_DATA_DIR=str(fresh_server.data_dir),
        DATABASE_OWNER_URL="",
        EMBEDDING_DIMENSIONS="64",
        WORKSPACE_ID=OURS,
    )
    unknown = cli("verify-backup", str(dump))
    assert unknown.code == 5
    assert f"create them first: {RUNTIME_ROLE}, {OWNER_ROLE}." in unknown.err
    told = cli("restore", str(dump), "--yes", "--json").json
    assert told["actions"] == [f"role {RUNTIME_ROLE} created", f"role {OWNER_ROLE} created"]
    assert (told["database"], told["previous"]) == ("nakamura_misaki", None)
    there = BackupStage(
        cli=cli,
        server=Server(fresh_server.url("postgres")),
        database="nakamura_misaki",
        database_url="",
        programs=fresh_server.bin_dir,
        root=stage.root,
    )
    assert there.rows() == before
    assert there.wrong() == []
    own = cli("backup", "--json").json
    assert Path(own["file"]).parent == fresh_server.data_dir / "backups"
    assert own["rows"] == told["rows"]
    assert cli("verify-backup", "--json").json["file"] == own["file"]
    assert cli("restore", own["file"], "--yes").code == 0
    assert there.rows() == before
    there.server.run("DROP DATABASE nakamura_misaki")
    gone = cli("backup")
    assert (gone.code, 'database "nakamura_misaki" does not exist' in gone.err) == (5, True)


def test_password_reaches_the_programs(stage: BackupStage, role: str) -> None:
    """A server that really asks for one, which it would not get from the URL by itself."""
    hba = Path(stage.ask("SHOW hba_file"))
    if not os.access(hba, os.W_OK):
        pytest.skip("pg_hba.conf of the tests' server is not ours to write")
    password = "p:w\\ä 密"
    before = hba.read_text()
    hba.write_text(f"local all {role} scram-sha-256\nhost all {role} all scram-sha-256\n{before}")
    try:
        stage.server.run(
            f"ALTER ROLE {role} SUPERUSER PASSWORD '{password}'", "SELECT pg_reload_conf()"
        )
        url = make_url(stage.server.url(stage.database)).set(username=role, password=password)
        stage.cli.set(DATABASE_ADMIN_URL=url.render_as_string(hide_password=False))
        dump = stage.back_up()
        assert stage.cli("verify-backup").code == 0
        assert stage.cli("restore", str(dump), "--yes").code == 0
        wrong = url.set(password="falsch")
        stage.cli.set(DATABASE_ADMIN_URL=wrong.render_as_string(hide_password=False))
        refused = stage.cli("backup")
        assert (refused.code, "password authentication failed" in refused.err) == (5, True)
        assert "falsch" not in refused.err
    finally:
        hba.write_text(before)
        stage.server.run("SELECT pg_reload_conf()")


def test_json_files_are_no_database(stage: BackupStage) -> None:
    stage.cli.set(STORAGE_BACKEND="json", JSON_DATA_DIR=str(stage.root))
    refused = stage.cli("backup")
    assert (refused.code, "this needs PostgreSQL" in refused.err) == (5, True)
    assert stage.status()["last_failure"] > 0


def test_restore_asks_at_a_terminal(stage: BackupStage) -> None:
    dump = stage.back_up()
    stage.server.run("TRUNCATE notes CASCADE", database=stage.database)

    command = stage.command()
    code, said = answered(command, "restore", str(dump), answer="n")
    rows = sum(stage.manifest()["rows"].values())
    assert code == 130
    assert f"and holds {rows} rows in 12 tables." in said
    assert f"This backup replaces the database {stage.database}, which is kept" in said
    assert (stage.rows()["notes"], stage.databases()) == ([], [])
    code, said = answered(command, "restore", str(dump), answer="y")
    assert (code, "restoring" in said, "DROP DATABASE" in said) == (0, True, True)
    assert len(stage.rows()["notes"]) == 80
