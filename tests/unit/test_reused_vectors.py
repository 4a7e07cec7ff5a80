"""A vector stands for a text: the same text is embedded once, and an edited one keeps no old vector."""

import asyncio
from dataclasses import replace

from database_server import connect
from embedding_models import Model, a_note
from nakamura_misaki.adapters.secondary.postgresql_embedding_store import text_hash
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.infrastructure.database.maintenance import maintain
from nakamura_misaki.infrastructure.database.manager import DatabaseManager


async def test_same_text_is_embedded_once_wherever_it_stands(manager: DatabaseManager) -> None:
    model = Model(32)
    notes = PostgreSQLNoteRepository(manager, model)
    first = await notes.save(a_note("同じ文"))
    second = await notes.save(a_note("同じ文", "U2"))
    assert model.asked == ["同じ文"]
    vectors = {e.note_id: list(e.embedding) async for e in notes.stream_embeddings()}
    assert vectors[first.id] == vectors[second.id]

    await notes.save_many([a_note(f"文 {n // 3}") for n in range(9)] + [a_note("同じ文")])
    assert await notes.embed_pending() == 10
    assert sorted(model.asked) == ["同じ文", "文 0", "文 1", "文 2"]


async def test_text_that_comes_back_is_not_embedded_again(
    manager: DatabaseManager, owner_url: str
) -> None:
    model = Model(32)
    notes = PostgreSQLNoteRepository(manager, model)
    note = await notes.save(a_note("最初の文"))
    [before] = [e async for e in notes.stream_embeddings()]
    await notes.save(replace(note, category="decisions"))
    await notes.save(replace(note, content="直した文"))
    await notes.save(note)
    assert model.asked == ["最初の文", "直した文"]
    assert [e async for e in notes.stream_embeddings()] == [before]

    await manager.run(lambda c: c.execute("DELETE FROM notes"))
    assert [e async for e in notes.stream_embeddings()] == []
    await notes.save_many([a_note("最初の文"), a_note("直した文")])
    assert await notes.embed_pending() == 2
    assert len(model.asked) == 2

    age = "UPDATE spare_embeddings SET kept_at = now() - interval '31 days'"
    await manager.run(lambda c: c.execute(age))
    await maintain(owner_url, "default")
    assert await manager.run(lambda c: c.fetchval("SELECT count(*) FROM spare_embeddings")) == 0


async def test_vector_of_another_workspace_is_not_reused(manager: DatabaseManager) -> None:
    model = Model(32)
    await PostgreSQLNoteRepository(manager, model, workspace_id="T1").save(a_note("秘密"))
    await PostgreSQLNoteRepository(manager, model, workspace_id="T2").save(a_note("秘密"))
    assert model.asked == ["秘密", "秘密"]


async def test_text_hash_is_the_databases(manager: DatabaseManager) -> None:
    for text in ("税", "a\\b'\n", "🚀" * 5000):
        theirs = await manager.run(
            lambda c, t=text: c.fetchval("SELECT nakamura_misaki_text_hash($1)", t)
        )
        assert theirs == text_hash(text)


async def test_unchanged_text_keeps_its_vector_in_a_bulk_write(manager: DatabaseManager) -> None:
    notes = PostgreSQLNoteRepository(manager, Model(32))
    kept, changed = await notes.save(a_note("残る")), await notes.save(a_note("変わる"))
    later = [
        replace(kept, category="x", updated_at=kept.updated_at.replace(year=2100)),
        replace(changed, content="新しい", updated_at=kept.updated_at.replace(year=2100)),
    ]
    assert (await notes.save_many(later)).updated == 2
    assert [e.note_id async for e in notes.stream_embeddings()] == [kept.id]


async def test_edit_at_the_very_moment_of_storing_leaves_no_vector_of_the_old_text(
    manager: DatabaseManager, owner_url: str
) -> None:
    """The vector is stored while an edit has begun, and the edit waits for the note's lock."""
    model = Model(32)
    notes = PostgreSQLNoteRepository(manager, model)
    note = await notes.save(a_note("古い"))
    await manager.run(lambda c: c.execute("DELETE FROM note_embeddings"))
    async with manager.transaction():
        await notes.embed_pending()
        editor = await connect(owner_url)
        editing = asyncio.create_task(
            editor.execute("UPDATE notes SET content = '新しい' WHERE id = $1", note.id)
        )
        await until_waiting(owner_url)
    await editing
    await editor.close()
    assert [e async for e in notes.stream_embeddings()] == []


async def until_waiting(owner_url: str) -> None:
    """Return once somebody waits for a lock in this database."""
    look = await connect(owner_url)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    async with asyncio.timeout(30):
        while not await look.fetchval(waiting):
            continue
    await look.close()
