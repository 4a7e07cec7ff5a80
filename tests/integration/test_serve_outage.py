"""The database goes away beneath the service, by itself and by force, and comes back."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from database_server import Server, connect, run_apart
from embedded_home import Home, new_directory
from integration.outage import (
    Outage,
    Traffic,
    damage,
    failures_in,
    restart,
    unexplained,
)
from integration.service_process import ServiceProcess, metric
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.upgrade import upgrade

RUNTIME_ROLE = "nakamura_misaki"
LONGEST_ANSWER = 8.0
"""Seconds: three retries with their pauses, on a busy machine."""


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedServer]:
    """A server that may be stopped and killed, with the schema in its own database."""
    home = Home(new_directory())
    try:
        server = home.server()
        server.start()
        Server(server.url("postgres")).run("CREATE DATABASE outages")
        run_apart(upgrade(server.url("outages")))
        yield server
    finally:
        home.close()
        shutil.rmtree(home.path, ignore_errors=True)


@pytest.fixture
def own_database(own_server: EmbeddedServer) -> Iterator[str]:
    own_server.start()
    yield own_server.url("outages", RUNTIME_ROLE)
    own_server.start()
    Server(own_server.url("postgres")).run("DELETE FROM tasks", database="outages")


async def test_restarts_lose_nothing_and_cost_only_503(
    own_server: EmbeddedServer, own_database: str, tmp_path: Path
) -> None:
    service = ServiceProcess(tmp_path, DATABASE_URL=own_database, POOL_SIZE="4", MAX_OVERFLOW="4")
    outages: list[Outage] = []
    with service:
        async with service.client(limits=httpx.Limits(max_connections=16)) as client:
            traffic = Traffic(client)

            async def disturb() -> None:
                for killed in (False, True):
                    await traffic.wait_for_answers(50)
                    outages.append(await restart(own_server, killed=killed, away=0.5))
                await traffic.wait_for_answers(50)

            await traffic.run(disturb, readers=4, writers=4)
            assert (await client.get("/health/ready")).status_code == 200
            scraped = (await client.get("/metrics")).text
        assert metric(scraped, "database_up") == 1
        assert metric(scraped, "pool_in_use") == 0
        assert service.end() == 0
    assert unexplained(failures_in(traffic), outages) == []
    assert max(answer.ended - answer.began for answer in traffic.answers) < LONGEST_ANSWER
    assert len(traffic.acknowledged) >= 10
    look = await connect(own_server.url("outages"))
    try:
        assert not await damage(traffic, look)
    finally:
        await look.close()
    assert "Traceback" not in service.log


async def test_long_outage_is_told_to_everybody_and_the_process_lives(
    own_server: EmbeddedServer, own_database: str, tmp_path: Path
) -> None:
    service = ServiceProcess(tmp_path, DATABASE_URL=own_database, WATCHDOG_USEC="200000")
    with service:
        async with service.client() as client:
            asked = {"user_id": "U1"}
            assert (await client.get("/v1/tasks", params=asked)).status_code == 200
            own_server.stop()
            refused = await client.get("/v1/tasks", params=asked)
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["retry-after"].isdecimal()
            assert (await client.get("/health/ready")).json()["reason"] == "database"
            assert (await client.get("/health/live")).status_code == 200
            assert metric((await client.get("/metrics")).text, "database_up") == 0
            service.wait_until_told("WATCHDOG=1")
            own_server.start()
            assert (await client.get("/v1/tasks", params=asked)).status_code == 200


def test_start_waits_for_the_database(
    own_server: EmbeddedServer, own_database: str, tmp_path: Path
) -> None:
    own_server.stop()
    service = ServiceProcess(tmp_path, DATABASE_URL=own_database)
    try:
        service.launch()
        service.wait_until_told("EXTEND_TIMEOUT_USEC=")
        service.wait_until_told("STATUS=waiting for the database")
        own_server.start()
        service.wait_until_ready()
        assert "waiting for the database, for 60 s more at most: The database can't" in service.log
        assert not any(told.startswith("READY") for told in service.told[:-1])
    finally:
        assert service.end() == 0


def test_start_that_waits_can_be_stopped(
    own_server: EmbeddedServer, own_database: str, tmp_path: Path
) -> None:
    own_server.stop()
    service = ServiceProcess(tmp_path, DATABASE_URL=own_database)
    service.launch()
    service.wait_until_told("STATUS=waiting for the database")
    service.signal(signal.SIGTERM)
    # end() by itself would send a second signal to one that has not ended yet.
    assert (service.wait(), service.end()) == (0, 0)
    assert "Traceback" not in service.log
