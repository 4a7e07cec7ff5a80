"""The exchange itself: who holds on to the database stops it, and is told."""

import asyncio

import pytest

from database_server import connect
from integration.backup_stage import BackupStage
from nakamura_misaki.infrastructure.backup import exchange


def restored_in_use(stage: BackupStage, monkeypatch: pytest.MonkeyPatch, *, looks: int) -> str:
    """Restore while somebody uses the database, who is not seen the first ``looks`` times."""
    dump = stage.back_up()
    before = stage.rows()
    real, looked = exchange.require_unused, 0

    async def look(driver: object, database: str) -> None:
        nonlocal looked
        looked += 1
        if looked > looks:
            await real(driver, database)

    for module in ("exchange", "restoring"):
        monkeypatch.setattr(f"nakamura_misaki.infrastructure.backup.{module}.require_unused", look)
    with asyncio.Runner() as runner:
        connection = runner.run(connect(stage.server.url(stage.database)))
        runner.run(connection.execute("SET application_name = 'psql'"))
        refused = stage.cli("restore", str(dump), "--yes", "--json")
        runner.run(connection.close())
    assert (refused.code, refused.error["kind"]) == (1, "database_in_use")
    assert stage.rows() == before
    assert stage.databases() == []
    return refused.error["error"]


def test_who_comes_in_the_last_moment_is_named(
    stage: BackupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = restored_in_use(stage, monkeypatch, looks=2)
    user = f"psql as {stage.superuser} (1)"
    assert said.startswith(f"The database {stage.database} is in use by {user}: ")


def test_who_is_gone_when_looked_for_is_a_reason_to_try_again(
    stage: BackupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = restored_in_use(stage, monkeypatch, looks=9)
    assert said.startswith("The databases can't be exchanged: ")
    assert said.endswith("using the database); try again.")
    assert "\n" not in said


def test_whoever_looks_into_the_new_database_does_not_stop_it(
    stage: BackupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an exporter of metrics does, which asks every database that there is."""
    dump = stage.back_up()
    stage.server.run("TRUNCATE notes CASCADE", database=stage.database)
    real = exchange.exchange
    guests = []

    async def with_a_guest(server: object, driver: object, new: str, before: str, **rest: bool):
        guests.append(await connect(stage.server.url(new)))
        return await real(server, driver, new, before, **rest)

    monkeypatch.setattr("nakamura_misaki.infrastructure.backup.restoring.exchange", with_a_guest)
    assert stage.cli("restore", str(dump), "--yes").code == 0
    assert len(stage.rows()["notes"]) == 80
    assert len(guests) == 1


def test_connections_that_may_not_be_ended_are_told(
    stage: BackupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = stage.back_up()
    before = stage.rows()
    monkeypatch.setattr(
        exchange,
        "_END",
        "SELECT pg_terminate_backend(no_such_column) FROM pg_stat_activity, unnest($1::text[])",
    )
    with asyncio.Runner() as runner:
        connection = runner.run(connect(stage.server.url(stage.database)))
        refused = stage.cli("restore", str(dump), "--yes", "--disconnect")
        runner.run(connection.close())
    assert refused.code != 0
    assert "no_such_column" in refused.err
    assert stage.rows() == before
    assert stage.databases() == []
