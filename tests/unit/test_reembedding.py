"""Another model for the vectors: reuse of what is stored, the switch, the way back."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydantic import SecretStr

from database_server import connect
from embedding_models import Model, a_note, nothing
from nakamura_misaki.adapters.secondary.postgresql_embedding_store import PENDING
from nakamura_misaki.adapters.secondary.postgresql_model_store import PostgreSQLModelStore
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.application.notes import embed_all_pending
from nakamura_misaki.application.reembedding import (
    Plan,
    Reembedding,
    active_of,
    replaced_last,
)
from nakamura_misaki.domain.errors import (
    AlreadyAtWork,
    EmbeddingFailed,
    EmbeddingModelMismatch,
    EmbeddingRejected,
    NotFound,
)
from nakamura_misaki.domain.note import Leg, LegSkipped, Note
from nakamura_misaki.domain.repositories import PendingTexts
from nakamura_misaki.infrastructure.database.maintenance import index_model, maintain
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.di import compose
from nakamura_misaki.infrastructure.metrics import Metrics
from nakamura_misaki.infrastructure.settings import Settings


async def no_indexes(model: str) -> list[str]:
    return []


def reembedding(manager: DatabaseManager, model: Model, **options: int) -> Reembedding:
    async def no_sleep(seconds: float) -> None:
        pass

    store = PostgreSQLModelStore(manager, model)
    return Reembedding(
        store,
        model.model,
        no_indexes,
        max_bytes=8191,
        sleep=no_sleep,
        batch=options.get("batch", 256),
    )


async def models(manager: DatabaseManager) -> list[tuple[str, bool, int, int]]:
    stored = await PostgreSQLModelStore(manager, None).models()
    return [(each.model, each.is_active, each.vectors, each.missing) for each in stored]


async def test_plan_says_what_is_to_be_done(manager: DatabaseManager) -> None:
    old, new = Model(32), Model(48)
    notes = PostgreSQLNoteRepository(manager, old)
    for text in ("12345678", "12345678", "税" * 10, "x" * 16000):
        await notes.save(a_note(text))
    plan = await reembedding(manager, new).plan()
    pending = PendingTexts(notes=4, texts=3, ascii_characters=8 + 8191, other_characters=10)
    assert plan == Plan(new.model, old.model, pending)
    assert plan.tokens == round(8199 / 4 + 12)
    assert plan.cost(0.13) == pytest.approx(plan.tokens * 0.13e-6)
    assert plan.cost(None) is None
    assert await models(manager) == [(old.model, True, 4, 0)]


async def test_switch_comes_when_every_note_has_its_vector(manager: DatabaseManager) -> None:
    old, new = Model(32), Model(48)
    running = PostgreSQLNoteRepository(manager, old)
    await running.save_many([a_note(f"議事録 {n}") for n in range(50)])
    await running.embed_pending()
    late: list[Note] = []

    async def save_one(texts: Sequence[str]) -> None:
        if len(late) < 8:
            late.append(await running.save(a_note(f"遅い {len(late)}")))

    new.before = save_one
    outcome = await reembedding(manager, new, batch=10).run()
    assert (outcome.replaced, outcome.missing) == (old.model, 0)
    assert outcome.embedded == 50 + len(late) == 58
    everything = 50 + len(late)
    assert await models(manager) == [
        (new.model, True, everything, 0),
        (old.model, False, everything, 0),
    ]
    again = await reembedding(manager, new).run()
    assert (again.replaced, again.embedded, again.asked) == (None, 0, 0)


async def test_switch_catches_up_with_a_writer_that_never_rests(manager: DatabaseManager) -> None:
    old, new = Model(32), Model(48)
    running = PostgreSQLNoteRepository(manager, old)
    await running.save(a_note("初め"))
    done = asyncio.Event()

    async def write() -> int:
        written = 0
        while not done.is_set():
            await running.save(a_note(f"書き続ける {written}"))
            written += 1
        return written

    async def slowly(texts: Sequence[str]) -> None:
        await asyncio.sleep(0.02)  # an embedder that is slower than the writer

    new.before = slowly
    writing = asyncio.create_task(write())
    outcome = await reembedding(manager, new).run()
    assert outcome.missing == 0
    done.set()
    assert await writing > 20
    assert active_of(await PostgreSQLModelStore(manager, None).models()) == new.model


async def test_service_goes_on_by_words_when_its_model_is_replaced(
    manager: DatabaseManager,
) -> None:
    old, new = Model(32), Model(48)
    service = PostgreSQLNoteRepository(manager, old, outlives_switch=True)
    note = await service.save(a_note("売上の集計"))
    await reembedding(manager, new).run()
    for _ in range(2):
        answer = await service.search("売上")
        assert [n.id for n in answer] == [note.id]
        assert answer.skipped == {Leg.VECTOR: LegSkipped.MODEL_REPLACED}
    with pytest.raises(EmbeddingModelMismatch, match="reembed"):
        await PostgreSQLNoteRepository(manager, old).search("売上")
    await reembedding(manager, old).roll_back(can_embed=True)
    assert (await service.search("売上")).skipped == {}


async def test_composed_service_outlives_a_switch_before_its_first_search(
    manager: DatabaseManager, database_url: str
) -> None:
    await PostgreSQLNoteRepository(manager, Model(64)).save(a_note("売上の集計"))
    settings = Settings(
        database_url=SecretStr(database_url),
        embedding_provider="hashing",
        embedding_dimensions=64,
    )
    async with compose(settings, observer=Metrics()) as service, compose(settings) as command:
        await reembedding(manager, Model(48)).run()
        answer = await service.notes.search("売上")
        assert (len(answer), answer.skipped) == (1, {Leg.VECTOR: LegSkipped.MODEL_REPLACED})
        with pytest.raises(EmbeddingModelMismatch):
            await command.notes.search("売上")


async def test_refused_text_stops_the_switch_unless_allowed(manager: DatabaseManager) -> None:
    old, new = Model(32), Model(48, refuses=["悪い"])
    notes = PostgreSQLNoteRepository(manager, old)
    for text in ("良い", "悪い", "普通"):
        await notes.save(a_note(text))
    with pytest.raises(EmbeddingRejected, match=r"refuses the texts of 1 note.*--allow-missing 1"):
        await reembedding(manager, new).run()
    assert await models(manager) == [(old.model, True, 3, 0), (new.model, False, 2, 1)]
    assert (await notes.search("悪い")).skipped == {}
    outcome = await reembedding(manager, new).run(allow_missing=1)
    assert (outcome.missing, outcome.asked) == (1, 1)


async def test_embedder_that_fails_for_a_while_is_asked_again(manager: DatabaseManager) -> None:
    new = Model(48)
    notes = PostgreSQLNoteRepository(manager, Model(32))
    await notes.save_many([a_note(f"文 {n}") for n in range(30)])
    new.failures = 1
    with pytest.raises(EmbeddingFailed):  # at the very first batch it is the settings, perhaps
        await reembedding(manager, new, batch=10).run()

    async def fail_after_the_first(texts: Sequence[str]) -> None:
        if new.asked and not new.failures and not len(new.asked) % 10:
            new.failures = 2
            new.before = nothing

    new.before = fail_after_the_first
    outcome = await reembedding(manager, new, batch=10).run()
    assert (outcome.embedded, outcome.missing, new.failures) == (30, 0, 0)


async def test_rollback_embeds_what_came_since_and_switches(manager: DatabaseManager) -> None:
    old, new = Model(32), Model(48)
    first = PostgreSQLNoteRepository(manager, old)
    kept, edited = await first.save(a_note("残る")), await first.save(a_note("古い"))
    await reembedding(manager, new).run()
    second = PostgreSQLNoteRepository(manager, new)
    await second.save(replace(edited, content="直した"))
    await second.save(a_note("後から"))
    old.asked.clear()
    store = PostgreSQLModelStore(manager, None)
    assert replaced_last(await store.models()).model == old.model

    outcome = await reembedding(manager, old).roll_back(can_embed=True)
    assert (outcome.replaced, outcome.embedded, outcome.missing) == (new.model, 2, 0)
    assert sorted(old.asked) == ["後から", "直した"]
    assert await models(manager) == [(old.model, True, 3, 0), (new.model, False, 3, 0)]
    assert kept.id in {n.id for n in await first.search("残る")}

    forth = await Reembedding(
        PostgreSQLModelStore(manager, None), new.model, no_indexes, max_bytes=0
    ).roll_back(can_embed=False)
    assert (forth.replaced, forth.embedded) == (old.model, 0)


async def test_rollback_without_the_old_embedder_switches_and_counts(
    manager: DatabaseManager,
) -> None:
    old, new = Model(32), Model(48)
    await PostgreSQLNoteRepository(manager, old).save(a_note("前"))
    await reembedding(manager, new).run()
    await PostgreSQLNoteRepository(manager, new).save(a_note("後"))
    old.failures = 9
    outcome = await reembedding(manager, old).roll_back(can_embed=True)
    assert (outcome.missing, outcome.warnings) == (1, ["the server is away"])
    answer = await PostgreSQLNoteRepository(manager, Model(32)).search("後")
    assert {note.content for note in answer} == {"前", "後"}


async def test_without_an_earlier_model_there_is_nothing_to_go_back_to(
    manager: DatabaseManager,
) -> None:
    store = PostgreSQLModelStore(manager, Model(32))
    with pytest.raises(NotFound):
        replaced_last(await store.models())
    await store.register()  # not finished, so never in use
    with pytest.raises(NotFound):
        replaced_last(await store.models())
    with pytest.raises(NotFound):
        await store.switch_to("unknown@3")


async def test_discarding_leaves_only_what_is_in_use(manager: DatabaseManager) -> None:
    old, new = Model(32), Model(48)
    notes = PostgreSQLNoteRepository(manager, old)
    note = await notes.save(a_note("初め"))
    await notes.save(replace(note, content="次"))
    await reembedding(manager, new).run()
    store = PostgreSQLModelStore(manager, None)
    assert await store.discard_others() == 1
    assert await models(manager) == [(new.model, True, 1, 0)]
    spare = "SELECT count(*) FROM spare_embeddings"
    assert await manager.run(lambda c: c.fetchval(spare)) == 0
    assert await store.discard_others() == 0
    with pytest.raises(NotFound):
        replaced_last(await store.models())


async def test_count_that_writers_wait_for_looks_up_no_note_by_itself(
    manager: DatabaseManager,
) -> None:
    """Before there are statistics such a look-up reads every vector of the workspace."""
    notes = PostgreSQLNoteRepository(manager, Model(32))
    await notes.save(a_note("文"))
    await notes.save_many([a_note("二"), a_note("三")])
    await PostgreSQLNoteRepository(manager, Model(32), workspace_id="T2").save(a_note("他"))
    assert await notes.count_pending() == 2
    rows = await manager.run(
        lambda c: c.fetch("EXPLAIN " + PENDING, manager.workspace_id, "hashing-v1@32")
    )
    plan = "\n".join(row[0] for row in rows)
    assert "note_embeddings" in plan
    assert "SubPlan" not in plan
    assert "Join" not in plan


async def test_service_with_a_discarded_model_embeds_nothing_in_vain(
    manager: DatabaseManager,
) -> None:
    old = Model(32)
    running = PostgreSQLNoteRepository(manager, old, outlives_switch=True)
    await running.save_many([a_note(f"文 {n}") for n in range(5)])
    assert await embed_all_pending(running) == 5
    await reembedding(manager, Model(48)).run()
    await PostgreSQLModelStore(manager, None).discard_others()
    old.asked.clear()
    assert await embed_all_pending(running) == 0
    assert old.asked == []


async def test_two_at_once_do_not_fight(
    manager: DatabaseManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nakamura_misaki.adapters.secondary.postgresql_model_store.WAIT_FOR_DEAD", 0.2
    )
    await PostgreSQLNoteRepository(manager, Model(32)).save(a_note("文"))
    elsewhere = PostgreSQLModelStore(manager, Model(48), workspace_id="T2")
    async with PostgreSQLModelStore(manager, None).at_work():
        with pytest.raises(AlreadyAtWork, match="--status"):
            await reembedding(manager, Model(48)).run()
        async with elsewhere.at_work():
            pass
    assert (await reembedding(manager, Model(48)).run()).embedded == 1


async def test_embedding_pending_notes_and_maintaining_meanwhile_are_safe(
    manager: DatabaseManager, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nakamura_misaki.infrastructure.database.maintenance.INDEX_FROM_ROWS", 30)
    old, new = Model(32), Model(48)
    running = PostgreSQLNoteRepository(manager, old)
    await running.save_many([a_note(f"文 {n}") for n in range(300)])

    async def build(model: str) -> list[str]:
        return (await index_model(owner_url, "default", model)).actions

    work = Reembedding(
        PostgreSQLModelStore(manager, new), new.model, build, max_bytes=8191, batch=20
    )
    outcome, *_ = await asyncio.gather(
        work.run(),
        *(running.embed_pending(20) for _ in range(5)),
        maintain(owner_url, "default"),
    )
    assert "vector index of U1 built" in outcome.actions
    while await running_embeds(manager, old):
        pass
    await maintain(owner_url, "default")
    assert [row[:2] for row in await models(manager)] == [(new.model, True), (old.model, False)]
    assert (await models(manager))[0][2:] == (300, 0)
    look = await connect(owner_url)
    valid = await look.fetch(
        "SELECT obj_description(indexrelid)::jsonb ->> 'model', indisvalid FROM pg_index"
        " WHERE obj_description(indexrelid) IS NOT NULL"
    )
    await look.close()
    assert [row for row in valid if row[0] == new.model] == [(new.model, True)] * 2
    assert all(is_valid for _, is_valid in valid)


async def running_embeds(manager: DatabaseManager, model: Model) -> int:
    store = PostgreSQLModelStore(manager, model)
    return (await store.embed_next(256, None)).embedded


async def test_role_that_may_build_no_index_switches_all_the_same(
    manager: DatabaseManager, database_url: str
) -> None:
    async def build(model: str) -> list[str]:
        return (await index_model(database_url, "default", model)).actions

    old, new = Model(32), Model(48)
    await PostgreSQLNoteRepository(manager, old).save(a_note("文"))
    outcome = await Reembedding(
        PostgreSQLModelStore(manager, new), new.model, build, max_bytes=8191
    ).run()
    assert outcome.replaced == old.model
    [warning] = outcome.warnings
    assert "DATABASE_OWNER_URL" in warning


async def test_index_of_more_than_two_thousand_dimensions_is_used(
    manager: DatabaseManager, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nakamura_misaki.infrastructure.database.maintenance.INDEX_FROM_ROWS", 300)
    model = Model(3072)
    notes = [a_note(f"議事録 {n}") for n in range(300)]
    vectors = np.random.default_rng(3).standard_normal((300, 3072)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    await PostgreSQLNoteRepository(manager, model).save_many(notes, vectors.tolist())
    actions = (await index_model(owner_url, "default", model.model)).actions
    assert actions == [
        "300 vectors filed",
        "vector index of everybody built",
        "vector index of U1 built",
    ]
    async with manager.connection() as connection:
        scans = (
            "SELECT sum(pg_stat_get_xact_numscans(indexrelid)) FROM pg_index"
            " WHERE obj_description(indexrelid) IS NOT NULL"
        )
        for number in (1, 17, 299):
            async with connection.transaction():
                # Of so few rows it would be cheaper to sort all; of 2,500 it is not.
                await connection.execute("SET LOCAL enable_sort = off")
                before = await connection.fetchval(scans)
                nearest = await connection.fetch(
                    "SELECT note_id FROM nakamura_misaki_nearest('U1', $1, $2, 10)",
                    model.model,
                    vectors[number].tolist(),
                )
                assert await connection.fetchval(scans) == before + 1
            assert (nearest[0][0], len(nearest)) == (notes[number].id, 10)
