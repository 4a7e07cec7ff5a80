"""The rules of the domain: what an entity may hold, and what becomes of it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.domain.errors import IllegalTransition, InvalidInput
from nakamura_misaki.domain.handoff import REMINDER_LEAD, Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.rules import (
    MAX_ID_CHARACTERS,
    MAX_TEXT_BYTES,
    MAX_TITLE_CHARACTERS,
    require_json,
    require_limit,
    require_line,
    require_text,
)
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task, TaskStatus

NOW = datetime(2026, 10, 7, 3, tzinfo=UTC)
NAIVE = datetime(2026, 10, 7, 3)  # noqa: DTZ001  (that is what is refused)

Make = Callable[..., Any]


def task(**fields: Any) -> Task:
    values = {"id": UUID(int=1), "title": "t", "assignee_user_id": "U1", "creator_user_id": "U2"}
    return Task(**{**values, **fields})


def handoff(**fields: Any) -> Handoff:
    values = {
        "id": UUID(int=1),
        "from_user_id": "U1",
        "to_user_id": "U2",
        "progress_note": "半分",
        "handoff_at": NOW,
    }
    return Handoff(**{**values, **fields})


def note(**fields: Any) -> Note:
    return Note(**{"id": UUID(int=1), "user_id": "U1", "content": "c", **fields})


def session(**fields: Any) -> Session:
    return Session(**{"id": "s1", "user_id": "U1", **fields})


LINES: list[tuple[Make, str, int]] = [
    (task, "title", MAX_TITLE_CHARACTERS),
    (task, "assignee_user_id", MAX_ID_CHARACTERS),
    (task, "creator_user_id", MAX_ID_CHARACTERS),
    (handoff, "from_user_id", MAX_ID_CHARACTERS),
    (handoff, "to_user_id", MAX_ID_CHARACTERS),
    (note, "user_id", MAX_ID_CHARACTERS),
    (note, "session_id", MAX_ID_CHARACTERS),
    (note, "category", MAX_ID_CHARACTERS),
    (note, "source_key", MAX_ID_CHARACTERS),
    (session, "id", MAX_ID_CHARACTERS),
    (session, "user_id", MAX_ID_CHARACTERS),
]
TEXTS: list[tuple[Make, str]] = [
    (task, "description"),
    (handoff, "progress_note"),
    (handoff, "next_steps"),
    (note, "content"),
    (session, "title"),
    (session, "workspace_path"),
]
TIMES: list[tuple[Make, str]] = [
    (task, "due_at"),
    (task, "created_at"),
    (task, "updated_at"),
    (handoff, "handoff_at"),
    (handoff, "reminded_at"),
    (handoff, "completed_at"),
    (handoff, "created_at"),
    (note, "created_at"),
    (note, "updated_at"),
    (session, "last_active_at"),
    (session, "created_at"),
]
NOT_BLANK = {("progress_note"), ("content")}
BLANK = ["", " ", "\n\t", "\u3000", "\u2003\u00a0"]


def refused(make: Make, **fields: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        make(**fields)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 200
    return message


@pytest.mark.parametrize(("make", "field", "longest"), LINES)
def test_line_is_bounded_text_that_is_not_blank(make: Make, field: str, longest: int) -> None:
    for good in ("x", "日" * longest, "'; DROP TABLE notes; --", "\ud7ff\ue000🚀"):
        assert getattr(make(**{field: good}), field) == good
    for blank in BLANK:
        assert "blank" in refused(make, **{field: blank})
    assert str(longest) in refused(make, **{field: "x" * (longest + 1)})
    assert "NUL" in refused(make, **{field: "a\x00b"})
    assert "surrogate" in refused(make, **{field: "a\ud800b"})
    for other in (7, b"bytes", ["x"]):
        assert "must be text" in refused(make, **{field: other})


@pytest.mark.parametrize(("make", "field"), TEXTS)
def test_text_is_whatever_postgresql_can_hold(make: Make, field: str) -> None:
    for good in ("x", "日" * (MAX_TEXT_BYTES // 3), "a" * MAX_TEXT_BYTES, "\x01\x7f\u2028🚀"):
        assert getattr(make(**{field: good}), field) == good
    for long in ("日" * (MAX_TEXT_BYTES // 3 + 1), "a" * (MAX_TEXT_BYTES + 1)):
        assert "bytes long" in refused(make, **{field: long})
    assert "NUL" in refused(make, **{field: "\x00"})
    assert "surrogate" in refused(make, **{field: "\udfff"})
    assert "must be text" in refused(make, **{field: 1.5})
    for blank in BLANK:
        if field in NOT_BLANK:
            assert "blank" in refused(make, **{field: blank})
        else:
            assert getattr(make(**{field: blank}), field) == blank


class Unsure(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None


@pytest.mark.parametrize(("make", "field"), TIMES)
def test_time_carries_its_offset(make: Make, field: str) -> None:
    for offset in (0, 9, -12):
        moment = NOW.astimezone(timezone(timedelta(hours=offset)))
        assert getattr(make(**{field: moment}), field) == NOW
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    step = timedelta(microseconds=1)
    for moment in (first + step, last - step):
        assert getattr(make(**{field: moment}), field) == moment
    for beyond in (
        first,
        last,
        first.astimezone(timezone(timedelta(hours=9))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=9))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-9))),
    ):
        assert "beyond the years" in refused(make, **{field: beyond})
    assert "time zone" in refused(make, **{field: NAIVE})
    assert "time zone" in refused(make, **{field: NOW.replace(tzinfo=Unsure())})
    for other in ("2026-10-07T00:00:00Z", 1759, date(2026, 10, 7)):
        assert "point in time" in refused(make, **{field: other})


@pytest.mark.parametrize("make", [task, handoff, note])
def test_id_is_a_uuid(make: Make) -> None:
    for other in (str(uuid4()), 7, None):
        assert "UUID" in refused(make, id=other)


@pytest.mark.parametrize("make", [task, handoff, note, session])
def test_entity_can_not_be_changed(make: Make) -> None:
    with pytest.raises(FrozenInstanceError):
        make().id = uuid4()


STEPS: dict[TaskStatus, Callable[[Task, datetime], Task]] = {
    TaskStatus.PENDING: Task.reopen,
    TaskStatus.IN_PROGRESS: Task.start,
    TaskStatus.COMPLETED: Task.complete,
    TaskStatus.CANCELLED: Task.cancel,
}
LEGAL = {
    ("pending", "in_progress"),
    ("pending", "completed"),
    ("pending", "cancelled"),
    ("in_progress", "pending"),
    ("in_progress", "completed"),
    ("in_progress", "cancelled"),
    ("completed", "cancelled"),
}


@pytest.mark.parametrize("old", TaskStatus)
@pytest.mark.parametrize("new", TaskStatus)
def test_task_goes_only_where_it_may(old: TaskStatus, new: TaskStatus) -> None:
    completed_at = NOW if old is TaskStatus.COMPLETED else None
    before = task(status=old, completed_at=completed_at, created_at=NOW, updated_at=NOW)
    later = NOW + timedelta(hours=1)
    assert (old in new.predecessors()) is ((old, new) in LEGAL)
    if (old, new) not in LEGAL:
        with pytest.raises(IllegalTransition, match=f"is {old} can't become {new}"):
            STEPS[new](before, later)
        return
    after = STEPS[new](before, later)
    assert after.status is new
    assert after.completed_at == (later if new is TaskStatus.COMPLETED else None)
    assert after == replace(before, status=new, completed_at=after.completed_at, updated_at=later)
    with pytest.raises(InvalidInput, match="time zone"):
        STEPS[new](before, NAIVE)


@given(st.lists(st.sampled_from(list(TaskStatus)), max_size=12))
def test_whatever_is_tried_a_task_stays_consistent(steps: list[TaskStatus]) -> None:
    current = task()
    for step in steps:
        try:
            current = STEPS[step](current, NOW)
        except IllegalTransition:
            continue
        assert current.status is step
        assert (current.completed_at is not None) is (step is TaskStatus.COMPLETED)


@pytest.mark.parametrize("status", TaskStatus)
def test_completion_time_is_there_exactly_when_completed(status: TaskStatus) -> None:
    for completed_at in (None, NOW):
        if (completed_at is None) is (status is TaskStatus.COMPLETED):
            assert "exactly when" in refused(task, status=status, completed_at=completed_at)
        else:
            assert task(status=status.value, completed_at=completed_at).status is status


@pytest.mark.parametrize("status", ["done", "", "PENDING", "pending ", None, 3])
def test_unknown_status_is_refused_with_those_there_are(status: Any) -> None:
    message = refused(task, status=status)
    assert "pending, in_progress, completed, cancelled" in message


def test_handoff_needs_two_people_and_knows_when_to_remind() -> None:
    assert "two people" in refused(handoff, from_user_id="U1", to_user_id="U1")
    assert "UUID" in refused(handoff, task_id="t")
    due = handoff(handoff_at=NOW + REMINDER_LEAD)
    assert due.is_reminder_due(NOW)
    assert not due.is_reminder_due(NOW - timedelta(microseconds=1))
    assert not replace(due, reminded_at=NOW).is_reminder_due(NOW)
    assert not replace(due, completed_at=NOW).is_reminder_due(NOW)


@pytest.mark.parametrize("count", [-1, 2**31, 1.0, True, "3", None, math.nan])
def test_message_count_is_a_whole_number_that_an_integer_column_holds(count: Any) -> None:
    assert "whole number" in refused(session, message_count=count)
    assert session(message_count=2**31 - 1).message_count == 2**31 - 1
    assert session(message_count=0).message_count == 0


@pytest.mark.parametrize("active", [0, 1, "true", None])
def test_whether_a_session_is_active_is_true_or_false(active: Any) -> None:
    assert "true or false" in refused(session, is_active=active)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


NO_JSON = {
    "NaN": math.nan,
    "infinity": math.inf,
    "minus infinity": [-math.inf],
    "bytes": b"x",
    "a set": {1},
    "a time": NOW,
    "a UUID": UUID(int=1),
    "a complex number": 1j,
    "NUL": "a\x00",
    "NUL in a key": {"a\x00": 1},
    "half a pair": ["\ud800"],
    "half a pair in a key": {"\udfff": 1},
    "a key that is no text": {1: 1},
    "a key that is none": {None: 1},
    "too deep": nested(101),
    "far too deep": nested(100_000),
    "an object": object(),
    "a number without end": 10**4300,
    "a negative one": -(10**100_000),
}


@pytest.mark.parametrize("make", [note, session])
@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
def test_metadata_that_json_can_not_hold_is_refused(make: Make, value: Any) -> None:
    refused(make, metadata={"here": value})
    refused(make, metadata={"deeper": [{"here": value}]})


@pytest.mark.parametrize("make", [note, session])
def test_metadata_is_an_object(make: Make) -> None:
    for other in ([1], "text", None, 7):
        assert "JSON object" in refused(make, metadata=other)
    assert make(metadata=nested(99)).metadata == nested(99)
    assert make(metadata={"n": 10**4297}).metadata == {"n": 10**4297}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_let_through_as_json_is_json(value: Any) -> None:
    try:
        require_json(value, "it")
    except InvalidInput:
        assert "\\u0000" in json.dumps(value) or "\\ud" in json.dumps(value)
    else:
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@given(st.text(st.characters(exclude_categories=[])))
def test_text_that_is_let_through_is_utf8_without_nul(value: str) -> None:
    try:
        require_text(value, "it")
    except InvalidInput:
        assert "\x00" in value or any("\ud800" <= each <= "\udfff" for each in value)
    else:
        assert b"\x00" not in value.encode()
        assert value.encode().decode() == value


@given(st.text(st.characters(categories=["Zs", "Cc", "Zl", "Zp"], exclude_characters="\x00")))
def test_line_of_whitespace_alone_is_blank_to_us_as_to_python(value: str) -> None:
    if not value.strip():
        with pytest.raises(InvalidInput, match="blank"):
            require_line(value, "it")
    elif len(value) <= MAX_ID_CHARACTERS:
        require_line(value, "it")


@pytest.mark.parametrize("limit", [0, -1, 1001, True, 1.0, "5", None, math.nan, 10**30])
def test_limit_is_a_number_of_rows_that_can_be_asked_for(limit: Any) -> None:
    with pytest.raises(InvalidInput, match="from 1 to 1000"):
        require_limit(limit)


def test_metadata_may_be_any_mapping() -> None:
    class Read(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return {"a": 1}[key]

        def __iter__(self) -> Any:
            return iter(["a"])

        def __len__(self) -> int:
            return 1

    assert note(metadata=Read()).metadata["a"] == 1
    assert isinstance(hash(note(metadata={"a": []})), int)
