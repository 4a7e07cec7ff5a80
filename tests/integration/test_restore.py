"""``restore``: a backup takes the place of the database whole, or nothing happens to that."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from database_server import connect, run_apart
from integration.backup_stage import BackupStage, Gate, replaced, started
from nakamura_misaki.infrastructure.database.roles import OWNER_ROLE, RUNTIME_ROLE
from nakamura_misaki.infrastructure.database.upgrade import downgrade, head_revision

_NEWER = (
    "is of schema revision 9999, which this release does not know: it was made by a newer one."
    " Use that release."
)
_ROLES = "needs roles that this server does not have; create them first"


@contextmanager
def connected(
    stage: BackupStage, database: str, role: str | None = None
) -> Iterator["asyncio.Runner"]:
    """Somebody who uses the database."""
    with asyncio.Runner() as runner:
        connection = runner.run(connect(stage.server.url(database, role)))
        runner.run(connection.execute("SET application_name = 'psql'"))
        try:
            yield runner
        finally:
            runner.run(connection.close())


def test_restore_brings_back_every_row_and_keeps_what_was_there(stage: BackupStage) -> None:
    before = stage.rows()
    dump = stage.back_up()
    stage.server.run("TRUNCATE notes, tasks CASCADE", database=stage.database)
    stage.server.run("UPDATE sessions SET title = '後から'", database=stage.database)
    after = stage.rows()

    told = stage.cli("restore", str(dump), "--yes", "--json").json
    assert stage.rows() == before
    assert (told["database"], told["rows"]) == (stage.database, stage.manifest()["rows"])
    assert (told["from_revision"], told["to_revision"]) == (head_revision(), head_revision())
    assert (told["actions"], told["left_out"], told["rows_compared"]) == ([], [], True)
    assert stage.databases() == [told["previous"]]
    assert told["previous"].startswith(f"{stage.database}_before_2")
    assert stage.rows(told["previous"]) == after
    assert stage.tables_owner() == OWNER_ROLE
    (found,) = stage.cli("note", "search", "極秘 7", "--limit", "1", "--json").json["notes"]
    assert found["content"].endswith("極秘 7")
    assert stage.wrong() == []
    assert stage.ask(
        "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'notes'", stage.database
    )  # so that the first search has a good plan


def test_restore_says_what_it_did_and_how_to_drop_what_was(stage: BackupStage) -> None:
    dump = stage.back_up()
    done = stage.cli("restore", str(dump), "--yes")
    (previous,) = stage.databases()
    rows = sum(stage.manifest()["rows"].values())
    first, second, third = done.out.splitlines()
    assert first.startswith(
        f"{stage.database} is this backup now: {rows} rows in 12 tables, at revision"
        f" {head_revision()}, in "
    )
    assert second == "The database of before is kept; drop it when it is not needed:"
    assert third == f"  DROP DATABASE {previous};"
    stage.server.run(third)
    assert (
        stage.cli("restore", str(dump), "--yes", "--drop-previous", "--json").json["previous"]
        is None
    )
    assert stage.databases() == []


def test_without_a_terminal_it_takes_a_yes(stage: BackupStage) -> None:
    dump = stage.back_up()
    refused = stage.cli("restore", str(dump))
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        f"Error: This backup replaces the database {stage.database}, which is kept under another"
        " name: without a terminal, say --yes.\n"
    )
    assert "which is deleted" in stage.cli("restore", str(dump), "--drop-previous").err
    assert stage.databases() == []
    assert stage.cli("restore", "none.dump", "--yes").code == 2


def test_who_is_connected_is_named_and_nothing_is_done(stage: BackupStage) -> None:
    dump = stage.back_up()
    before = stage.rows()
    with connected(stage, stage.database), connected(stage, stage.database, RUNTIME_ROLE):
        refused = stage.cli("restore", str(dump), "--yes", "--json")
        assert (refused.code, refused.error["kind"]) == (1, "database_in_use")
        users = ", ".join(f"psql as {role} (1)" for role in sorted([RUNTIME_ROLE, stage.superuser]))
        assert refused.error["error"] == (
            f"The database {stage.database} is in use by {users}: stop that first, or give"
            " --disconnect to end these connections."
        )
        assert stage.databases() == []
    assert stage.rows() == before


def test_disconnect_ends_whoever_is_connected(stage: BackupStage) -> None:
    dump = stage.back_up()
    stage.server.run("TRUNCATE notes CASCADE", database=stage.database)

    async def restore_under_use() -> None:
        url = stage.server.url(stage.database, RUNTIME_ROLE)
        is_over = asyncio.Event()
        reconnected = 0

        async def use() -> None:
            """As a pool does: whoever loses its connection opens another at once."""
            nonlocal reconnected
            while not is_over.is_set():
                try:
                    connection = await connect(url)
                    reconnected += 1
                    while not is_over.is_set():
                        await connection.fetchval("SELECT pg_sleep(0.002)")
                    await connection.close()
                except Exception:  # noqa: BLE001  (whatever it is that ends a connection)
                    await asyncio.sleep(0.001)

        users = [asyncio.create_task(use()) for _ in range(8)]
        await asyncio.sleep(0.3)
        try:
            await asyncio.to_thread(stage.command().json, "restore", dump, "--yes", "--disconnect")
            await asyncio.sleep(0.2)
        finally:
            is_over.set()
            await asyncio.gather(*users)
        assert reconnected > 8

    asyncio.run(restore_under_use())
    assert len(stage.rows()["notes"]) == 80


def test_who_connects_before_the_exchange_stops_it(stage: BackupStage) -> None:
    dump = stage.back_up()
    stage.server.run("TRUNCATE notes CASCADE", database=stage.database)
    before = stage.rows()
    gate = Gate(stage, "pg_restore", when="--dbname")
    command = stage.command(POSTGRESQL_PROGRAMS=str(gate.directory))
    with started(command, "restore", dump, "--yes") as process:
        gate.wait()
        assert stage.cli("restore", str(dump), "--yes", "--json").error["kind"] == "already_at_work"
        with connected(stage, stage.database):
            gate.open()
            _, err = process.communicate(timeout=60)
    assert (process.returncode, f"is in use by psql as {stage.superuser} (1)" in err) == (1, True)
    assert stage.rows() == before
    assert stage.databases() == []


def test_dump_of_an_older_schema_is_brought_up_to_date(stage: BackupStage) -> None:
    run_apart(downgrade(stage.server.url(stage.database), "0004"))
    before = stage.rows_of("notes")
    dump = stage.back_up()
    assert stage.manifest()["schema_revision"] == "0004"
    verified = stage.cli("verify-backup", "--json").json
    assert (verified["schema_revision"], verified["rows_compared"]) == ("0004", True)
    assert verified["found_again"]["legs"] == ["vector", "words"]
    assert stage.ask("SELECT version_num FROM alembic_version", stage.database) == "0004"

    done = stage.cli("restore", str(dump), "--yes")
    assert done.out.splitlines()[0] == f"- schema brought from 0004 to {head_revision()}"
    assert stage.rows_of("notes") == before
    assert stage.tables_owner() == OWNER_ROLE
    assert stage.wrong() == []


def test_dump_of_a_newer_schema_is_refused_before_anything_is_done(stage: BackupStage) -> None:
    stage.server.run("UPDATE alembic_version SET version_num = '9999'", database=stage.database)
    dump = stage.back_up()
    stage.server.run(
        f"UPDATE alembic_version SET version_num = '{head_revision()}'", database=stage.database
    )
    # Nor without its manifest, which says the same, or with one that doesn't.
    for change in (lambda: None, _lie_in(dump), dump.with_suffix(".json").unlink):
        change()
        for command in (("restore", str(dump), "--yes"), ("verify-backup", str(dump))):
            gate = Gate(stage, "pg_restore", when="--dbname")  # it must not come to that
            stage.cli.set(POSTGRESQL_PROGRAMS=str(gate.directory))
            refused = stage.cli(*command)
            assert (refused.code, refused.err) == (
                7,
                f"Error: {dump} {_NEWER}\n",
            )
    assert stage.databases() == []


def _lie_in(dump: Path):
    def change() -> None:
        manifest = dump.with_suffix(".json")
        noted = json.loads(manifest.read_text("utf-8")) | {"schema_revision": head_revision()}
        manifest.write_text(json.dumps(noted))

    return change


def test_database_that_is_gone_is_made_again(stage: BackupStage) -> None:
    stage.server.run(f"ALTER DATABASE {stage.database} OWNER TO {OWNER_ROLE}")
    _set_properties(stage)
    before, properties = stage.rows(), _properties(stage, stage.database)
    dump = stage.back_up()
    stage.server.drop_database(stage.database)
    refused = stage.cli("restore", str(dump))
    assert f"This backup becomes the database {stage.database}, which is not there now" in (
        refused.err
    )
    told = stage.cli("restore", str(dump), "--yes", "--json").json
    assert (told["previous"], stage.databases()) == (None, [])
    assert stage.rows() == before
    assert _properties(stage, stage.database) == properties


def test_database_that_is_gone_comes_back_without_a_manifest(stage: BackupStage) -> None:
    before = stage.rows()
    dump = stage.back_up()
    dump.with_suffix(".json").unlink()
    stage.server.drop_database(stage.database)
    done = stage.cli("restore", str(dump), "--yes", "--json")
    assert (done.code, done.json["rows_compared"]) == (0, False)
    assert "there is no manifest" in done.err
    assert stage.rows() == before
    owner, encoding = _properties(stage, stage.database)[:2]
    assert (owner, encoding) == (OWNER_ROLE, "UTF8")


def test_settings_and_rights_of_the_database_are_those_of_the_present_one(
    stage: BackupStage,
) -> None:
    dump = stage.back_up()
    _set_properties(stage)
    properties = _properties(stage, stage.database)
    told = stage.cli("restore", str(dump), "--yes", "--json").json
    assert told["left_out"] == []
    assert _properties(stage, stage.database) == properties
    assert _properties(stage, told["previous"]) == properties


def _set_properties(stage: BackupStage) -> None:
    name = stage.database
    stage.server.run(
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO {RUNTIME_ROLE} WITH GRANT OPTION",
        f"ALTER DATABASE {name} CONNECTION LIMIT 77",
        f"ALTER DATABASE {name} SET default_transaction_read_only = on",
        f'ALTER DATABASE {name} SET search_path = "$user", public, "変な, 名前"',
        f"ALTER DATABASE {name} SET \"my.own\" = 'it''s = a \\ ''value'''",
        f"ALTER ROLE {RUNTIME_ROLE} IN DATABASE {name} SET work_mem = '17MB'",
    )


_PROPERTIES = """
SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider,
    datconnlimit, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) AS a),
    (SELECT array_agg((setrole::regrole::text, setconfig)::text ORDER BY setrole)
    FROM pg_db_role_setting WHERE setdatabase = d.oid)
FROM pg_database AS d WHERE datname = $1"""


def _properties(stage: BackupStage, database: str) -> list[object]:
    async def look() -> list[object]:
        connection = await connect(stage.server.url("postgres"))
        try:
            return list(await connection.fetchrow(_PROPERTIES, database))
        finally:
            await connection.close()

    return asyncio.run(look())


def test_what_the_manifest_says_is_taken_as_far_as_the_server_can(stage: BackupStage) -> None:
    """On another machine there may be no such role, and settings that are not known any more."""
    dump = stage.back_up()
    stage.server.drop_database(stage.database)
    _edit_properties(
        dump,
        owner="nobody_here",
        tablespace="nowhere",
        grants=[[None, "CONNECT", False], ["nobody_here", "CREATE", True]],
        settings=[[None, "work_mem=9MB"], ["nobody_here", "work_mem=1MB"], [None, "no_such=1"]],
    )
    done = stage.cli("restore", str(dump), "--yes", "--json")
    assert done.code == 0
    (left_out,) = done.json["left_out"]
    assert left_out.startswith("the setting no_such=1 (")
    assert f"the restored database is without {left_out}." in json.loads(done.err)["warning"]
    *_, grants, settings = _properties(stage, stage.database)
    maker = stage.superuser  # who owns it then
    assert set(grants) == {f"=c/{maker}", f"{maker}=CTc/{maker}"}
    assert settings == ["(-,{work_mem=9MB})"]


def test_locale_that_the_server_does_not_know_is_one_sentence(stage: BackupStage) -> None:
    dump = stage.back_up()
    stage.server.drop_database(stage.database)
    _edit_properties(dump, collate="tlh_QO", provider="libc", locale=None)
    failed = stage.cli("restore", str(dump), "--yes")
    assert (failed.code, failed.err.count("\n")) == (1, 1)
    assert failed.err.startswith(
        "Error: The database server refuses: invalid LC_COLLATE locale name"
    )
    stage.server.run(f"CREATE DATABASE {stage.database}")


def _edit_properties(dump: Path, **changes: object) -> None:
    manifest = dump.with_suffix(".json")
    noted = json.loads(manifest.read_text("utf-8"))
    noted["properties"] |= changes
    manifest.write_text(json.dumps(noted))


def test_role_that_is_missing_is_named(stage: BackupStage) -> None:
    role = f"{stage.database}_reader"
    stage.server.run(f"CREATE ROLE {role}")
    stage.server.run(f"GRANT SELECT ON tasks TO {role}", database=stage.database)
    dump = stage.back_up()
    stage.server.run(f"DROP OWNED BY {role}", database=stage.database)
    stage.server.run(f"DROP ROLE {role}")
    for command in (("restore", str(dump), "--yes"), ("verify-backup",)):
        refused = stage.cli(*command)
        assert (refused.code, refused.err) == (
            5,
            f"Error: {dump} {_ROLES}: {role}.\n",
        )
    assert stage.databases() == []


def test_step_that_fails_leaves_everything_as_it_was(stage: BackupStage) -> None:
    dump = stage.back_up()
    before = stage.rows()
    text = "case $* in *--dbname*) echo 'pg_restore: error: the disk is gone' >&2; exit 1;; esac; exec REAL \"$@\""
    stage.cli.set(POSTGRESQL_PROGRAMS=str(replaced(stage, "pg_restore", text)))
    failed = stage.cli("restore", str(dump), "--yes")
    assert (failed.code, failed.err) == (
        1,
        f"Error: {dump} can't be restored: the disk is gone.\n",
    )
    assert stage.rows() == before
    assert stage.databases() == []


def test_dump_in_another_place_is_taken_with_its_manifest(stage: BackupStage) -> None:
    before = stage.rows()
    dump = stage.back_up()
    for path in (dump, dump.with_suffix(".json")):
        shutil.move(path, stage.root / path.name)
    stage.server.run("TRUNCATE notes CASCADE", database=stage.database)
    told = stage.cli("restore", dump.name, "--yes", "--json").json
    assert (told["file"], told["rows_compared"]) == (str(stage.root / dump.name), True)
    assert stage.rows() == before
