"""Notes of the legacy files: read without loss, written back where they stood."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.adapters.secondary.legacy_json import document, parse
from nakamura_misaki.adapters.secondary.legacy_notes import (
    NoteReader,
    array_entry,
    derived_id,
    single_document,
)
from nakamura_misaki.domain.errors import InvalidInput
from unit.legacy_stores import note_entry
from unit.legacy_strategies import JSON, NOTES, TEXT

MODIFIED_NS = 1_760_000_000_123_456_789
NOTE_ID = UUID("0199bc3c-6c02-7319-a8fc-55ef1c0219f5")


def read(entry, *, reader=None, file_name=None, category=None, modified_ns=MODIFIED_NS):
    reader = reader or NoteReader()
    return reader.read(entry, file_name=file_name, category=category, modified_ns=modified_ns)[0]


def test_array_entry_becomes_a_note_in_utc():
    note = read(note_entry())
    assert note.user_id == "U01ABC123"
    assert note.category == "decisions"
    assert note.created_at == note.updated_at == datetime(2025, 10, 7, 1, 15, 0, 482193, tzinfo=UTC)
    assert note.metadata == {"file": "docs/plan.md", "type": "modified"}
    assert note.session_id is None


@pytest.mark.parametrize(
    ("fields", "moment"),
    [
        ({"created_at": "2025-10-07T01:15:00Z"}, datetime(2025, 10, 7, 1, 15, tzinfo=UTC)),
        ({"created_at": "2025-10-07T10:15:00+09:00"}, datetime(2025, 10, 7, 1, 15, tzinfo=UTC)),
        ({"created_at": "2025-10-07T01:15:00"}, datetime(2025, 10, 7, 1, 15, tzinfo=UTC)),
        ({"timestamp": "2025-10-07T01:15:00"}, datetime(2025, 10, 7, 1, 15, tzinfo=UTC)),
        ({}, datetime(2025, 10, 9, 8, 53, 20, 123456, tzinfo=UTC)),
    ],
)
def test_time_of_a_single_note_file(fields, moment):
    entry = {"session_id": "sess_123", "user_id": "U1", "content": "…", **fields}
    note, undated = NoteReader().read(
        entry, file_name="a.json", category=None, modified_ns=MODIFIED_NS
    )
    assert note.created_at == moment
    assert undated is (not fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": None}, "user_id is missing"),
        ({"content": None}, "content is missing"),
        ({"content": ""}, "blank"),
        ({"content": " \n\u3000"}, "blank"),
        ({"content": "a\x00b"}, "NUL"),
        ({"content": "\ud800"}, "surrogate"),
        ({"content": 5}, "must be text"),
        ({"content": "あ" * 3_000_000}, "bytes long"),
        ({"user_id": 5}, "must be text"),
        ({"category": ["decisions"]}, "must be text"),
        ({"session_id": 5}, "must be text"),
        ({"metadata": {"a": "\x00"}}, "NUL"),
        ({"metadata": {"a": float("nan")}}, "JSON has no word"),
        ({"timestamp": "yesterday"}, "no date and time"),
        ({"timestamp": 1759800000}, "ISO 8601"),
        ({"timestamp": "0001-01-01T00:00:00+09:00"}, "no date and time"),
    ],
)
def test_entry_that_breaks_a_rule_is_refused_with_its_reason(fields, reason):
    with pytest.raises(InvalidInput, match=reason):
        read(note_entry(**fields))


@pytest.mark.parametrize("entry", [None, 5, "text", [note_entry()]])
def test_entry_that_is_no_object_is_refused(entry):
    with pytest.raises(InvalidInput, match="must be an object"):
        read(entry)


def test_equal_entries_are_different_notes_and_the_same_in_every_run():
    first, second = NoteReader(), NoteReader()
    one = [read(note_entry(), reader=first) for _ in range(3)]
    two = [read(note_entry(), reader=second) for _ in range(3)]
    assert one == two
    assert len({note.id for note in one}) == len({note.source_key for note in one}) == 3
    assert [note.source_key.rpartition("#")[2] for note in one] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": "U2"},
        {"category": "todos"},
        {"content": "other"},
        {"timestamp": "2025-10-07T01:15:00.482194"},
        {"metadata": {}},
        {"unknown": 1},
        {"session_id": "s"},
    ],
)
def test_source_key_tells_entries_apart_by_every_field(fields):
    reader = NoteReader()
    keys = {read(note_entry(**fields), reader=reader).source_key, read(note_entry()).source_key}
    assert len(keys) == 2


def test_source_key_ignores_the_order_of_fields_and_the_file_time():
    entry = note_entry()
    backwards = dict(reversed(entry.items()))
    backwards["metadata"] = dict(reversed(entry["metadata"].items()))
    assert read(entry).source_key == read(backwards, modified_ns=0).source_key


def test_single_notes_of_equal_content_are_told_apart_by_file_name():
    entry = {"user_id": "U1", "content": "same", "created_at": "2025-10-07T01:15:00Z"}
    keys = {read(entry, file_name=name).source_key for name in ("a.json", "b.json")}
    assert len(keys) == 2


def test_category_is_the_files_where_the_entry_has_none():
    bare = note_entry()
    del bare["category"]
    assert read(bare, category="todos").category == "todos"
    assert read(note_entry(category=""), category="todos").category == "todos"
    assert read(note_entry(), category="todos").category == "decisions"
    assert read(bare, category="decisions").source_key == read(note_entry()).source_key


def test_uuid_is_kept_and_any_other_id_is_remembered():
    named = read({"id": str(NOTE_ID), "user_id": "U1", "content": "c"}, file_name="a.json")
    assert named.id == NOTE_ID
    assert named.metadata == {}
    other = read({"id": "note-7", "user_id": "U1", "content": "c"}, file_name="a.json")
    assert other.metadata == {"legacy": {"id": "note-7"}}


def test_two_notes_of_one_id_are_both_kept():
    reader = NoteReader()
    entry = {"id": str(NOTE_ID), "user_id": "U1", "content": "one", "created_at": "2025-10-07"}
    one = read(entry, reader=reader, file_name="a.json")
    two = read({**entry, "content": "two"}, reader=reader, file_name="b.json")
    assert one.id == NOTE_ID
    assert two.id != NOTE_ID
    assert two.metadata == {"legacy": {"id": str(NOTE_ID)}}
    assert read(entry, reader=reader, file_name="a.json") == one


def test_derived_ids_are_version_8_and_sort_by_time():
    moments = [datetime(year, 5, 5, tzinfo=UTC) for year in (1960, 1975, 2025, 2026, 9999)]
    ids = [derived_id(moment, "legacy:x#1") for moment in moments]
    assert ids == sorted(ids)
    assert {(one.version, one.variant) for one in ids} == {(8, "specified in RFC 4122")}
    assert ids[2].int >> 80 == int(moments[2].timestamp() * 1000)
    assert derived_id(moments[0], "legacy:x#2") != ids[0]


@pytest.mark.parametrize(
    ("fields", "metadata"),
    [
        ({"extra": [1]}, {"file": "docs/plan.md", "type": "modified", "legacy": {"extra": [1]}}),
        ({"metadata": "text"}, {"legacy": {"metadata": "text"}}),
        ({"metadata": None}, {}),
        ({"metadata": {"legacy": 5}}, {"legacy": {"metadata": {"legacy": 5}}}),
        ({"metadata": {"extra": 1}, "extra": 2}, {"extra": 1, "legacy": {"extra": 2}}),
        (
            {"metadata": {"legacy": 1}, "legacy": 2},
            {"legacy": {"metadata": {"legacy": 1}, "legacy": 2}},
        ),
        ({"metadata": [], "extra": 2**70}, {"legacy": {"metadata": [], "extra": 2**70}}),
        ({"updated_at": "soon", "metadata": {}}, {"legacy": {"updated_at": "soon"}}),
        ({"source_key": "mine", "metadata": {}}, {"legacy": {"source_key": "mine"}}),
        ({"created_at": "2020-01-01", "metadata": {}}, {"legacy": {"created_at": "2020-01-01"}}),
    ],
)
def test_nothing_of_an_entry_is_dropped_and_a_clash_loses_neither(fields, metadata):
    note = read(note_entry(**fields))
    assert note.metadata == metadata
    assert read(parse(document(array_entry(note)))) == note
    assert read(parse(document(single_document(note))), file_name="x.json") == note


def test_unknown_fields_are_written_back_where_they_stood():
    entry = note_entry(metadata="text", weird={"deep": [1, None]})
    assert array_entry(read(entry)).items() >= entry.items()


def test_time_that_another_program_changed_wins_over_the_exact_one():
    entry = array_entry(read(note_entry()))
    entry["timestamp"] = "2025-10-08T00:00:00"
    assert read(entry).created_at == datetime(2025, 10, 8, tzinfo=UTC)
    entry["timestamp"] = "2025-10-07T01:15:00.482"
    assert read(entry).created_at.microsecond == 482193


@given(note=NOTES)
def test_any_note_survives_both_layouts(note):
    assert read(parse(document(array_entry(note)))) == note
    assert read(parse(document(single_document(note))), file_name="x.json") == note


@given(fields=st.dictionaries(TEXT, JSON, max_size=4), metadata=JSON)
def test_any_unknown_field_survives(fields, metadata):
    entry = {"user_id": "U1", "content": "c", "created_at": "2025-10-07T01:15:00Z"}
    entry = {**fields, **entry, "metadata": metadata}
    note = read(entry, file_name="a.json")
    stored = single_document(note)
    for name in fields.keys() - entry.keys():
        assert stored[name] == fields[name]
    assert stored["metadata"] == ({} if metadata is None else metadata)
