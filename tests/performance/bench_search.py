"""Searching for users who have few notes, many, and for everybody: time and recall."""

from collections.abc import Sequence

import numpy as np

from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.infrastructure.database.manager import Connection, DatabaseManager
from performance.corpus import Corpus
from performance.filled import filled
from performance.harness import Answer, latencies, percentile, undisturbed
from performance.stage import Prepared, Stage

SECTION = "search"
WANTED = 10
MOST_OF_VECTOR_LEG = {"U-0.1%": 0.5, "U-1%": 1.5, "U-10%": 4.0, None: 4.0}
"""Milliseconds at the median, by whose notes are searched (None: everybody's)."""
MOST_OF_ANSWER = 15.0
LEAST_RECALL = 0.99
MOST_ROWS = 1000
RECALL_QUESTIONS = 100

_NEAREST = "SELECT note_id FROM nakamura_misaki_nearest($1, $2, $3, $4)"


async def measure(stage: Stage, answer: Answer) -> None:
    databases = await filled(stage)
    manager = DatabaseManager(stage.url(databases.maintained))
    try:
        for user_id in MOST_OF_VECTOR_LEG:
            await _Share(stage, answer, databases.corpus, manager, user_id).measure()
    finally:
        await manager.close()


class _Share:
    """The notes of one user, or of everybody."""

    def __init__(
        self,
        stage: Stage,
        answer: Answer,
        corpus: Corpus,
        manager: DatabaseManager,
        user_id: str | None,
    ) -> None:
        self._stage = stage
        self._answer = answer
        self._corpus = corpus
        self._manager = manager
        self._user_id = user_id
        self._name = "100 %" if user_id is None else user_id.removeprefix("U-").replace("%", " %")
        self._embedder = Prepared(corpus.vectors.shape[1])
        self._repository = PostgreSQLNoteRepository(manager, self._embedder)
        places = range(corpus.size)
        self._places = np.array(
            [p for p in places if user_id is None or corpus.user_of(p) == user_id]
        )
        self._vectors = corpus.vectors if user_id is None else corpus.vectors[self._places]

    async def measure(self) -> None:
        self._stage.say(f"search: {self._name} of {self._corpus.size:,} notes")
        rounds = self._stage.scale.rounds
        async with self._manager.connection() as connection:
            await self._vector_leg(connection)
            legs = [await undisturbed(lambda: self._vector_leg(connection)) for _ in range(rounds)]
            recall = await self._recall(connection)
            lacking = await self._lacking(connection)
        await self._whole_answer()
        answers = [await undisturbed(self._whole_answer) for _ in range(rounds)]
        tell = self._answer.figure
        most = MOST_OF_VECTOR_LEG[self._user_id]
        tell(SECTION, f"{self._name}: vector leg, p50", "ms", legs, at_most=most)
        tell(SECTION, f"{self._name}: whole answer, p95", "ms", answers, at_most=MOST_OF_ANSWER)
        tell(SECTION, f"{self._name}: recall@{WANTED}", "", [recall], at_least=LEAST_RECALL)
        tell(SECTION, f"{self._name}: rows that were there and not given", "", lacking, at_most=0)

    async def _vector_leg(self, connection: Connection) -> float:
        targets = [self._corpus.target().tolist() for _ in range(self._stage.scale.questions)]
        calls = ((lambda t=t: self._nearest(connection, t, WANTED)) for t in targets)
        return percentile(await latencies(calls), 0.5)

    async def _whole_answer(self) -> float:
        def questions() -> object:
            for _ in range(self._stage.scale.questions):
                self._embedder.vector = self._corpus.target().tolist()
                question = self._corpus.question()
                yield lambda q=question: self._repository.search(q, self._user_id, WANTED)

        return percentile(await latencies(questions()), 0.95)

    async def _recall(self, connection: Connection) -> float:
        wanted = min(WANTED, len(self._places))
        targets = [self._corpus.target() for _ in range(RECALL_QUESTIONS)]
        distances = -(np.stack(targets) @ self._vectors.T)
        found = 0
        for target, away in zip(targets, distances, strict=True):
            nearest = self._places[np.argpartition(away, wanted - 1)[:wanted]]
            given = await self._nearest(connection, target.tolist(), WANTED)
            found += len(set(nearest.tolist()) & set(given))
        return found / (wanted * RECALL_QUESTIONS)

    async def _lacking(self, connection: Connection) -> Sequence[float]:
        lacking = []
        for limit in (1, WANTED, MOST_ROWS):
            given = await self._nearest(connection, self._corpus.target().tolist(), limit)
            lacking.append(float(min(limit, len(self._places)) - len(set(given))))
        return [max(lacking)]

    async def _nearest(
        self, connection: Connection, target: Sequence[float], limit: int
    ) -> list[int]:
        rows = await connection.fetch(_NEAREST, self._user_id, self._embedder.model, target, limit)
        return [Corpus.place_of(row[0]) for row in rows]
