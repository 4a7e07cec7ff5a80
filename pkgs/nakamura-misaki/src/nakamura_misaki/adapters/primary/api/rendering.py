"""Entries as JSON. Times are RFC 3339 in UTC, with a Z.

Written by hand and not through the models of the schema, which would check once
more what has passed the domain's rules already: for a page of 50 tasks 0.15 ms
instead of 0.04 ms. Tests compare every answer with the schema.
"""

import json
from datetime import UTC, datetime
from typing import Any

import orjson

from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import FoundNote, Note, SearchAnswer
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task


def dumped(value: Any) -> bytes:
    """The JSON of a value; times that it holds must be in UTC."""
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError:  # a whole number of more than 64 bits, which metadata may hold
        return _dumped_slowly(value)


def written(time: datetime) -> str:
    """The time as it stands in an answer."""
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


# An id becomes text here: the driver's UUIDs are a class of their own, which orjson does not know.


def task_json(task: Task) -> dict[str, Any]:
    return {
        "id": str(task.id),
        "title": task.title,
        "description": task.description,
        "status": task.status,
        "assignee_user_id": task.assignee_user_id,
        "creator_user_id": task.creator_user_id,
        "due_at": _utc(task.due_at),
        "completed_at": _utc(task.completed_at),
        "created_at": _utc(task.created_at),
        "updated_at": _utc(task.updated_at),
    }


def handoff_json(handoff: Handoff) -> dict[str, Any]:
    return {
        "id": str(handoff.id),
        "task_id": None if handoff.task_id is None else str(handoff.task_id),
        "from_user_id": handoff.from_user_id,
        "to_user_id": handoff.to_user_id,
        "progress_note": handoff.progress_note,
        "next_steps": handoff.next_steps,
        "handoff_at": _utc(handoff.handoff_at),
        "reminded_at": _utc(handoff.reminded_at),
        "completed_at": _utc(handoff.completed_at),
        "created_at": _utc(handoff.created_at),
    }


def note_json(note: Note) -> dict[str, Any]:
    return {
        "id": str(note.id),
        "user_id": note.user_id,
        "session_id": note.session_id,
        "category": note.category,
        "content": note.content,
        "metadata": dict(note.metadata),
        "source_key": note.source_key,
        "created_at": _utc(note.created_at),
        "updated_at": _utc(note.updated_at),
    }


def answer_json(answer: SearchAnswer) -> dict[str, Any]:
    return {
        "results": [_found_json(note) for note in answer],
        "legs": list(answer.legs),
        "skipped": {str(leg): why for leg, why in answer.skipped.items()},
    }


def session_json(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "user_id": session.user_id,
        "title": session.title,
        "workspace_path": session.workspace_path,
        "message_count": session.message_count,
        "is_active": session.is_active,
        "metadata": dict(session.metadata),
        "last_active_at": _utc(session.last_active_at),
        "created_at": _utc(session.created_at),
    }


def _found_json(note: Note) -> dict[str, Any]:
    assert isinstance(note, FoundNote)  # as SearchAnswer promises
    passage = note.passage
    return {
        **note_json(note),
        "passage": {
            "text": note.content[passage.start : passage.end],
            "start": passage.start,
            "end": passage.end,
            "spans": passage.spans,
        },
        "score": note.score,
        "legs": list(note.legs),
    }


def _utc(time: datetime | None) -> datetime | None:
    return time if time is None or time.tzinfo is UTC else time.astimezone(UTC)


def _dumped_slowly(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=written)
    return text.encode()
