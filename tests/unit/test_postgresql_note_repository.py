"""Notes in PostgreSQL: vectors, both legs, what happens when embedding fails."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import numpy as np
import pytest

from database_server import connect
from embedding_models import Planted, a_note
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import (
    AlreadyExists,
    EmbeddingFailed,
    InvalidInput,
    StorageUnavailable,
)
from nakamura_misaki.domain.note import FoundNote, Leg, LegSkipped
from nakamura_misaki.domain.repositories import StoredEmbedding
from nakamura_misaki.infrastructure.database.maintenance import maintain
from nakamura_misaki.infrastructure.database.manager import DatabaseManager


@pytest.fixture
def notes(manager: DatabaseManager, embedder: HashingEmbedder) -> PostgreSQLNoteRepository:
    return PostgreSQLNoteRepository(manager, embedder)


async def test_save_note_with_embedding(
    notes: PostgreSQLNoteRepository, manager: DatabaseManager, embedder: HashingEmbedder
) -> None:
    note = await notes.save(a_note("決定: PostgreSQL 16を採用"))
    row = await manager.run(lambda c: c.fetchrow("SELECT * FROM note_embeddings"))
    (expected,) = await embedder.embed([note.content])
    assert (row["note_id"], row["model"], row["user_id"]) == (note.id, embedder.model, "U1")
    assert np.allclose(row["embedding"], expected, atol=1e-3)
    assert await notes.count_pending() == 0


async def test_vector_search(manager: DatabaseManager) -> None:
    planted = Planted()
    notes = PostgreSQLNoteRepository(manager, planted)
    planted.vectors = {"猫": [1, 0, 0], "犬": [0.6, 0.8, 0], "車": [0, 0, 1], "pet": [0.9, 0.1, 0]}
    for text in ("車", "犬", "猫"):
        await notes.save(a_note(text))
    found = await notes.search("pet", "U1", 3)
    assert [n.content for n in found] == ["猫", "犬", "車"]
    assert found.legs == (Leg.VECTOR, Leg.WORDS)
    assert all(isinstance(n, FoundNote) and n.legs == (Leg.VECTOR,) for n in found)


async def test_search_returns_top_k(notes: PostgreSQLNoteRepository) -> None:
    for n in range(20):
        await notes.save(a_note(f"議事録 {n}回目"))
    assert len(await notes.search("議事録", "U1", 7)) == 7
    assert len(await notes.search("議事録", "U1", 100)) == 20


async def test_note_found_by_both_legs_is_better_than_by_one(manager: DatabaseManager) -> None:
    planted = Planted()
    notes = PostgreSQLNoteRepository(manager, planted)
    planted.vectors = {"売上の話": [1, 0, 0], "別の話題": [1, 0, 0], "売上": [1, 0, 0]}
    both = await notes.save(a_note("売上の話"))
    await notes.save(a_note("別の話題"))
    best = (await notes.search("売上", "U1"))[0]
    assert best.id == both.id
    assert isinstance(best, FoundNote)
    assert best.legs == (Leg.VECTOR, Leg.WORDS)
    assert best.score == pytest.approx(2 / 6 + 1 / 6, abs=0.05)


async def test_note_survives_a_failing_embedder(manager: DatabaseManager) -> None:
    planted = Planted()
    notes = PostgreSQLNoteRepository(manager, planted)
    planted.fails = True
    note = await notes.save(a_note("消費税の端数"))
    assert await notes.get(note.id) == note
    assert await notes.count_pending() == 1
    found = await notes.search("税", "U1")
    assert [n.id for n in found] == [note.id]
    assert found.legs == (Leg.WORDS,)
    assert found.skipped == {Leg.VECTOR: LegSkipped.EMBEDDING_FAILED}
    with pytest.raises(EmbeddingFailed):
        await notes.embed_pending()
    planted.fails = False
    planted.vectors = {"消費税の端数": [0, 1, 0]}
    assert await notes.embed_pending() == 1
    assert await notes.embed_pending() == 0
    assert await notes.count_pending() == 0


async def test_without_an_embedder_words_answer(manager: DatabaseManager) -> None:
    notes = PostgreSQLNoteRepository(manager, None)
    note = await notes.save(a_note("売上の集計"))
    found = await notes.search("売上", "U1")
    assert [n.id for n in found] == [note.id]
    assert found.skipped == {Leg.VECTOR: LegSkipped.NO_EMBEDDER}
    assert await notes.count_pending() == 0
    with pytest.raises(EmbeddingFailed):
        await notes.embed_pending()


async def test_an_edited_note_loses_its_old_vector(manager: DatabaseManager) -> None:
    planted = Planted()
    notes = PostgreSQLNoteRepository(manager, planted)
    planted.vectors = {"古い": [1, 0, 0]}
    note = await notes.save(a_note("古い"))
    await notes.save(replace(note, content="新しい"))
    assert await notes.count_pending() == 1
    assert [e async for e in notes.stream_embeddings()] == []


async def test_a_slow_vector_of_an_old_text_is_not_stored(manager: DatabaseManager) -> None:
    planted = Planted()
    notes = PostgreSQLNoteRepository(manager, planted)
    edited = asyncio.Event()
    started = asyncio.Event()

    class Slow(Planted):
        async def embed(self, texts: Sequence[str]) -> list[Embedding]:
            started.set()
            await edited.wait()
            return [[1, 0, 0]]

    slow = PostgreSQLNoteRepository(manager, Slow())
    note = a_note("古い")
    saving = asyncio.create_task(slow.save(note))
    await started.wait()
    await notes.save(replace(note, content="新しい"))
    edited.set()
    await saving
    assert [e async for e in notes.stream_embeddings()] == []
    assert await notes.count_pending() == 1


async def test_many_notes_with_their_vectors(
    notes: PostgreSQLNoteRepository, embedder: HashingEmbedder
) -> None:
    many = [a_note(f"議事録 {n}") for n in range(300)]
    vectors = await embedder.embed([n.content for n in many])
    assert (await notes.save_many(many, vectors)).new == 300
    assert (await notes.save_many(many, vectors)).known == 300
    assert await notes.count_pending() == 0
    with pytest.raises(InvalidInput, match="one vector"):
        await notes.save_many(many, vectors[1:])
    with pytest.raises(InvalidInput, match="dimensions"):
        await notes.save_many(many[:1], [[1.0, 2.0]])


async def test_vectors_come_back_as_they_were_stored(notes: PostgreSQLNoteRepository) -> None:
    note = await notes.save(a_note("覚え書き"))
    stored = [e async for e in notes.stream_embeddings()]
    assert await notes.store_embeddings(stored) == 0
    other = [StoredEmbedding(note.id, "another@2", [0.25, -1.5])]
    assert await notes.store_embeddings(other) == 1
    assert await notes.store_embeddings([StoredEmbedding(uuid4(), "another@2", [1, 0])]) == 0
    again = [e async for e in notes.stream_embeddings()]
    assert list(again[0].embedding) == [0.25, -1.5]
    assert again[1] == stored[0]
    with pytest.raises(InvalidInput, match="3900"):
        await notes.store_embeddings([StoredEmbedding(note.id, "large", [0.0] * 3901)])


def test_a_model_that_does_not_fit_a_page_is_refused(manager: DatabaseManager) -> None:
    with pytest.raises(InvalidInput, match="3900"):
        PostgreSQLNoteRepository(manager, Planted("large", 4096))


async def test_megabytes_without_a_break_are_stored_and_found(
    notes: PostgreSQLNoteRepository,
) -> None:
    han = "".join(map(chr, range(0x4E00, 0x9FFF)))
    note = await notes.save(a_note("始" + han * 100))
    assert (await notes.get(note.id)) == note
    assert [n.id for n in await notes.search("始一", "U1")] == [note.id]
    words = await notes.save(a_note("x" * 3_000_000))
    assert (await notes.get(words.id)) == words


async def test_markup_of_sql_and_of_tsquery_is_text(notes: PostgreSQLNoteRepository) -> None:
    note = await notes.save(a_note("'; DROP TABLE notes; -- %s $1 \\ & | ! :* <-> ( )"))
    for query in (note.content, "'a' & !b:*", "\\", "$1", "'", "🚀", "a <-> b | c"):
        await notes.search(query, "U1'; DROP TABLE notes; --")
        await notes.search(query, "U1")
    assert await notes.get(note.id) == note


async def test_index_and_scan_together_find_all(
    manager: DatabaseManager, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows in the index, rows that came later, edited and deleted ones: always the exact answer."""
    monkeypatch.setattr("nakamura_misaki.infrastructure.database.maintenance.INDEX_FROM_ROWS", 400)
    random = np.random.default_rng(3)
    planted = Planted("planted@16", 16)
    notes = PostgreSQLNoteRepository(manager, planted)
    many = [a_note(f"n{n}", "U1" if n % 4 else "it's U2") for n in range(800)]
    vectors = random.standard_normal((800, 16)).astype(np.float16).astype(float)
    await notes.save_many(many, vectors.tolist())
    report = await maintain(owner_url, "default")
    assert "vector index of everybody built" in report.actions
    assert "vector index of U1 built" in report.actions
    late = [a_note(f"late {n}") for n in range(50)]
    late_vectors = random.standard_normal((50, 16)).astype(np.float16).astype(float)
    await notes.save_many(late, late_vectors.tolist())
    everything = {n.content: (n.user_id, v) for n, v in zip(many, vectors, strict=True)}
    everything |= {n.content: (n.user_id, v) for n, v in zip(late, late_vectors, strict=True)}

    async def expect_exact(user_id: str | None) -> None:
        target = random.standard_normal(16)
        planted.vectors["zzz"] = target.tolist()
        rows = [(c, v) for c, (u, v) in everything.items() if user_id in (None, u)]
        cosine = [v @ target / np.linalg.norm(v) for _, v in rows]
        best = [rows[i][0] for i in np.argsort(cosine)[::-1][:10]]
        assert [n.content for n in await notes.search("zzz", user_id, 10)] == best

    for user_id in ("U1", "it's U2", None) * 5:
        await expect_exact(user_id)
    assert len(await notes.search("zzz", "U1", 1000)) == 650
    assert (await maintain(owner_url, "default")).actions == ["50 vectors filed"]
    for user_id in ("U1", "it's U2", None) * 5:
        await expect_exact(user_id)


async def test_an_unneeded_vector_index_is_dropped(
    manager: DatabaseManager, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "nakamura_misaki.infrastructure.database.maintenance.INDEX_FROM_ROWS"
    monkeypatch.setattr(module, 10)
    planted = Planted()
    planted.vectors = {"n": [1, 0, 0]}
    notes = PostgreSQLNoteRepository(manager, planted)
    await notes.save_many([a_note(f"n{n}") for n in range(10)], [[1.0, n, 0.5] for n in range(10)])
    await maintain(owner_url, "default")
    monkeypatch.setattr(module, 1000)
    actions = (await maintain(owner_url, "default")).actions
    assert len([a for a in actions if a.endswith("dropped")]) == 2
    assert len(await notes.search("n", "U1", 20)) == 10


async def test_many_notes_are_searched_by_their_rare_words(
    manager: DatabaseManager, owner_url: str
) -> None:
    notes = PostgreSQLNoteRepository(manager, None)
    await notes.save_many([a_note(f"会議の議事録 {n}") for n in range(2500)])
    rare = await notes.save(a_note("会議の議事録 監査"))
    actions = (await maintain(owner_url, "default")).actions
    assert "common terms of 2,501 notes counted" in actions
    assert (await notes.search("監査の会議の議事録は？", "U1"))[0].id == rare.id
    assert len(await notes.search("会議", "U1", 30)) == 30


async def test_saving_in_a_transaction_survives_a_vector_that_is_refused(
    manager: DatabaseManager,
) -> None:
    planted = Planted()
    planted.vectors = {"猫": [float("nan"), 0, 0]}
    notes = PostgreSQLNoteRepository(manager, planted)
    async with manager.transaction():
        first = await notes.save(a_note("猫"))
        second = await notes.save(a_note("犬"))
    assert await notes.get(first.id) == first
    assert await notes.get(second.id) == second
    assert await notes.count_pending() == 2


async def test_vector_of_an_older_text_is_left_out_of_a_bulk_write(
    manager: DatabaseManager,
) -> None:
    planted = Planted()
    notes = PostgreSQLNoteRepository(manager, planted)
    old = a_note("古い")
    new = replace(old, content="新しい", updated_at=old.updated_at + timedelta(seconds=1))
    await notes.save_many([old, new], [[1, 0, 0], [0, 1, 0]])
    assert [list(e.embedding) async for e in notes.stream_embeddings()] == [[0, 1, 0]]
    stored = await notes.save(a_note("別"))
    older = replace(stored, content="前の文", updated_at=stored.updated_at - timedelta(seconds=1))
    await notes.save_many([older], [[0, 0, 1]])
    assert [e.note_id async for e in notes.stream_embeddings()] == [old.id]


async def test_two_notes_of_one_source_key_are_refused(manager: DatabaseManager) -> None:
    notes = PostgreSQLNoteRepository(manager, None)
    two = [replace(a_note(text), source_key="k") for text in ("一つ", "二つ")]
    with pytest.raises(AlreadyExists, match="source key"):
        await notes.save_many(two)
    assert [n async for n in notes.stream()] == []


async def test_rolled_back_claim_of_a_model_is_made_again(manager: DatabaseManager) -> None:
    planted = Planted()
    planted.vectors = {"猫": [1, 0, 0]}
    notes = PostgreSQLNoteRepository(manager, planted)
    with pytest.raises(ZeroDivisionError):
        async with manager.transaction():
            await notes.save(a_note("猫"))
            raise ZeroDivisionError
    assert await notes.search("猫") == []
    note = await notes.save(a_note("猫"))
    assert [n.id for n in await notes.search("猫")] == [note.id]


async def test_maintenance_does_not_wait_for_a_forgotten_transaction_without_end(
    manager: DatabaseManager, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "nakamura_misaki.infrastructure.database.maintenance"
    monkeypatch.setattr(f"{module}.INDEX_FROM_ROWS", 10)
    monkeypatch.setattr(f"{module}.LOCK_WAIT", "300ms")
    notes = PostgreSQLNoteRepository(manager, Planted())
    await notes.save_many([a_note(f"n{n}") for n in range(10)], [[1.0, n, 0.5] for n in range(10)])
    forgotten = await connect(owner_url)
    async with forgotten.transaction(isolation="repeatable_read"):
        await forgotten.fetchval("SELECT count(*) FROM notes")
        with pytest.raises(StorageUnavailable, match="pg_stat_activity"):
            await maintain(owner_url, "default")
    await forgotten.close()
    assert "vector index of U1 built" in (await maintain(owner_url, "default")).actions
