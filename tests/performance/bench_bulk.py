"""Bulk writes, against binary COPY of the same rows, encoded beforehand, into the same tables."""

import time
from array import array
from typing import Any

import asyncpg

from nakamura_misaki.adapters.secondary import postgresql_note_repository as note_sql
from nakamura_misaki.adapters.secondary import postgresql_task_repository as task_sql
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.vector_codec import encode_halfvec
from performance.bench_tasks import made_up_tasks
from performance.corpus import Corpus
from performance.harness import Answer, Measure, in_turns
from performance.stage import WORKSPACE, Prepared, Stage

SECTION = "bulk"
LEAST = 0.7
EMBEDDING_COLUMNS = ("workspace_id", "note_id", "model", "user_id", "embedding")


async def measure(stage: Stage, answer: Answer) -> None:
    scale = stage.scale
    rows = scale.bulk_rows
    database = stage.database()
    manager = DatabaseManager(stage.url(database))
    # COPY into a table under row-level security is a superuser's privilege.
    copying = await stage.superuser(database)
    await copying.set_type_codec(
        "halfvec", schema="public", encoder=bytes, decoder=bytes, format="binary"
    )
    embedder = Prepared(scale.dimensions)
    corpus = Corpus(rows, scale.dimensions)
    tasks, notes = list(made_up_tasks(rows)), list(corpus.notes())
    vectors = [array("f", vector.tobytes()) for vector in corpus.vectors]
    task_rows = [(WORKSPACE, *task_sql._row(task)) for task in tasks]
    note_rows = [(WORKSPACE, *note_sql._row(note)) for note in notes]
    embedding_rows = [
        (WORKSPACE, note.id, embedder.model, note.user_id, encode_halfvec(vector))
        for note, vector in zip(notes, vectors, strict=True)
    ]
    task_copy = ("tasks", ("workspace_id", *task_sql._COLUMNS), task_rows)
    note_copy = ("notes", ("workspace_id", *note_sql._COLUMNS), note_rows)
    vector_copy = ("note_embeddings", EMBEDDING_COLUMNS, embedding_rows)
    task_repository = PostgreSQLTaskRepository(manager)
    note_repository = PostgreSQLNoteRepository(manager, embedder)

    def ours(write: Any, *arguments: Any) -> Measure:
        async def once() -> float:
            await _empty(copying)
            started = time.perf_counter()
            count = await write(*arguments)
            taken = time.perf_counter() - started
            assert count.new == rows, "every row is new"
            return rows / taken

        return once

    def theirs(*copies: tuple[str, tuple[str, ...], list[Any]]) -> Measure:
        async def once() -> float:
            await _empty(copying)
            started = time.perf_counter()
            async with copying.transaction():
                for table, columns, records in copies:
                    await copying.copy_records_to_table(table, columns=columns, records=records)
            return rows / (time.perf_counter() - started)

        return once

    comparisons = (
        ("create_many, tasks", ours(task_repository.create_many, tasks), theirs(task_copy)),
        ("save_many, notes", ours(note_repository.save_many, notes), theirs(note_copy)),
        (
            f"save_many, notes and vectors of {scale.dimensions:,}",
            ours(note_repository.save_many, notes, vectors),
            theirs(note_copy, vector_copy),
        ),
    )
    try:
        for what, repository, copy in comparisons:
            stage.say(f"bulk: {what}")
            await repository()
            pairs = await in_turns(scale.rounds, repository, copy)
            answer.ratio(SECTION, what, "/s", pairs, at_least=LEAST)
    finally:
        await copying.close()
        await manager.close()
    stage.drop(database)


async def _empty(superuser: asyncpg.Connection) -> None:
    await superuser.execute("TRUNCATE tasks, handoffs, notes, note_embeddings")
    # So that no checkpoint of what went before falls into what is measured.
    await superuser.execute("CHECKPOINT")
