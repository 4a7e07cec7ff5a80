"""Whatever a repository is asked, it reaches no row of another workspace.

Every public method of every PostgreSQL repository is called for one workspace
with another one's ids and users; a method that has no case here fails the suite.
What raw SQL can do as the runtime role stands in integration/test_isolation_sql.py.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from database_server import Server, connect
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
    PostgreSQLHandoffRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_model_store import PostgreSQLModelStore
from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
    PostgreSQLSessionRepository,
)
from nakamura_misaki.adapters.secondary.postgresql_task_repository import PostgreSQLTaskRepository
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import (
    EmbeddedBatch,
    PendingTexts,
    StoredEmbedding,
    WriteCount,
)
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE, RUNTIME_TABLES

SECRET = "極秘の買収"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DUE_NOW = datetime.now(UTC)


class Listening(HashingEmbedder):
    """An embedder that remembers what it was given to read."""

    def __init__(self) -> None:
        super().__init__(64)
        self.heard: list[str] = []

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        self.heard.extend(texts)
        return await super().embed(texts)


@dataclass(frozen=True)
class Workspace:
    """The repositories of one workspace."""

    tasks: PostgreSQLTaskRepository
    handoffs: PostgreSQLHandoffRepository
    notes: PostgreSQLNoteRepository
    sessions: PostgreSQLSessionRepository
    models: PostgreSQLModelStore
    embedder: Listening

    @classmethod
    def of(cls, manager: DatabaseManager, workspace_id: str) -> "Workspace":
        embedder = Listening()
        return cls(
            PostgreSQLTaskRepository(manager, workspace_id=workspace_id),
            PostgreSQLHandoffRepository(manager, workspace_id=workspace_id),
            PostgreSQLNoteRepository(manager, embedder, workspace_id=workspace_id),
            PostgreSQLSessionRepository(manager, workspace_id=workspace_id),
            PostgreSQLModelStore(manager, embedder, workspace_id=workspace_id),
            embedder,
        )


@dataclass(frozen=True)
class Victim:
    """What lies in the other workspace."""

    task: Task
    handoff: Handoff
    note: Note
    unembedded: Note
    session: Session


async def victim(manager: DatabaseManager, workspace_id: str) -> Victim:
    there = Workspace.of(manager, workspace_id)
    task = Task(
        id=uuid4(),
        title=SECRET,
        assignee_user_id="U1",
        creator_user_id="U1",
        due_at=DUE_NOW,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    handoff = Handoff(
        id=uuid4(),
        task_id=task.id,
        from_user_id="U2",
        to_user_id="U1",
        progress_note=SECRET,
        handoff_at=LONG_AGO,
    )
    note = Note(
        id=uuid4(),
        user_id="U1",
        content=f"{SECRET} 本文",
        session_id="s1",
        category="decisions",
        source_key="legacy:1",
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    unembedded = Note(id=uuid4(), user_id="U1", content=f"{SECRET} まだ")
    session = Session(
        id="s1", user_id="U1", title=SECRET, last_active_at=LONG_AGO, created_at=LONG_AGO
    )
    await there.tasks.create(task)
    await there.handoffs.create(handoff)
    await there.notes.save(note)
    await there.notes.save_many([unembedded])
    await there.sessions.create(session)
    return Victim(task, handoff, note, unembedded, session)


async def rows_of(owner_url: str, workspace_id: str) -> dict[str, list[str]]:
    """Every row of the workspace, seen from above row-level security."""
    connection = await connect(owner_url)
    try:
        return {
            table: [
                row[0]
                for row in await connection.fetch(
                    f"SELECT t::text FROM {table} AS t WHERE workspace_id = $1 ORDER BY 1",
                    workspace_id,
                )
            ]
            for table in RUNTIME_TABLES
        }
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def shared(server: Server, template: str) -> Iterator[str]:
    """A database for all tests of this module: each has workspaces of its own in it."""
    name = server.create_database(template)
    yield name
    server.drop_database(name)


@pytest.fixture
def ours() -> str:
    return f"T_{uuid4().hex}"


@pytest.fixture
def theirs() -> str:
    return f"T_{uuid4().hex}"


@pytest.fixture
def shared_owner_url(server: Server, shared: str) -> str:
    return server.url(shared)


@pytest.fixture
async def narrow(server: Server, shared: str, ours: str) -> AsyncIterator[DatabaseManager]:
    """A manager of so few connections that every one of them serves both workspaces."""
    url = server.url(shared, RUNTIME_ROLE)
    manager = DatabaseManager(url, pool_size=1, max_overflow=1, workspace_id=ours)
    yield manager
    in_use = manager.pool_status().in_use
    await manager.close()
    assert in_use == 0


async def gathered(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


async def at_work(workspace: Workspace) -> None:
    """Hold the place for a moment; the other workspace's is another one."""
    async with workspace.models.at_work():
        pass


Call: TypeAlias = Callable[[Workspace, Victim], Awaitable[Any]]
NEW = WriteCount(new=1)

# What each method answers here when it is asked for what lies there: a value, or an error.
CASES: dict[tuple[type, str], tuple[Call, Any]] = {
    (PostgreSQLTaskRepository, "get"): (lambda w, v: w.tasks.get(v.task.id), None),
    (PostgreSQLTaskRepository, "update"): (
        lambda w, v: w.tasks.update(replace(v.task, title="ours").start()),
        NotFound,
    ),
    (PostgreSQLTaskRepository, "delete"): (lambda w, v: w.tasks.delete(v.task.id), None),
    (PostgreSQLTaskRepository, "list_by_user"): (lambda w, v: w.tasks.list_by_user("U1"), []),
    (PostgreSQLTaskRepository, "list_due_today"): (lambda w, v: w.tasks.list_due_today("U1"), []),
    (PostgreSQLTaskRepository, "find_ids"): (
        lambda w, v: w.tasks.find_ids(v.task.id.hex[:8]),
        [],
    ),
    (PostgreSQLTaskRepository, "stream"): (lambda w, v: gathered(w.tasks.stream()), []),
    # The same id here is another task: nothing of the one there shows, not even that it exists.
    (PostgreSQLTaskRepository, "create"): (
        lambda w, v: w.tasks.create(replace(v.task, title="ours")),
        lambda v: replace(v.task, title="ours"),
    ),
    (PostgreSQLTaskRepository, "create_many"): (
        lambda w, v: w.tasks.create_many([replace(v.task, title="ours", updated_at=DUE_NOW)]),
        NEW,
    ),
    (PostgreSQLHandoffRepository, "create"): (
        lambda w, v: w.handoffs.create(replace(v.handoff, progress_note="ours")),
        NotFound,
    ),
    (PostgreSQLHandoffRepository, "get"): (lambda w, v: w.handoffs.get(v.handoff.id), None),
    (PostgreSQLHandoffRepository, "list_by_to_user"): (
        lambda w, v: w.handoffs.list_by_to_user("U1"),
        [],
    ),
    (PostgreSQLHandoffRepository, "list_pending_reminders"): (
        lambda w, v: w.handoffs.list_pending_reminders(),
        [],
    ),
    (PostgreSQLHandoffRepository, "mark_reminded"): (
        lambda w, v: w.handoffs.mark_reminded(v.handoff.id),
        False,
    ),
    (PostgreSQLHandoffRepository, "claim_reminders"): (
        lambda w, v: w.handoffs.claim_reminders(9, timedelta(minutes=2)),
        [],
    ),
    (PostgreSQLHandoffRepository, "postpone_reminder"): (
        lambda w, v: w.handoffs.postpone_reminder(v.handoff.id, LONG_AGO),
        None,
    ),
    (PostgreSQLHandoffRepository, "mark_completed"): (
        lambda w, v: w.handoffs.mark_completed(v.handoff.id),
        False,
    ),
    (PostgreSQLHandoffRepository, "create_many"): (
        # Of a task that is only there, so it counts as known to nobody and is not stored.
        lambda w, v: w.handoffs.create_many([replace(v.handoff, reminded_at=DUE_NOW)]),
        WriteCount(known=1),
    ),
    (PostgreSQLHandoffRepository, "find_ids"): (
        lambda w, v: w.handoffs.find_ids(v.handoff.id.hex[-8:]),
        [],
    ),
    (PostgreSQLHandoffRepository, "stream"): (lambda w, v: gathered(w.handoffs.stream()), []),
    (PostgreSQLSessionRepository, "create"): (
        lambda w, v: w.sessions.create(replace(v.session, title="ours")),
        lambda v: replace(v.session, title="ours"),
    ),
    (PostgreSQLSessionRepository, "get"): (lambda w, v: w.sessions.get("s1"), None),
    (PostgreSQLSessionRepository, "update_last_active"): (
        lambda w, v: w.sessions.update_last_active("s1"),
        NotFound,
    ),
    (PostgreSQLSessionRepository, "delete_inactive"): (
        lambda w, v: w.sessions.delete_inactive(1),
        0,
    ),
    (PostgreSQLSessionRepository, "list_by_user"): (
        lambda w, v: w.sessions.list_by_user("U1"),
        [],
    ),
    (PostgreSQLSessionRepository, "create_many"): (
        lambda w, v: w.sessions.create_many(
            [replace(v.session, title="ours", last_active_at=DUE_NOW)]
        ),
        NEW,
    ),
    (PostgreSQLSessionRepository, "stream"): (lambda w, v: gathered(w.sessions.stream()), []),
    (PostgreSQLNoteRepository, "save"): (
        lambda w, v: w.notes.save(replace(v.note, content="ours", user_id="U7")),
        lambda v: replace(v.note, content="ours", user_id="U7"),
    ),
    (PostgreSQLNoteRepository, "get"): (lambda w, v: w.notes.get(v.note.id), None),
    (PostgreSQLNoteRepository, "search"): (lambda w, v: w.notes.search("買収"), []),
    (PostgreSQLNoteRepository, "list_by_session"): (
        lambda w, v: w.notes.list_by_session("s1"),
        [],
    ),
    (PostgreSQLNoteRepository, "list_by_user"): (lambda w, v: w.notes.list_by_user("U1"), []),
    (PostgreSQLNoteRepository, "save_many"): (
        lambda w, v: w.notes.save_many([replace(v.note, content="ours", updated_at=DUE_NOW)]),
        NEW,
    ),
    (PostgreSQLNoteRepository, "find_ids"): (
        lambda w, v: w.notes.find_ids(v.note.id.hex[:8]),
        [],
    ),
    (PostgreSQLNoteRepository, "stream"): (lambda w, v: gathered(w.notes.stream()), []),
    (PostgreSQLNoteRepository, "count_pending"): (lambda w, v: w.notes.count_pending(), 0),
    (PostgreSQLNoteRepository, "embed_pending"): (lambda w, v: w.notes.embed_pending(), 0),
    (PostgreSQLNoteRepository, "store_embeddings"): (
        lambda w, v: w.notes.store_embeddings(
            [StoredEmbedding(v.unembedded.id, w.embedder.model, [1.0] * 64)]
        ),
        0,
    ),
    (PostgreSQLNoteRepository, "stream_embeddings"): (
        lambda w, v: gathered(w.notes.stream_embeddings()),
        [],
    ),
    (PostgreSQLModelStore, "at_work"): (lambda w, v: at_work(w), None),
    (PostgreSQLModelStore, "models"): (lambda w, v: w.models.models(), []),
    (PostgreSQLModelStore, "measure_pending"): (
        lambda w, v: w.models.measure_pending(8191),
        PendingTexts(0, 0, 0, 0),
    ),
    (PostgreSQLModelStore, "register"): (lambda w, v: w.models.register(), None),
    (PostgreSQLModelStore, "embed_next"): (
        lambda w, v: w.models.embed_next(256, None),
        EmbeddedBatch(0, 0, None),
    ),
    (PostgreSQLModelStore, "switch_to"): (
        # A model that is registered there only.
        lambda w, v: w.models.switch_to(w.embedder.model),
        NotFound,
    ),
    (PostgreSQLModelStore, "discard_others"): (lambda w, v: w.models.discard_others(), 0),
}

REPOSITORIES = (
    PostgreSQLTaskRepository,
    PostgreSQLHandoffRepository,
    PostgreSQLNoteRepository,
    PostgreSQLSessionRepository,
    PostgreSQLModelStore,
)
# The model store has what the notes' repository has, too: the one base of both.
METHODS = [
    (kind, name)
    for kind in REPOSITORIES
    for name in sorted(dir(kind))
    if not name.startswith("_")
    and (kind is not PostgreSQLModelStore or name not in dir(PostgreSQLNoteRepository))
]


@pytest.mark.parametrize(
    ("kind", "name"), METHODS, ids=lambda part: getattr(part, "__name__", part)
)
async def test_no_method_reaches_another_workspace(
    narrow: DatabaseManager, shared_owner_url: str, kind: type, name: str, ours: str, theirs: str
) -> None:
    assert (kind, name) in CASES, f"say here what {kind.__name__}.{name} may not reach"
    call, expected = CASES[kind, name]
    there = await victim(narrow, theirs)
    before = await rows_of(shared_owner_url, theirs)
    here = Workspace.of(narrow, ours)
    if isinstance(expected, type) and issubclass(expected, Exception):
        with pytest.raises(expected) as caught:
            await call(here, there)
        assert SECRET not in str(caught.value)
    else:
        answer = await call(here, there)
        assert answer == (expected(there) if callable(expected) else expected)
        assert SECRET not in repr(answer)
    assert await rows_of(shared_owner_url, theirs) == before
    assert not [heard for heard in here.embedder.heard if SECRET in heard]


def test_every_case_is_of_a_method_that_exists() -> None:
    assert set(CASES) == set(METHODS)


async def test_equal_ids_of_two_workspaces_are_two_entries(
    narrow: DatabaseManager, shared_owner_url: str, ours: str, theirs: str
) -> None:
    there = await victim(narrow, theirs)
    here = Workspace.of(narrow, ours)
    mine = replace(there.task, title="ours")
    await here.tasks.create(mine)
    await here.notes.save(replace(there.note, content="ours 本文"))
    before = await rows_of(shared_owner_url, theirs)
    await here.tasks.update(mine.start())
    await here.tasks.delete(mine.id)
    await here.notes.save(replace(there.note, content="ours again"))
    assert await here.tasks.get(mine.id) is None
    assert [n.content for n in await here.notes.search("本文 again", "U1")] == ["ours again"]
    assert await rows_of(shared_owner_url, theirs) == before


async def test_workspace_named_like_sql_is_a_name(narrow: DatabaseManager, theirs: str) -> None:
    await victim(narrow, theirs)
    for name in (
        "' OR ''='",
        f"{theirs}'--",
        '"; RESET ALL; --',
        "%",
        f"{theirs} ",
        theirs.lower(),
    ):
        elsewhere = Workspace.of(narrow, name)
        assert await gathered(elsewhere.tasks.stream()) == []
        assert await elsewhere.notes.search("買収") == []
        await elsewhere.sessions.create(Session(id="s1", user_id="U1", title=name))
        found = await elsewhere.sessions.get("s1")
        assert found is not None
        assert found.title == name


async def test_connections_change_hands_between_workspaces_under_load(
    database_url: str, owner_url: str
) -> None:
    """Errors, cancellations and transactions in between: everybody reads back only their own."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    manager = DatabaseManager(database_url, pool_size=2, max_overflow=1, pool_timeout=30)
    names = [f"T{n}" for n in range(5)]
    kept: dict[str, set[UUID]] = {name: set() for name in names}

    async def work(name: str) -> None:
        tasks = PostgreSQLTaskRepository(manager, workspace_id=name)

        async def add() -> None:
            task = Task(id=uuid4(), title=name, assignee_user_id="U1", creator_user_id="U1")
            await tasks.create(task)
            kept[name].add(task.id)

        match chance.choice(["add", "add", "fail", "roll back", "cancel", "group"]):
            case "add":
                await add()
            case "fail":
                with pytest.raises(NotFound):
                    await tasks.update(
                        Task(id=uuid4(), title="x", assignee_user_id="U1", creator_user_id="U1")
                    )
            case "roll back":
                with pytest.raises(ZeroDivisionError):
                    async with manager.transaction(workspace_id=name):
                        await tasks.create(
                            Task(id=uuid4(), title="no", assignee_user_id="U", creator_user_id="U")
                        )
                        raise ZeroDivisionError
            case "cancel":
                sleeping = asyncio.create_task(
                    manager.run(lambda c: c.execute("SELECT pg_sleep(30)"), workspace_id=name)
                )
                await asyncio.sleep(chance.random() / 100)
                sleeping.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sleeping
            case "group":
                async with manager.transaction(workspace_id=name):
                    await add()
                    await add()
        assert {task.title for task in await tasks.list_by_user("U1")} <= {name}

    try:
        await asyncio.gather(*(work(chance.choice(names)) for _ in range(150)))
        for name in names:
            stored = await gathered(PostgreSQLTaskRepository(manager, workspace_id=name).stream())
            assert {task.id for task in stored} == kept[name]
    finally:
        await manager.close()


async def test_session_after_another_workspaces_operation_is_of_the_managers_own(
    narrow: DatabaseManager, ours: str, theirs: str
) -> None:
    await victim(narrow, theirs)
    setting = text("SELECT current_setting('nakamura_misaki.workspace_id')")
    async with narrow.get_session() as session:
        assert await session.scalar(setting) == ours
        assert await session.scalar(text("SELECT count(*) FROM tasks")) == 0


async def test_task_that_outlives_its_transaction_does_not_join_the_next_one(
    narrow: DatabaseManager, ours: str
) -> None:
    """What it was told is stored stays stored, whatever becomes of other transactions."""
    here = Workspace.of(narrow, ours)
    begun = asyncio.Event()
    session = Session(id="late", user_id="U1")

    async def later() -> None:
        await begun.wait()
        await here.sessions.create(session)

    async with narrow.transaction():
        left_over = asyncio.create_task(later())
    with pytest.raises(ZeroDivisionError):
        async with narrow.transaction():
            begun.set()
            await left_over
            raise ZeroDivisionError
    assert await here.sessions.get("late") is not None


async def test_one_transaction_reaches_one_workspace(narrow: DatabaseManager, theirs: str) -> None:
    there = Workspace.of(narrow, theirs)
    async with narrow.transaction():
        with pytest.raises(RuntimeError, match="two workspaces"):
            await there.sessions.get("s1")


async def test_old_reminders_of_one_workspace_wake_no_other(
    narrow: DatabaseManager, ours: str, theirs: str
) -> None:
    there = await victim(narrow, theirs)
    soon = replace(
        there.handoff, id=uuid4(), task_id=None, handoff_at=DUE_NOW + timedelta(minutes=1)
    )
    here = Workspace.of(narrow, ours)
    await here.handoffs.create(replace(soon, progress_note="ours"))
    assert [h.progress_note for h in await here.handoffs.list_pending_reminders()] == ["ours"]
