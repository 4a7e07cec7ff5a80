"""Filters narrow a search, whatever their parts and however few notes they leave.

Held against a plain reading of the same rules in Python, with vector indexes built.
"""

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database_server import Server, run_apart
from nakamura_misaki.adapters.secondary.hashing_embedder import HashingEmbedder
from nakamura_misaki.adapters.secondary.postgresql_note_repository import (
    PostgreSQLNoteRepository,
    _filter_text,
)
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.note import Leg, Note, SearchFilter
from nakamura_misaki.infrastructure.database.maintenance import maintain
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE

START = datetime(2026, 1, 1, tzinfo=UTC)
CATEGORIES = (None, "decisions", "errors", "todos")
WORDS = ("売上", "集計", "移行", "障害", "請求", "release", "backup", "pool")
SIZE = 3200
FEW = 100
"""Up to how many notes are compared one by one here; in use it is thousands."""

_AMONG = """
SELECT note_id FROM nakamura_misaki_nearest_among($1, 'hashing-v1@32', $2, $3, $4::jsonb,
    nakamura_misaki_matching($1, $4::jsonb, $5))"""


def _note(place: int, draw: random.Random) -> Note:
    return Note(
        id=UUID(int=place + 1),
        user_id="big" if place % 16 else "small",
        content=" ".join(draw.choices(WORDS, k=3)) + f" {place}",
        category=draw.choice(CATEGORIES),
        session_id=None if place % 3 else f"s{place % 900}",
        metadata={"n": place % 7, "tags": draw.sample("abcd", 2), "at": {"deep": place % 2}},
        created_at=START + timedelta(hours=place),
        updated_at=START,
    )


_DRAW = random.Random(7)
NOTES = [_note(place, _DRAW) for place in range(SIZE)]


def _holds(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and _holds(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(_holds(item, value) for item in whole) for value in part
        )
    return type(whole) is type(part) and whole == part


def _is_let_through(note: Note, where: SearchFilter) -> bool:
    if where.categories and note.category not in where.categories:
        return False
    if where.session_id is not None and note.session_id != where.session_id:
        return False
    if where.since is not None and note.created_at < where.since:
        return False
    if where.until is not None and note.created_at >= where.until:
        return False
    return _holds(note.metadata, dict(where.metadata))


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[str]:
    """A database with the notes and vector indexes of everybody and of one user."""
    name = server.create_database(template)

    async def fill() -> None:
        manager = DatabaseManager(server.url(name, RUNTIME_ROLE))
        embedder = HashingEmbedder(32)
        vectors = await embedder.embed([note.content for note in NOTES])
        await PostgreSQLNoteRepository(manager, embedder).save_many(NOTES, vectors)
        await manager.close()
        report = await maintain(server.url(name), "default")
        assert "vector index of everybody built" in report.actions
        assert "vector index of big built" in report.actions

    run_apart(fill())
    yield name
    server.drop_database(name)


@pytest.fixture
async def indexed(server: Server, filled: str) -> AsyncIterator[PostgreSQLNoteRepository]:
    manager = DatabaseManager(server.url(filled, RUNTIME_ROLE))
    yield PostgreSQLNoteRepository(manager, HashingEmbedder(32))
    await manager.close()


_times = st.integers(-5, SIZE + 5).map(lambda hours: START + timedelta(hours=hours))
_metadata = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(0, 7),
        "tags": st.lists(st.sampled_from("abcde"), max_size=2),
        "at": st.sampled_from([{}, {"deep": 1}, {"deep": 2}]),
        "none": st.none(),
    },
)


@st.composite
def filters(draw: st.DrawFn) -> SearchFilter:
    since, until = draw(st.none() | _times), draw(st.none() | _times)
    if since is not None and until is not None and since >= until:
        since = until - timedelta(hours=1)
    return SearchFilter(
        categories=tuple(draw(st.lists(st.sampled_from([*CATEGORIES[1:], "other"]), max_size=2))),
        session_id=draw(st.none() | st.integers(0, 901).map("s{}".format)),
        since=since,
        until=until,
        metadata=draw(_metadata),
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    where=filters(),
    user_id=st.sampled_from([None, "big", "small"]),
    question=st.sampled_from(["売上の集計", "release", "障害", "なにもない", "pool 移行"]),
    limit=st.sampled_from([1, 10, 1000]),
)
async def test_a_filtered_search_gives_what_is_there(
    indexed: PostgreSQLNoteRepository,
    where: SearchFilter,
    user_id: str | None,
    question: str,
    limit: int,
) -> None:
    right = {
        note.id
        for note in NOTES
        if user_id in (None, note.user_id) and _is_let_through(note, where)
    }
    found = await indexed.search(question, user_id, limit, where)
    ids = [note.id for note in found]
    assert found.legs == (Leg.VECTOR, Leg.WORDS)
    assert set(ids) <= right
    assert len(set(ids)) == len(ids) == min(limit, len(right))
    assert all(where.lets_through(note) for note in found)
    # By the vector index too, which the repository asks only where a filter leaves thousands.
    (target,) = await HashingEmbedder(32).embed([question])
    rows = await indexed._run(
        lambda c: c.fetch(_AMONG, user_id, target, limit, _filter_text(where), FEW)
    )
    assert {row[0] for row in rows} <= right
    assert len(rows) == min(limit, len(right))


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.1, 0.6, 1.0])
async def test_nearest_among_some_are_the_nearest(
    indexed: PostgreSQLNoteRepository, share: float
) -> None:
    """Recall against comparing every vector, from two notes let through to all of them."""
    many = max(2, round(SIZE * share))
    where = SearchFilter(since=START, until=START + timedelta(hours=many))
    hits = asked = 0
    for question in ("売上の集計", "障害 backup", "pool release", "請求 移行"):
        (target,) = await HashingEmbedder(32).embed([question])
        found = await _nearest(indexed, target, where)
        exact = await _nearest(indexed, target, where, is_exact=True)
        assert len(found) == len(exact) == min(10, many)
        # Notes at the same distance may stand for one another.
        hits += sum(distance <= exact[-1] + 1e-6 for distance in found)
        asked += len(exact)
    assert hits / asked >= 0.99


async def test_a_filter_that_lets_only_the_farthest_through_loses_none(
    server: Server, template: str
) -> None:
    """The hard case for an index of vectors: it meets everything else first."""
    name = server.create_database(template)
    manager = DatabaseManager(server.url(name, RUNTIME_ROLE))
    embedder = HashingEmbedder(32)
    repository = PostgreSQLNoteRepository(manager, embedder)
    (target,) = await embedder.embed(["売上の集計"])
    vectors = await embedder.embed([note.content for note in NOTES])
    nearness = [sum(a * b for a, b in zip(target, vector, strict=True)) for vector in vectors]
    order = sorted(range(SIZE), key=nearness.__getitem__)
    far = order[:2100]
    notes = list(NOTES)
    for place in far:
        notes[place] = replace(NOTES[place], category="far")
    await repository.save_many(notes, vectors)
    await maintain(server.url(name), "default")
    which = '{"categories": ["far"]}'
    rows = await repository._run(
        lambda c: c.fetch(
            "SELECT distance FROM nakamura_misaki_nearest_among(NULL, 'hashing-v1@32', $1, 10,"
            " $2::jsonb, nakamura_misaki_matching(NULL, $2::jsonb, 200))",
            target,
            which,
        )
    )
    exact = sorted(1 - nearness[place] for place in far)[:10]
    assert [row[0] for row in rows] == pytest.approx(exact, abs=0.002)  # halves are less precise
    await manager.close()
    server.drop_database(name)


async def _nearest(
    repository: PostgreSQLNoteRepository,
    target: Any,
    where: SearchFilter,
    *,
    is_exact: bool = False,
) -> list[float]:
    assert where.since is not None
    assert where.until is not None
    which = f'{{"since": "{where.since.isoformat()}", "until": "{where.until.isoformat()}"}}'
    statement = (
        "SELECT e.embedding <=> $1 FROM note_embeddings AS e JOIN notes AS n ON n.id = e.note_id"
        " WHERE n.created_at >= ($2::jsonb ->> 'since')::timestamptz"
        " AND n.created_at < ($2::jsonb ->> 'until')::timestamptz ORDER BY 1 LIMIT 10"
        if is_exact
        else "SELECT distance FROM nakamura_misaki_nearest_among(NULL, 'hashing-v1@32', $1, 10,"
        f" $2::jsonb, nakamura_misaki_matching(NULL, $2::jsonb, {FEW}))"
    )
    rows = await repository._run(lambda c: c.fetch(statement, target, which))
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    "values",
    [
        {"categories": ["decisions"]},
        {"categories": ("",)},
        {"session_id": " "},
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001  (that is what is refused)
        {"since": START, "until": START},
        {"metadata": [1]},
        {"metadata": {"a": float("nan")}},
    ],
)
def test_a_filter_that_can_not_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        SearchFilter(**values)
