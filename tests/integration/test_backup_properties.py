"""What a database has beside its content is made again as it was, whoever provides its locale."""

import json

import pytest

from database_server import Server
from nakamura_misaki.domain.errors import BackupFailed
from nakamura_misaki.infrastructure.backup.properties import DatabaseProperties
from nakamura_misaki.infrastructure.backup.server import (
    DatabaseServer,
    drop,
    identifier,
    name_beside,
)


@pytest.mark.parametrize(
    "kind",
    [
        "LOCALE_PROVIDER libc LOCALE 'C.UTF-8'",
        "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
        "LOCALE 'C' ENCODING 'SQL_ASCII'",
        "LOCALE_PROVIDER icu ICU_LOCALE 'ja-JP' LOCALE 'C.UTF-8'",
        "LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&V << w <<< W' LOCALE 'C'",
        "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C.UTF-8'",
    ],
)
async def test_database_of_every_kind_is_made_again(
    server: Server, empty_database: str, kind: str
) -> None:
    """By way of a manifest's JSON, under a name that wants to be quoted."""
    names = [name_beside(empty_database, suffix) for suffix in ('_"a b"', "_日本")]
    there = DatabaseServer(server.url("postgres"), empty_database, setting="the test")
    async with there.beside() as driver:
        try:
            try:
                await driver.execute(
                    f"CREATE DATABASE {identifier(names[0])} TEMPLATE template0 {kind}"
                )
            except Exception as error:  # noqa: BLE001  (each version has its own)
                pytest.skip(f"this server has no such database: {error}")
            first = await DatabaseProperties.read(driver, names[0])
            assert first is not None
            noted = DatabaseProperties.of_json(json.loads(json.dumps(first.as_json())))
            assert noted == first
            await noted.create(driver, names[1])
            assert await noted.apply(driver, names[1]) == []
            assert await DatabaseProperties.read(driver, names[1]) == first
        finally:
            for name in names:
                await drop(driver, name)
        assert await DatabaseProperties.read(driver, names[1]) is None


async def test_what_the_server_refuses_is_one_sentence(server: Server, empty_database: str) -> None:
    there = DatabaseServer(server.url("postgres"), empty_database, setting="the test")
    with pytest.raises(BackupFailed) as caught:
        async with there.beside() as driver:
            await driver.execute(f"CREATE DATABASE {empty_database}")
    assert str(caught.value) == (
        f'The database server refuses: database "{empty_database}" already exists.'
    )
