"""Saving one note where vector indexes stand ready, against a database that has none."""

from collections.abc import Iterator
from datetime import UTC, datetime

from uuid_utils.compat import uuid7

from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.note import Note
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.filled import filled
from performance.harness import Answer, Measure, in_turns, latencies, percentile
from performance.stage import Prepared, Stage

SECTION = "save"
MOST = 2.0


async def measure(stage: Stage, answer: Answer) -> None:
    scale = stage.scale
    databases = await filled(stage)
    indexed, bare = (
        DatabaseManager(stage.url(name)) for name in (databases.maintained, databases.bare)
    )
    stage.say("save: one note at a time")
    began = datetime.now(UTC)

    def saving(manager: DatabaseManager) -> Measure:
        embedder = Prepared(scale.dimensions)
        repository = PostgreSQLNoteRepository(manager, embedder)

        def notes() -> Iterator[Note]:
            for number in range(scale.calls):
                embedder.vector = databases.corpus.target().tolist()
                now = datetime.now(UTC)
                yield Note(
                    id=uuid7(),
                    user_id=databases.corpus.user_of(number),
                    content=databases.corpus.text(),
                    created_at=now,
                    updated_at=now,
                )

        async def once() -> float:
            calls = ((lambda note=note: repository.save(note)) for note in notes())
            return percentile(await latencies(calls), 0.5)

        return once

    try:
        await saving(indexed)()
        await saving(bare)()
        pairs = await in_turns(scale.rounds, saving(indexed), saving(bare))
    finally:
        await indexed.close()
        await bare.close()
    # A search that is measured next is to find the corpus alone, and tables in order.
    superuser = await stage.superuser(databases.maintained)
    await superuser.execute("DELETE FROM notes WHERE created_at > $1", began)
    await superuser.execute("VACUUM (ANALYZE) notes, note_embeddings")
    await superuser.close()
    answer.ratio(
        SECTION,
        f"note and vector among {scale.notes:,}, p50",
        "ms",
        pairs,
        at_most=MOST,
        detail="baseline: no vector index",
    )
