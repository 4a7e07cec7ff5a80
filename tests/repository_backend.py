"""What the contract suite is run on: a backend's repositories, and entries to store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import Note
from nakamura_misaki.domain.repositories import (
    HandoffRepository,
    NoteRepository,
    SessionRepository,
    TaskRepository,
)
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task

TOKYO = ZoneInfo("Asia/Tokyo")
NOON = datetime(2026, 10, 7, 12, 0, tzinfo=TOKYO)


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Backend:
    tasks: TaskRepository
    handoffs: HandoffRepository
    notes: NoteRepository
    sessions: SessionRepository
    clock: Clock
    tasks_in: Callable[[ZoneInfo], TaskRepository]


def task(title: str = "API統合テスト", **fields: object) -> Task:
    values = {"id": uuid4(), "assignee_user_id": "U1", "creator_user_id": "U2", **fields}
    return Task(title=title, **values)


def handoff(**fields: object) -> Handoff:
    values = {
        "id": uuid4(),
        "from_user_id": "U1",
        "to_user_id": "U2",
        "progress_note": "半分まで終わった",
        "handoff_at": NOON,
        **fields,
    }
    return Handoff(**values)


def note(content: str, **fields: object) -> Note:
    return Note(**{"id": uuid4(), "user_id": "U1", "content": content, **fields})


def session(id_: str = "sess_1", **fields: object) -> Session:
    return Session(**{"id": id_, "user_id": "U1", **fields})
