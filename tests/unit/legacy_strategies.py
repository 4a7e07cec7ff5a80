"""Strategies for every entry that a store can hold."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task, TaskStatus

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT | st.sampled_from(["legacy", "metadata", "id"]), inner, max_size=3)
    ),
    max_leaves=6,
)
LINES = TEXT.filter(lambda text: text and not text.isspace())
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001  (the strategy adds the zone)
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001  (the strategy adds the zone)
    timezones=st.just(UTC),
)

NOTES = st.builds(
    Note,
    id=st.uuids(),
    user_id=LINES,
    content=LINES,
    session_id=st.none() | LINES,
    category=st.none() | st.sampled_from(["decisions", "todos", "其他"]) | LINES,
    metadata=st.dictionaries(TEXT | st.sampled_from(["legacy", "metadata"]), JSON, max_size=3),
    source_key=st.none() | LINES,
    created_at=TIMES,
    updated_at=TIMES,
)


SESSIONS = st.builds(
    Session,
    id=LINES,
    user_id=LINES,
    title=TEXT,
    workspace_path=st.none() | TEXT,
    message_count=st.integers(0, 2**31 - 1),
    is_active=st.booleans(),
    metadata=st.dictionaries(
        TEXT | st.sampled_from(["claude_options", "metadata", "title", "last_active_exact"]),
        JSON,
        max_size=3,
    ),
    created_at=TIMES,
    last_active_at=TIMES,
)

TASKS = st.builds(
    Task,
    id=st.uuids(),
    title=LINES,
    description=TEXT,
    assignee_user_id=LINES,
    creator_user_id=LINES,
    status=st.sampled_from([status for status in TaskStatus if status != "completed"]),
    due_at=st.none() | TIMES,
    created_at=TIMES,
    updated_at=TIMES,
)

HANDOFFS = st.builds(
    Handoff,
    id=st.uuids(),
    from_user_id=st.just("U1"),
    to_user_id=LINES.filter(lambda text: text != "U1"),
    progress_note=LINES,
    next_steps=TEXT,
    handoff_at=TIMES,
    reminded_at=st.none() | TIMES,
    completed_at=st.none() | TIMES,
    created_at=TIMES,
)
