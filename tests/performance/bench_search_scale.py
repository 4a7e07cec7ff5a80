"""``make bench-search-scale``: what a search costs at which number of notes, and by which plan."""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

# Run as a program, not by pytest: its siblings are found as the tests find them.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager
    from performance.corpus import Corpus
    from performance.stage import Stage

SIZES = "1000,5000,20000,50000,100000,200000"
SHARES = (0.0001, 0.001, 0.01, 0.02, 0.1, 0.5, 1.0)
"""Of the notes, how many a filter lets through."""

WANTED = 10
_INDEX = """
SELECT EXISTS (SELECT FROM pg_index WHERE indisvalid
    AND indexrelid = to_regclass(nakamura_misaki_index_name('default', $1, $2)))"""
_NEAREST = "SELECT note_id FROM nakamura_misaki_nearest($1, $2, $3, 10)"
_EXACT = """
SELECT note_id FROM note_embeddings
WHERE workspace_id = 'default' AND model = $1 AND {whose}
ORDER BY embedding <=> $3, note_id LIMIT 10"""
_AMONG = """
SELECT note_id FROM nakamura_misaki_nearest_among(
    $1, $2, $3, 10, $4::jsonb, nakamura_misaki_matching($1, $4::jsonb, $5))"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds at the median, of one kind of search in one database."""

    notes: int
    whose: str
    among: int
    plan: str
    vector_leg: float
    exact: float | None
    words_leg: float
    answer: float
    recall: float
    missing: int


@click.command()
@click.option("--sizes", default=SIZES, show_default=True, help="Numbers of notes.")
@click.option("--dimensions", default=1536, show_default=True)
@click.option("--questions", default=30, show_default=True, help="Searches each figure is made of.")
@click.option("--filters/--no-filters", default=True, help="Also among some of the notes only.")
@click.option("--shared-buffers", default="2GB", show_default=True)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bench-results/search-scale.json"),
    show_default=True,
)
def main(
    sizes: str,
    dimensions: int,
    questions: int,
    filters: bool,
    shared_buffers: str,
    json_file: Path,
) -> None:
    """Search as a user with all the notes and as one with a tenth of them; print a table.

    The largest size takes some minutes and 16 kB of memory and of disk for each note.
    """
    from performance.stage import Scale, staged

    scale = replace(Scale(), dimensions=dimensions, questions=questions)
    progress = Console(stderr=True, highlight=False)
    costs: list[Cost] = []
    with staged(scale, progress, durable=False, shared_buffers=shared_buffers) as stage:
        facts = asyncio.run(stage.facts())
        for size in map(int, sizes.split(",")):
            costs += asyncio.run(_measure(stage, size, filters))
            _write(json_file, facts, costs)
    console = Console()
    if not console.is_terminal:
        console.width = 132  # a table cut to the 80 columns of a pipe can't be read
    console.print(_table(costs))
    console.print(f"Written to {json_file}.")


def _write(path: Path, facts: dict[str, Any], costs: list[Cost]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(cost) for cost in costs]
    path.write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n", "utf-8")


async def _measure(stage: "Stage", size: int, filters: bool) -> list[Cost]:
    from nakamura_misaki.infrastructure.database.maintenance import maintain
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager
    from performance.corpus import Corpus
    from performance.stage import WORKSPACE

    stage.say(f"{size:,} notes: storing")
    corpus = Corpus(size, stage.scale.dimensions)
    database = stage.database()
    manager = DatabaseManager(stage.url(database))
    try:
        await _fill(manager, corpus)
        stage.say(f"{size:,} notes: maintaining")
        await maintain(stage.superuser_url(database), WORKSPACE)
        stage.say(f"{size:,} notes: searching")
        costs = [
            await _search(stage, manager, corpus, user_id, None) for user_id in (None, "U-10%")
        ]
        if filters:
            costs += [await _search(stage, manager, corpus, None, share) for share in SHARES]
        return costs
    finally:
        await manager.close()
        stage.drop(database)


async def _fill(manager: "DatabaseManager", corpus: "Corpus") -> None:
    from itertools import islice

    from nakamura_misaki.adapters.secondary.postgresql_note_repository import (
        PostgreSQLNoteRepository,
    )
    from performance.stage import Prepared

    repository = PostgreSQLNoteRepository(manager, Prepared(corpus.vectors.shape[1]))
    notes = corpus.notes()
    done = 0
    while batch := list(islice(notes, 2000)):
        vectors: Any = corpus.vectors[done : done + len(batch)]
        await repository.save_many(batch, vectors)
        done += len(batch)


async def _search(
    stage: "Stage",
    manager: "DatabaseManager",
    corpus: "Corpus",
    user_id: str | None,
    share: float | None,
) -> Cost:
    from nakamura_misaki.adapters.secondary.postgresql_note_repository import (
        FEW_NOTES,
        PostgreSQLNoteRepository,
        _filter_text,
    )
    from nakamura_misaki.domain.note import SearchFilter
    from performance.corpus import START
    from performance.harness import latencies
    from performance.stage import Prepared

    embedder = Prepared(corpus.vectors.shape[1])
    both = PostgreSQLNoteRepository(manager, embedder)
    words = PostgreSQLNoteRepository(manager, None)
    where = which = None
    theirs = sum(user_id in (None, corpus.user_of(place)) for place in range(corpus.size))
    among = theirs if share is None else max(1, round(corpus.size * share))
    if share is not None:
        from datetime import timedelta

        first = (corpus.size - among) // 2
        where = SearchFilter(
            since=START + timedelta(minutes=first), until=START + timedelta(minutes=first + among)
        )
        which = _filter_text(where)
    targets = [corpus.target().tolist() for _ in range(stage.scale.questions)]
    questions = [corpus.question() for _ in targets]
    async with manager.connection() as connection:
        has_index = await connection.fetchval(_INDEX, embedder.model, user_id)

        async def nearest(target: Any) -> list[Any]:
            if which is None:
                return await connection.fetch(_NEAREST, user_id, embedder.model, target)
            return await connection.fetch(_AMONG, user_id, embedder.model, target, which, FEW_NOTES)

        await nearest(targets[0])
        vector_leg = await latencies((lambda t=t: nearest(t)) for t in targets)
        exact = None
        compared = _EXACT.format(whose="$2::text IS NULL" if user_id is None else "user_id = $2")
        if which is None:

            async def compare(target: Any) -> Any:
                return await connection.fetch(compared, embedder.model, user_id, target)

            exact = median(await latencies((lambda t=t: compare(t)) for t in targets[:10]))
        found = [{corpus.place_of(row[0]) for row in await nearest(target)} for target in targets]
    recall, missing = _recall(corpus, targets, found, user_id, share, among)

    async def answer(repository: Any, target: Any, question: str) -> Any:
        embedder.vector = target
        return await repository.search(question, user_id, WANTED, where)

    asked = list(zip(targets, questions, strict=True))
    words_leg = await latencies((lambda t=t, q=q: answer(words, t, q)) for t, q in asked)
    answers = await latencies((lambda t=t, q=q: answer(both, t, q)) for t, q in asked)
    is_few = share is not None and among <= FEW_NOTES
    return Cost(
        notes=corpus.size,
        whose="everybody" if user_id is None else "a tenth",
        among=among,
        plan="HNSW" if has_index and not is_few else "exact",
        vector_leg=round(median(vector_leg), 3),
        exact=None if exact is None else round(exact, 3),
        words_leg=round(median(words_leg), 3),
        answer=round(median(answers), 3),
        recall=round(recall, 4),
        missing=missing,
    )


def _recall(
    corpus: "Corpus",
    targets: list[Any],
    found: list[set[int]],
    user_id: str | None,
    share: float | None,
    among: int,
) -> tuple[float, int]:
    """Which share of the ten nearest was found, and how many notes too few were given."""
    import numpy as np

    places = np.array([p for p in range(corpus.size) if user_id in (None, corpus.user_of(p))])
    if share is not None:
        first = (corpus.size - among) // 2
        places = np.arange(first, first + among)
    wanted = min(WANTED, len(places))
    hits = missing = 0
    vectors = corpus.vectors[places]
    for target, given in zip(targets, found, strict=True):
        away = -(vectors @ np.asarray(target, dtype=np.float32))
        hits += len(given & set(places[np.argpartition(away, wanted - 1)[:wanted]].tolist()))
        missing += wanted - len(given)
    return hits / (wanted * len(targets)), missing


def _table(costs: list[Cost]) -> Table:
    table = Table(title="milliseconds at the median")
    for name in Cost.__slots__:
        table.add_column(
            name.replace("_", " "), justify="left" if name in {"whose", "plan"} else "right"
        )
    for cost in costs:
        cells = (getattr(cost, name) for name in Cost.__slots__)
        table.add_row(
            *("" if c is None else f"{c:,}" if isinstance(c, int) else str(c) for c in cells)
        )
    return table


if __name__ == "__main__":
    main()
