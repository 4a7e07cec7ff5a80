"""Asks every question of the golden set in every way there is."""

from collections.abc import Awaitable, Callable

from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from performance.golden_model import meaning_embedder
from performance.golden_report import LEXICAL, YARDSTICK, Results
from performance.golden_rivals import BM25, Database, Morphemes, Scored, bigrams
from performance.golden_set import GoldenSet
from performance.golden_ways import loaded
from performance.stage import Stage


async def measure(stage: Stage, golden: GoldenSet, *, with_model: bool) -> Results:
    results = Results(golden)
    results.facts = await stage.facts()
    stage.say(f"asking {len(golden.questions)} questions about {len(golden.notes)} notes")
    await _with_hashing(stage, results)
    if with_model:
        stage.say("the same with a model of meanings")
        await _with_meaning(stage, results)
    stage.say("the yardsticks")
    for name, terms in ((YARDSTICK, Morphemes()), ("BM25, bigrams", bigrams)):
        await results.ask(name, _at_once(BM25(golden.notes, terms).search))
    return results


async def _with_hashing(stage: Stage, results: Results) -> None:
    embedder = HashingEmbedder()
    async with loaded(stage, results.golden, embedder) as ways:
        await results.ask(LEXICAL, ways.words)
        await results.ask("vector leg, hashing", ways.vector)
        await results.ask("both legs, hashing", ways.both)
        database = Database(ways.manager, results.golden.names)
        await results.ask("simple, all words", database.simple_all)
        await results.ask("simple, any word", database.simple_any)
        await results.ask("ILIKE", database.ilike)
        await results.ask("pgvector alone, hashing", database.pgvector(embedder))


async def _with_meaning(stage: Stage, results: Results) -> None:
    with meaning_embedder() as embedder:
        async with loaded(stage, results.golden, embedder) as ways:
            await results.ask("vector leg, e5", ways.vector)
            await results.ask("both legs, e5", ways.both)
            database = Database(ways.manager, results.golden.names)
            await results.ask("pgvector alone, e5", database.pgvector(embedder))
        await embedder.close()


def _at_once(search: Callable[[str], Scored]) -> Callable[[str], Awaitable[Scored]]:
    async def answer(question: str) -> Scored:
        return search(question)

    return answer
