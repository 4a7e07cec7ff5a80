"""What every repository's filtered search must do."""

from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from nakamura_misaki.domain.note import FoundNote, SearchFilter
from repository_backend import NOON, Backend, note


async def _found(backend: Backend, where: SearchFilter, user_id: str | None = None) -> set[str]:
    return {found.content for found in await backend.notes.search("会議", user_id, 100, where)}


async def test_each_part_narrows(backend: Backend) -> None:
    notes = {
        "会議 a": {"category": "decisions", "session_id": "s1", "created_at": NOON},
        "会議 b": {"category": "errors", "created_at": NOON + timedelta(hours=1)},
        "会議 c": {"session_id": "s1", "created_at": NOON + timedelta(hours=2), "user_id": "U9"},
        "会議 d": {"category": "decisions", "created_at": NOON + timedelta(hours=3)},
    }
    for content, fields in notes.items():
        await backend.notes.save(note(content, **fields))
    everything = set(notes)
    assert await _found(backend, SearchFilter()) == everything
    assert await _found(backend, SearchFilter(categories=("decisions",))) == {"会議 a", "会議 d"}
    both = SearchFilter(categories=("decisions", "errors"))
    assert await _found(backend, both) == everything - {"会議 c"}
    assert await _found(backend, SearchFilter(categories=("none",))) == set()
    assert await _found(backend, SearchFilter(session_id="s1")) == {"会議 a", "会議 c"}
    assert await _found(backend, SearchFilter(session_id="s1"), "U9") == {"会議 c"}
    later = SearchFilter(since=NOON + timedelta(hours=1))
    assert await _found(backend, later) == everything - {"会議 a"}
    between = SearchFilter(since=NOON, until=NOON + timedelta(hours=1))
    assert await _found(backend, between) == {"会議 a"}
    far_east = NOON.astimezone(timezone(timedelta(hours=23, minutes=59)))
    assert await _found(backend, replace(between, since=far_east)) == {"会議 a"}
    assert await _found(backend, SearchFilter(categories=("decisions",), session_id="s1")) == {
        "会議 a"
    }


@pytest.mark.parametrize(
    ("wanted", "is_held"),
    [
        ({}, True),
        ({"status": "open"}, True),
        ({"status": "closed"}, False),
        ({"status": ["open"]}, False),
        ({"count": 3}, True),
        ({"count": 3.0}, True),
        ({"count": "3"}, False),
        ({"count": True}, False),
        ({"one": True}, True),
        ({"one": 1}, False),
        ({"none": None}, True),
        ({"missing": None}, False),
        ({"tags": []}, True),
        ({"tags": ["b"]}, True),
        ({"tags": ["b", "a", "b"]}, True),
        ({"tags": ["c"]}, False),
        ({"tags": "a"}, False),
        ({"tags": {}}, False),
        ({"deep": {"er": {}}}, True),
        ({"deep": {"er": {"数": [[2]]}}}, True),
        ({"deep": {"er": {"数": [2]}}}, False),
        ({"large": 2**70}, True),
        ({"large": float(2**70)}, False),
        ({"quote": 'it\'s \\ "x" $1 %s'}, True),
        ({"status": "open", "count": 4}, False),
    ],
)
async def test_metadata_is_contained_as_in_jsonb(
    backend: Backend, wanted: dict[str, Any], is_held: bool
) -> None:
    metadata = {
        "status": "open",
        "count": 3,
        "one": True,
        "none": None,
        "tags": ["a", "b"],
        "deep": {"er": {"数": [1, [2, 3]]}},
        "large": 2**70,
        "quote": 'it\'s \\ "x" $1 %s',
    }
    await backend.notes.save(note("会議の記録", metadata=metadata))
    found = await backend.notes.search("会議", "U1", 10, SearchFilter(metadata=wanted))
    assert len(found) == is_held


async def test_values_of_a_filter_are_no_sql(backend: Backend) -> None:
    odd = "x'); DELETE FROM notes; -- %s {} \\"
    await backend.notes.save(note("会議", category=odd, session_id=odd))
    assert await _found(backend, SearchFilter(categories=(odd, 'a,b"{}'), session_id=odd)) == {
        "会議"
    }
    assert await _found(backend, SearchFilter(categories=(odd[1:],))) == set()


async def test_a_found_note_carries_the_passage_that_matched(backend: Backend) -> None:
    await backend.notes.save(note("前置き。" * 40 + "\r\nﾃﾞｰﾀﾍﾞｰｽの移行は金曜。" + "後。" * 200))
    (found,) = await backend.notes.search("データベースの移行", "U1")
    assert isinstance(found, FoundNote)
    passage = found.passage
    shown = [found.content[start:end] for start, end in passage.spans]
    assert shown == ["ﾃﾞｰﾀﾍﾞｰｽの移行"]
    assert found.content[passage.start : passage.end].startswith("ﾃﾞｰﾀﾍﾞｰｽの移行は金曜。")
