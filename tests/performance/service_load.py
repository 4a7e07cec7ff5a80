"""The service under load, from a second process on loopback, beside a bare route.

What 64 connections get out of two cores says more about the machine than about
the service. So the very same bytes come from a route that does nothing else, in
a FastAPI app under the same uvicorn, in turns with the service.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import aiohttp

from integration.service_process import TOKEN, ServiceProcess, processor_seconds
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.bench_tasks import USERS, made_up_tasks
from performance.corpus import Corpus
from performance.harness import Answer, percentile
from performance.stage import Stage

CONNECTIONS = 64
LISTS_PER_SEARCH = 3
TASKS, SEARCH = "/v1/tasks", "/v1/notes/search"
MOST_TIMES = 15.0
"""How many times as long as the bare route's an answer may take that comes from the database."""

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadScale:
    """How much is asked of the service, and how much it holds."""

    rounds: int = 5
    requests: int = 8000
    """Of each round, in each of the two servers."""
    tasks: int = 20_000
    notes: int = 10_000


QUICK_LOAD = LoadScale(rounds=2, requests=200, tasks=400, notes=1000)


@dataclass(slots=True)
class Measured:
    """What the clients saw: seconds by path, and what was no success."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {TASKS: [], SEARCH: []})
    errors: list[str] = field(default_factory=list)
    took: float = 0.0
    processor: float = 0.0
    """Seconds of the server's processor time."""

    @property
    def count(self) -> int:
        return sum(map(len, self.seconds.values()))

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.count / self.took

    def milliseconds(self, path: str, share: float) -> float:
        return 1000 * percentile(self.seconds[path], share)


class Clients:
    """Connections to one server that each ask again as soon as they are answered."""

    def __init__(self, url: str, process: int, questions: Sequence[str]) -> None:
        self._url = url
        self._process = process
        self._questions = questions
        self._number = 0

    async def ask(self, requests: int, connections: int) -> Measured:
        measured = Measured()
        remaining = iter(range(requests))
        connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=60)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(
            self._url, connector=connector, headers=headers
        ) as session:

            async def client() -> None:
                for _ in remaining:
                    await self._ask_once(session, measured)

            processor_before = processor_seconds(self._process)
            began = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(connections)))
            measured.took = time.perf_counter() - began
            measured.processor = processor_seconds(self._process) - processor_before
        return measured

    async def _ask_once(self, session: aiohttp.ClientSession, measured: Measured) -> None:
        self._number += 1
        number = self._number
        if number % (LISTS_PER_SEARCH + 1):
            path, asked = TASKS, {"user_id": f"U{number * 7 % USERS:04}"}
        else:
            question = self._questions[number % len(self._questions)]
            user = Corpus.USERS[number // 4 % len(Corpus.USERS)]
            path, asked = SEARCH, {"q": question, "user_id": user}
        began = time.perf_counter()
        try:
            async with session.get(path, params=asked) as answer:
                await answer.read()
                if answer.status != 200:
                    measured.errors.append(f"{path}: {answer.status}")
        except aiohttp.ClientError as error:
            measured.errors.append(f"{path}: {error!r}")
        measured.seconds[path].append(time.perf_counter() - began)


async def measure_load(stage: Stage, answer: Answer, scale: LoadScale) -> None:
    """Fill a database, serve it, and ask the service and the bare routes in turns."""
    database = stage.database()
    corpus = Corpus(scale.notes, dimensions=8)
    stage.say(f"load: storing {scale.tasks:,} tasks and {scale.notes:,} notes with vectors")
    await _fill(stage.url(database), corpus, scale)
    superuser = await stage.superuser(database)
    await superuser.execute("VACUUM ANALYZE")
    await superuser.close()
    questions = [corpus.question() for _ in range(200)]
    with TemporaryDirectory() as directory:
        service = ServiceProcess(
            Path(directory), DATABASE_URL=stage.url(database), LOG_LEVEL="warning"
        )
        with service, _bare_server(await _answers_of(service, questions[0])) as (url, process):
            bare = Clients(url, process, questions)
            ours = Clients(service.url, service.process.pid, questions)
            await _rounds(stage, answer, scale, service, ours, bare)
    stage.drop(database)


async def _rounds(
    stage: Stage,
    answer: Answer,
    scale: LoadScale,
    service: ServiceProcess,
    ours: Clients,
    bare: Clients,
) -> None:
    stage.say(f"load: {scale.rounds} rounds of {scale.requests:,} requests, {CONNECTIONS} at once")
    for warming in (ours, bare):
        await warming.ask(max(scale.requests // 4, CONNECTIONS), CONNECTIONS)
    memory = [service.resident_bytes / MEGABYTE]
    busy: list[tuple[Measured, Measured]] = []
    calm: list[tuple[Measured, Measured]] = []
    for _ in range(scale.rounds):
        busy.append(
            (
                await ours.ask(scale.requests, CONNECTIONS),
                await bare.ask(scale.requests, CONNECTIONS),
            )
        )
        memory.append(service.resident_bytes / MEGABYTE)
        calm.append(
            (await ours.ask(scale.requests // 20, 1), await bare.ask(scale.requests // 20, 1))
        )
    everything = [measured for measured, _ in (*busy, *calm)]
    errors = [error for measured in everything for error in measured.errors]
    what = f"errors in {sum(measured.count for measured in everything):,} requests"
    answer.figure("load", what, "", [len(errors)], at_most=0, detail=", ".join(errors[:3]))
    rates = [(measured.rate, baseline.rate) for measured, baseline in busy]
    answer.ratio("load", f"{CONNECTIONS} connections, throughput", "/s", rates, at_least=0.1)
    costs = [(1000 * m.processor / m.count, 1000 * b.processor / b.count) for m, b in busy]
    answer.ratio("load", "the server's processor time a request", "ms", costs, at_most=10)
    for name, rounds in ((f"{CONNECTIONS} connections", busy), ("1 connection", calm)):
        for path in (TASKS, SEARCH):
            for share in (0.5, 0.99):
                pairs = [
                    (m.milliseconds(path, share), b.milliseconds(path, share)) for m, b in rounds
                ]
                what = f"{name}, GET {path}, p{share * 100:.0f}"
                answer.ratio("load", what, "ms", pairs, at_most=MOST_TIMES)
    answer.figure(
        "load",
        "memory, from the first round to the last",
        "MB",
        [memory[-1] - memory[1]],
        at_most=10,
        detail="more; " + ", ".join(f"{megabytes:.0f}" for megabytes in memory),
    )


async def _fill(url: str, corpus: Corpus, scale: LoadScale) -> None:
    manager = DatabaseManager(url)
    try:
        await PostgreSQLTaskRepository(manager).create_many(made_up_tasks(scale.tasks))
        embedder = HashingEmbedder()
        notes = list(corpus.notes(sentences=1))
        vectors = await embedder.embed([note.content for note in notes])
        repository = PostgreSQLNoteRepository(manager, embedder)
        for first in range(0, len(notes), 2000):
            batch = slice(first, first + 2000)
            await repository.save_many(notes[batch], vectors[batch])
    finally:
        await manager.close()


async def _answers_of(service: ServiceProcess, question: str) -> tuple[bytes, bytes]:
    """One list of tasks and one search, as the service gives them."""
    async with service.client() as client:
        tasks = await client.get(TASKS, params={"user_id": "U0001"})
        asked = {"q": question, "user_id": Corpus.USERS[-1]}
        search = await client.get(SEARCH, params=asked)
    assert (tasks.status_code, search.status_code) == (200, 200), (tasks.text, search.text)
    return tasks.content, search.content


@contextmanager
def _bare_server(bodies: Sequence[bytes]) -> Iterator[tuple[str, int]]:
    """A server that gives, without doing anything for it, what the service gave once.

    Its address and its process.
    """
    program = Path(__file__).with_name("bare_server.py")
    with Popen([sys.executable, str(program)], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for body in bodies:
                process.stdin.write(len(body).to_bytes(8, "big") + body)
            process.stdin.flush()
            yield process.stdout.readline().decode().strip(), process.pid
        finally:
            process.terminate()
