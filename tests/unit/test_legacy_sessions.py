"""Sessions of the legacy files: local times, metadata, and what another program changed."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.adapters.secondary.legacy_json import document, parse
from nakamura_misaki.adapters.secondary.legacy_sessions import read_session
from nakamura_misaki.adapters.secondary.legacy_sessions import session_entry as written
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.session import Session
from unit.legacy_stores import SESSION_ID, session_entry
from unit.legacy_strategies import SESSIONS

TOKYO = ZoneInfo("Asia/Tokyo")
BERLIN = ZoneInfo("Europe/Berlin")


def read(entry, key=SESSION_ID, zone=TOKYO):
    return read_session(entry, key, time_zone=zone, modified_ns=0)[0]


def test_naive_session_times_are_local():
    session = read(session_entry())
    assert session.created_at == datetime(2025, 9, 30, 9, 22, 41, 120394, tzinfo=UTC)
    assert session.last_active_at == datetime(2025, 10, 7, 0, 3, 12, 4511, tzinfo=UTC)
    assert read(session_entry(), zone=UTC).created_at.hour == 18


def test_session_without_the_outer_key():
    assert read(session_entry(), key=None) == read(session_entry())


def test_session_fields_of_no_column_are_metadata_and_come_back():
    entry = session_entry(claude_options={"model": "x"}, mood="good", metadata={"a": 1})
    session = read(entry)
    assert session.metadata == {
        "claude_options": {"model": "x"},
        "mood": "good",
        "metadata": {"a": 1},
    }
    again = written(session, TOKYO)
    assert read(again) == session
    plain = session_entry(claude_options={"model": "x"}, mood="good")
    assert written(read(plain), TOKYO).items() >= plain.items()


def test_key_names_the_session_and_another_id_inside_is_remembered():
    session = read(session_entry(session_id="other"))
    assert session.id == SESSION_ID
    assert session.metadata == {"claude_options": {}, "session_id": "other"}
    assert read(written(session, TOKYO)) == session


def test_missing_session_times_are_each_others_or_the_files():
    bare = session_entry()
    del bare["created_at"]
    assert read(bare).created_at == read(bare).last_active_at
    del bare["last_active"]
    session, undated = read_session(bare, None, time_zone=TOKYO, modified_ns=10**18)
    assert session.created_at == session.last_active_at == datetime.fromtimestamp(10**9, UTC)
    assert undated


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": None}, "user_id is missing"),
        ({"message_count": "14"}, "whole number"),
        ({"message_count": -1}, "whole number"),
        ({"is_active": "yes"}, "true or false"),
        ({"title": "a\x00"}, "NUL"),
        ({"title": 5}, "must be text"),
        ({"created_at": "30.09.2025"}, "no date and time"),
        ({"last_active": 5}, "ISO 8601"),
    ],
)
def test_session_that_breaks_a_rule_is_refused(fields, reason):
    with pytest.raises(InvalidInput, match=reason):
        read(session_entry(**fields))


@pytest.mark.parametrize("fold", [0, 1])
def test_hour_that_the_clock_shows_twice_survives(fold):
    moment = datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN, fold=fold).astimezone(UTC)
    session = Session(id="s", user_id="U1", created_at=moment, last_active_at=moment)
    entry = written(session, BERLIN)
    assert entry["created_at"] == "2025-10-26T02:30:00.000000"
    assert read(entry, "s", BERLIN) == session


def test_exact_time_does_not_depend_on_the_configured_zone():
    session = read(session_entry())
    assert read(written(session, TOKYO), zone=BERLIN) == session


def test_session_time_that_another_program_changed_wins():
    entry = written(read(session_entry()), TOKYO)
    entry["last_active"] = "2025-10-08T00:00:00.000001"
    session = read(entry)
    assert session.last_active_at == datetime(2025, 10, 7, 15, 0, 0, 1, tzinfo=UTC)
    assert session.created_at == read(session_entry()).created_at


@given(
    session=SESSIONS,
    zone=st.sampled_from([TOKYO, BERLIN, ZoneInfo("America/New_York")]),
)
def test_any_session_survives(session, zone):
    assert read(parse(document(written(session, zone))), session.id, zone) == session
