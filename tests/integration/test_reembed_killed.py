"""``kill -9`` of a reembedding at any moment, while somebody keeps asking: never an error, nothing lost.

REEMBED_NOTES sets how many notes (default 3,000), REEMBED_KILLS how many kills.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import numpy as np

from database_server import Server, connect
from integration.command import Command, ForkingCommand
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.note import Leg, LegSkipped, Note
from nakamura_misaki.infrastructure.database.maintenance import maintain
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE

NOTES = int(os.environ.get("REEMBED_NOTES", "3000"))
KILLS = int(os.environ.get("REEMBED_KILLS", "5"))
OLD, NEW = HashingEmbedder(128), HashingEmbedder(96)
REEMBED = ("reembed", "--dimensions", str(NEW.dimensions), "--batch", "128", "--yes", "--json")

VECTORS = """
SELECT note_id, model, user_id, is_indexed, text_hash, embedding::text FROM note_embeddings"""
INDEXES = """
SELECT pg_get_indexdef(indexrelid), indisvalid, obj_description(indexrelid) FROM pg_index
WHERE indrelid = 'note_embeddings'::regclass"""
STATE = (
    "SELECT model, dimensions, is_active, replaced_at IS NULL FROM embedding_models",
    VECTORS,
    "SELECT model, text_hash FROM spare_embeddings",
    INDEXES,
)


def some_notes() -> list[Note]:
    """Texts of a few words out of many, so that no two are alike, but for one in fifty."""
    chance = random.Random(5)
    words = [
        "".join(chance.choices("売上税移行会議決定設計検索文書接続障害復旧予定東京大阪", k=3))
        for _ in range(400)
    ]
    texts = [" ".join(chance.choices(words, k=9)) for _ in range(NOTES)]
    texts[::50] = texts[1::50]
    return [
        Note(id=UUID(int=n + 1), user_id="U1" if n % 10 else "U2", content=text)
        for n, text in enumerate(texts)
    ]


class Asking:
    """An embedder that gives question ``zz7`` the vector of the seventh note: no word finds it."""

    def __init__(self, embedder: HashingEmbedder, notes: Sequence[Note]) -> None:
        self.model, self.dimensions = embedder.model, embedder.dimensions
        self._embedder, self._notes = embedder, notes

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        return await self._embedder.embed([self._notes[int(t[2:])].content for t in texts])

    async def close(self) -> None:
        pass


class Searcher:
    """Keeps asking; every answer is held against the exact one of the model that gave it."""

    def __init__(self, manager: DatabaseManager, notes: Sequence[Note]) -> None:
        self._notes = notes
        self._ids = np.array([note.id for note in notes])
        self._users = np.array([note.user_id for note in notes])
        self._exact = {
            embedder.model: np.array([embedder.vector(note.content) for note in notes])
            .astype(np.float16)
            .astype(np.float32)
            for embedder in (OLD, NEW)
        }
        # What two services are, of which one is set to each model.
        self._services = {
            embedder.model: PostgreSQLNoteRepository(
                manager, Asking(embedder, notes), outlives_switch=True
            )
            for embedder in (OLD, NEW)
        }
        self.model = OLD.model
        self.answers = {OLD.model: 0, NEW.model: 0}
        self.changes = 0
        self.recalls: list[float] = []
        self._chance = random.Random(7)

    async def ask_until(self, done: asyncio.Event) -> None:
        while not done.is_set():
            await self.ask()

    async def ask(self) -> None:
        number = self._chance.randrange(NOTES)
        user_id = self._chance.choice(["U1", "U2", None])
        answer = await self._services[self.model].search(f"zz{number}", user_id, 10)
        if answer.skipped == {Leg.VECTOR: LegSkipped.MODEL_REPLACED}:
            self.model = NEW.model if self.model == OLD.model else OLD.model
            self.changes += 1
            answer = await self._services[self.model].search(f"zz{number}", user_id, 10)
        assert answer.skipped == {}
        assert len(answer) == 10
        vectors = self._exact[self.model]
        near = vectors @ vectors[number] / np.linalg.norm(vectors, axis=1)
        near[(self._users != user_id) if user_id else np.zeros(NOTES, bool)] = -1
        least = np.sort(near)[-10] - 1e-3  # the index compares in half precision
        found = dict(zip(self._ids, near, strict=True))
        self.recalls.append(sum(found[note.id] >= least for note in answer) / 10)
        self.answers[self.model] += 1


async def state(url: str) -> list[str]:
    """All that a reembedding makes: vectors, models, indexes; times left out."""
    connection = await connect(url)
    try:
        found = []
        for statement in STATE:
            found += sorted(map(repr, await connection.fetch(statement)))
        return found
    finally:
        await connection.close()


async def vectors_of_new(url: str) -> int:
    connection = await connect(url)
    count: int = await connection.fetchval(
        "SELECT count(*) FROM note_embeddings WHERE model = $1", NEW.model
    )
    await connection.close()
    return count


async def fill(server: Server, database: str, notes: Sequence[Note]) -> None:
    manager = DatabaseManager(server.url(database, RUNTIME_ROLE))
    try:
        vectors = await OLD.embed([note.content for note in notes])
        await PostgreSQLNoteRepository(manager, OLD).save_many(notes, vectors)
    finally:
        await manager.close()
    await maintain(server.url(database), "default")


async def test_reembedding_killed_at_five_moments_ends_as_an_undisturbed_one(
    server: Server, database: str, tmp_path: Path
) -> None:
    notes = some_notes()
    await fill(server, database, notes)
    other = server.create_database(database)
    calm, killed = (
        Command(
            tmp_path,
            DATABASE_URL=server.url(name, RUNTIME_ROLE),
            DATABASE_OWNER_URL=server.url(name),
            EMBEDDING_DIMENSIONS=str(OLD.dimensions),
        )
        for name in (other, database)
    )
    try:
        with ForkingCommand(calm) as command:
            started = time.monotonic()
            command.start(*REEMBED)
            assert await asyncio.to_thread(command.wait) == 0
            lasted = time.monotonic() - started
        expected = await state(server.url(other))
    finally:
        server.drop_database(other)
    assert len([line for line in expected if f"model='{NEW.model}' user_id" in line]) == NOTES

    seed = random.randrange(2**32)
    print(f"seed {seed}, undisturbed {lasted:.2f} s")
    chance = random.Random(seed)
    manager = DatabaseManager(server.url(database, RUNTIME_ROLE))
    searcher = Searcher(manager, notes)
    done = asyncio.Event()
    searching = asyncio.create_task(searcher.ask_until(done))
    kills: list[int] = []
    try:
        with ForkingCommand(killed) as command:
            while len(kills) < KILLS:
                process = command.start(*REEMBED)
                if not kills:  # the first one with something done, on however busy a machine
                    while not await vectors_of_new(server.url(database)):  # noqa: ASYNC110  (the server's)
                        await asyncio.sleep(0.005)
                else:  # what is done already is passed over, so that these moments lie farther on
                    await asyncio.sleep(chance.uniform(0.05, 0.7 * lasted))
                command.kill(process)
                if await asyncio.to_thread(command.wait) == 0:  # it was done before: back, again
                    for arguments in (("--rollback",), ("--discard-old", "--yes")):
                        command.start("reembed", *arguments)
                        assert await asyncio.to_thread(command.wait) == 0
                    continue
                kills.append(await vectors_of_new(server.url(database)))
            command.start(*REEMBED)
            assert await asyncio.to_thread(command.wait) == 0
            while searcher.model != NEW.model or searcher.answers[NEW.model] < 20:
                assert not searching.done()
                await asyncio.sleep(0.01)
    finally:
        done.set()
        await searching
        await manager.close()
    print(f"vectors after each kill: {kills}; {searcher.answers}; {searcher.changes} changes")
    print(f"recall: {np.mean(searcher.recalls):.5f}, least {min(searcher.recalls)}")
    assert any(vectors > 0 for vectors in kills)
    assert await state(server.url(database)) == expected
    assert min(searcher.answers.values()) > 0
    assert searcher.changes % 2 == 1
    assert np.mean(searcher.recalls) >= 0.99
