"""The database of many notes that saving and searching are measured on."""

from array import array
from dataclasses import dataclass
from itertools import islice

from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.infrastructure.database.maintenance import maintain
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from performance.corpus import Corpus
from performance.stage import WORKSPACE, Prepared, Stage

AT_ONCE = 2000

_filled: dict[int, "Filled"] = {}


@dataclass(frozen=True, slots=True)
class Filled:
    """``maintained`` has vector indexes, ``bare`` is a copy of it from before they were built."""

    corpus: Corpus
    maintained: str
    bare: str


async def filled(stage: Stage) -> Filled:
    """The stage's, filled when it is first asked for: it takes minutes."""
    known = _filled.get(id(stage))
    if known is None:
        known = _filled[id(stage)] = await _fill(stage)
    return known


async def _fill(stage: Stage) -> Filled:
    scale = stage.scale
    stage.say(f"storing {scale.notes:,} notes with vectors of {scale.dimensions:,}")
    corpus = Corpus(scale.notes, scale.dimensions)
    maintained = stage.database()
    manager = DatabaseManager(stage.url(maintained))
    repository = PostgreSQLNoteRepository(manager, Prepared(scale.dimensions))
    notes = corpus.notes()
    position = 0
    while batch := list(islice(notes, AT_ONCE)):
        slab = corpus.vectors[position : position + len(batch)]
        vectors = [array("f", vector.tobytes()) for vector in slab]
        await repository.save_many(batch, vectors)
        position += len(batch)
    await manager.close()
    bare = stage.database(maintained)
    stage.say("maintaining: vector indexes, counts of common terms")

    def say(step: str) -> None:
        if not step.startswith("filing"):  # that is said every few hundred rows
            stage.say(f"maintaining: {step}")

    await maintain(stage.superuser_url(maintained), WORKSPACE, say=say)
    superuser = await stage.superuser(bare)
    await superuser.execute("VACUUM ANALYZE")
    await superuser.close()
    return Filled(corpus, maintained, bare)
