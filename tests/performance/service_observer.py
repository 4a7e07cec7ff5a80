"""What it costs a statement to be measured.

A few microseconds are looked for, less than the clock on the wall varies with what
else the machine does. Nothing makes a turn quicker than it is, so of many short
turns the quickest of each kind are compared.
"""

import time
from uuid import UUID

from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.metrics import Metrics
from performance.harness import Answer, in_turns
from performance.stage import Stage

NOBODY = UUID(int=0)


async def measure_observer(stage: Stage, answer: Answer, *, turns: int, calls: int) -> None:
    """The cheapest operation there is, with the metrics and without, in turns."""
    stage.say(f"observer: {turns} turns of {calls:,} lookups")
    database = stage.database()
    metrics = Metrics(slow_query_seconds=60)
    observed = DatabaseManager(stage.url(database), observer=metrics)
    plain = DatabaseManager(stage.url(database))
    try:
        await _microseconds(observed, calls)
        await _microseconds(plain, calls)
        pairs = await in_turns(
            turns,
            lambda: _microseconds(observed, calls),
            lambda: _microseconds(plain, calls),
        )
    finally:
        await observed.close()
        await plain.close()
    quickest = (min(ours for ours, _ in pairs), min(theirs for _, theirs in pairs))
    answer.ratio("observer", "lookup by id, with metrics", "µs", [quickest], at_most=1.1)
    stage.drop(database)


async def _microseconds(manager: DatabaseManager, calls: int) -> float:
    repository = PostgreSQLTaskRepository(manager)
    started = time.perf_counter()
    for _ in range(calls):
        await repository.get(NOBODY)
    return 1e6 * (time.perf_counter() - started) / calls
