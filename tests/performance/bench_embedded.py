"""How long the embedded server keeps a person waiting."""

import asyncio
import shutil
import time

from database_server import server_directory
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from performance.harness import Answer
from performance.stage import Stage

SECTION = "embedded"
MOST_COLD = 2.0
MOST_WARM = 0.2


async def measure(stage: Stage, answer: Answer) -> None:
    stage.say("embedded: starts")
    cold, warm, attached = [], [], []
    for _ in range(stage.scale.rounds):
        directory = server_directory()
        server = EmbeddedServer(directory)
        try:
            cold.append(await _seconds_to_start(server))
            server.stop()
            warm.append(await _seconds_to_start(server))
            attached.append(await _seconds_to_start(EmbeddedServer(directory)))
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)
    answer.figure(SECTION, "cold: a new data directory", "s", cold, at_most=MOST_COLD)
    answer.figure(SECTION, "warm: its data is there", "s", warm, at_most=MOST_WARM)
    answer.figure(SECTION, "attaching: it is running", "s", attached, at_most=MOST_WARM)


async def _seconds_to_start(server: EmbeddedServer) -> float:
    started = time.perf_counter()
    await asyncio.to_thread(server.start)
    return time.perf_counter() - started
