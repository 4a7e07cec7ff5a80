"""The database restarted under load, gently and by force: what fails, for how long, what is lost."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from database_server import Server, connect, run_apart
from embedded_home import Home, new_directory
from integration.outage import Answer as Reply
from integration.outage import Damage, Outage, Traffic, damage, failures_in, restart, unexplained
from integration.service_process import ServiceProcess
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.upgrade import upgrade
from performance.harness import Answer, percentile
from performance.stage import RUNTIME_ROLE, Stage

READERS = WRITERS = 16
AWAY = 1.0
RESTARTS = (False, True, False, True, True)
"""Whether the server is killed, in this order."""

DATABASE = "chaos"


async def measure_chaos(stage: Stage, answer: Answer, *, quick: bool = False) -> None:
    """Restart a server of its own under readers and writers, then count what is stored."""
    restarts = RESTARTS[:2] if quick else RESTARTS
    between = 50 if quick else 1500
    with _own_server() as server, TemporaryDirectory() as directory:
        url = server.url(DATABASE, RUNTIME_ROLE)
        service = ServiceProcess(Path(directory), DATABASE_URL=url, LOG_LEVEL="warning")
        outages: list[Outage] = []
        with service:
            async with service.client(limits=httpx.Limits(max_connections=64)) as client:
                traffic = Traffic(client)

                async def disturb() -> None:
                    for killed in restarts:
                        await traffic.wait_for_answers(between)
                        stage.say("chaos: kill -9" if killed else "chaos: fast stop")
                        outages.append(await restart(server, killed=killed, away=AWAY))
                    await traffic.wait_for_answers(between)

                await traffic.run(disturb, readers=READERS, writers=WRITERS)
        look = await connect(server.url(DATABASE))
        try:
            found = await damage(traffic, look)
        finally:
            await look.close()
    _report(answer, traffic, outages, found)


def _report(answer: Answer, traffic: Traffic, outages: list[Outage], found: Damage) -> None:
    section = f"{len(outages)} restarts"
    failures = failures_in(traffic)
    wrong = unexplained(failures, outages)
    what = f"of {len(traffic.answers):,} answers none of 200, 201, 503"
    answer.figure(section, what, "", [len(wrong)], at_most=0, detail=str(wrong[:1] or ""))
    what = f"of {len(traffic.acknowledged):,} acknowledged writes lost"
    answer.figure(section, what, "", [len(found.lost)], at_most=0)
    what = f"of {len(traffic.asked_again):,} asked again written twice"
    answer.figure(section, what, "", [len(found.doubled)], at_most=0)
    away = [outage.ended - outage.began for outage in outages]
    answer.figure(section, "the server was away for", "s", away, at_most=30)
    answer.figure(
        section,
        "last failure after it was back",
        "s",
        list(_lateness(failures, outages)),
        at_most=3,
        detail=f"of {len(failures):,} failures",
    )
    longest = [max(reply.ended - reply.began for reply in traffic.answers)]
    answer.figure(section, "longest wait for an answer", "s", longest, at_most=8)
    seconds = [reply.ended - reply.began for reply in failures] or [0.0]
    answer.figure(section, "wait for a 503, p50", "s", [percentile(seconds, 0.5)], at_most=5)


def _lateness(failures: list[Reply], outages: list[Outage]) -> Iterator[float]:
    """Of each outage, how long after its end its last failure was told."""
    nexts = [outage.began for outage in outages[1:]] + [float("inf")]
    for outage, next_began in zip(outages, nexts, strict=True):
        own = [f.ended for f in failures if outage.began <= f.ended < next_began]
        yield max(0.0, max(own, default=outage.ended) - outage.ended)


@contextmanager
def _own_server() -> Iterator[EmbeddedServer]:
    home = Home(new_directory())
    try:
        server = home.server(durable=True)
        server.start()
        Server(server.url("postgres")).run(f"CREATE DATABASE {DATABASE}")
        run_apart(upgrade(server.url(DATABASE)))
        yield server
    finally:
        home.close()
        shutil.rmtree(home.path, ignore_errors=True)
