"""Vectors of one model are in use at a time: which, who is refused, and what a switch means to others."""

import asyncio

import pytest

from embedding_models import Model, Planted, a_note
from nakamura_misaki.adapters.secondary.postgresql_model_store import PostgreSQLModelStore
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.application.reembedding import Reembedding
from nakamura_misaki.domain.errors import (
    EmbeddingModelMismatch,
)
from nakamura_misaki.domain.note import Leg, LegSkipped
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.vector_codec import MAX_DIMENSIONS


async def reembed(manager: DatabaseManager, planted: Planted) -> None:
    async def no_indexes(model: str) -> list[str]:
        return []

    store = PostgreSQLModelStore(manager, planted)
    await Reembedding(store, planted.model, no_indexes, max_bytes=8191).run()


async def test_another_model_is_refused_never_mixed(manager: DatabaseManager) -> None:
    first = PostgreSQLNoteRepository(manager, Planted())
    first._embedder.vectors = {"猫": [1, 0, 0]}
    await first.save(a_note("猫"))
    other = PostgreSQLNoteRepository(manager, Planted("other@4", 4))
    note = await other.save(a_note("犬"))
    assert await first.get(note.id) == note
    with pytest.raises(EmbeddingModelMismatch, match=r"planted@3.*other@4"):
        await other.search("猫", "U1")
    with pytest.raises(EmbeddingModelMismatch):
        await other.embed_pending()


async def test_switching_the_model_embeds_everything_anew(manager: DatabaseManager) -> None:
    first, second = Planted(), Planted("other@4", 4)
    first.vectors = {"猫": [1, 0, 0]}
    second.vectors = {"猫": [0, 0, 0, 1], "cat": [0, 0, 0, 1]}
    note = await PostgreSQLNoteRepository(manager, first).save(a_note("猫"))
    notes = PostgreSQLNoteRepository(manager, second)
    assert await notes.count_pending() == 1
    await reembed(manager, second)
    assert [(e.note_id, e.model) async for e in notes.stream_embeddings()] == [
        (note.id, "other@4"),
        (note.id, "planted@3"),
    ]
    assert [n.id for n in await notes.search("cat", "U1")] == [note.id]
    with pytest.raises(EmbeddingModelMismatch):
        await PostgreSQLNoteRepository(manager, first).search("猫", "U1")


async def test_of_many_first_processes_one_model_is_claimed(
    manager: DatabaseManager, database_url: str
) -> None:
    def store(name: str) -> PostgreSQLNoteRepository:
        planted = Planted(name)
        planted.vectors = {"q": [1, 0, 0]}
        return PostgreSQLNoteRepository(manager, planted)

    stores = [store(name) for name in ("a@3", "b@3", "a@3", "b@3", "a@3", "b@3")]
    results = await asyncio.gather(*(s.search("q") for s in stores), return_exceptions=True)
    refused = [r for r in results if isinstance(r, EmbeddingModelMismatch)]
    assert len(refused) == 3
    assert [r for r in results if r not in refused and not isinstance(r, list)] == []


async def test_a_process_with_the_old_model_hears_of_the_switch(manager: DatabaseManager) -> None:
    old, new = Planted(), Planted("other@4", 4)
    old.vectors = {"猫": [1, 0, 0], "犬": [0, 1, 0]}
    new.vectors = {"猫": [1, 0, 0, 0], "犬": [0, 1, 0, 0]}
    running = PostgreSQLNoteRepository(manager, old)
    await running.save(a_note("猫"))
    assert len(await running.search("猫", "U1")) == 1
    switched = PostgreSQLNoteRepository(manager, new)
    await reembed(manager, new)
    answer = await running.search("猫", "U1")
    assert (len(answer), answer.legs) == (1, (Leg.WORDS,))
    assert answer.skipped == {Leg.VECTOR: LegSkipped.MODEL_REPLACED}
    late = await running.save(a_note("犬"))
    assert late.id not in {e.note_id async for e in switched.stream_embeddings()}
    assert await switched.embed_pending() == 1
    assert (await switched.search("犬", "U1"))[0].id == late.id


async def test_vector_of_the_most_dimensions_fits_a_page_with_long_names(
    manager: DatabaseManager,
) -> None:
    model = Model(MAX_DIMENSIONS)
    notes = PostgreSQLNoteRepository(manager, model, workspace_id="T" + "0123456789")
    await notes.save(a_note("文", "U" + "0123456789"))
    assert await notes.count_pending() == 0
