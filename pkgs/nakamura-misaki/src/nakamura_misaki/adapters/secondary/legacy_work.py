"""Tasks, handoffs and vectors as an export holds them.

The legacy storage had none of these, so the layout is this project's own:
objects keyed by id, times in UTC with their offset; vectors one a line.
"""

from typing import Any
from uuid import UUID

import orjson

from nakamura_misaki.adapters.secondary.legacy_times import (
    optional_time,
    own_time,
    utc_text,
)
from nakamura_misaki.application.legacy import SourceEmbedding
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.repositories import StoredEmbedding
from nakamura_misaki.domain.rules import require_line, require_text
from nakamura_misaki.domain.task import Task

_TASK_FIELDS = frozenset(
    {
        "id",
        "title",
        "description",
        "assignee_user_id",
        "creator_user_id",
        "status",
        "due_at",
        "completed_at",
        "created_at",
        "updated_at",
    }
)
_HANDOFF_FIELDS = frozenset(
    {
        "id",
        "task_id",
        "from_user_id",
        "to_user_id",
        "progress_note",
        "next_steps",
        "handoff_at",
        "reminded_at",
        "completed_at",
        "created_at",
    }
)
MAX_DIMENSIONS = 16_000
"""The most dimensions that pgvector stores (https://github.com/pgvector/pgvector#vector-type)."""


def read_task(entry: Any, key: str) -> Task:
    """The task that stands under ``key``. Raises InvalidInput."""
    entry = _object(entry, "task", key)
    status = entry.get("status", "pending")
    require_text(status, "a task's status")
    return Task(
        id=_id(key, "a task's id"),
        title=_required(entry, "title"),
        description=entry.get("description") or "",
        assignee_user_id=_required(entry, "assignee_user_id"),
        creator_user_id=_required(entry, "creator_user_id"),
        status=status,
        due_at=optional_time(entry.get("due_at"), "due_at"),
        completed_at=optional_time(entry.get("completed_at"), "completed_at"),
        created_at=own_time(entry.get("created_at"), "created_at"),
        updated_at=own_time(entry.get("updated_at"), "updated_at"),
    )


def task_entry(task: Task) -> dict[str, Any]:
    """The task as it stands under its id."""
    return {
        "id": str(task.id),
        "title": task.title,
        "description": task.description,
        "assignee_user_id": task.assignee_user_id,
        "creator_user_id": task.creator_user_id,
        "status": task.status.value,
        "due_at": None if task.due_at is None else utc_text(task.due_at),
        "completed_at": None if task.completed_at is None else utc_text(task.completed_at),
        "created_at": utc_text(task.created_at),
        "updated_at": utc_text(task.updated_at),
    }


def read_handoff(entry: Any, key: str) -> Handoff:
    """The handoff that stands under ``key``. Raises InvalidInput."""
    entry = _object(entry, "handoff", key)
    task_id = entry.get("task_id")
    return Handoff(
        id=_id(key, "a handoff's id"),
        task_id=None if task_id is None else _id(task_id, "task_id"),
        from_user_id=_required(entry, "from_user_id"),
        to_user_id=_required(entry, "to_user_id"),
        progress_note=_required(entry, "progress_note"),
        next_steps=entry.get("next_steps") or "",
        handoff_at=own_time(entry.get("handoff_at"), "handoff_at"),
        reminded_at=optional_time(entry.get("reminded_at"), "reminded_at"),
        completed_at=optional_time(entry.get("completed_at"), "completed_at"),
        created_at=own_time(entry.get("created_at"), "created_at"),
    )


def handoff_entry(handoff: Handoff) -> dict[str, Any]:
    """The handoff as it stands under its id."""
    return {
        "id": str(handoff.id),
        "task_id": None if handoff.task_id is None else str(handoff.task_id),
        "from_user_id": handoff.from_user_id,
        "to_user_id": handoff.to_user_id,
        "progress_note": handoff.progress_note,
        "next_steps": handoff.next_steps,
        "handoff_at": utc_text(handoff.handoff_at),
        "reminded_at": None if handoff.reminded_at is None else utc_text(handoff.reminded_at),
        "completed_at": None if handoff.completed_at is None else utc_text(handoff.completed_at),
        "created_at": utc_text(handoff.created_at),
    }


def unknown_task_fields(entry: dict[str, Any]) -> list[str]:
    """The entry's fields that a task has no place for."""
    return sorted(entry.keys() - _TASK_FIELDS)


def unknown_handoff_fields(entry: dict[str, Any]) -> list[str]:
    """The entry's fields that a handoff has no place for."""
    return sorted(entry.keys() - _HANDOFF_FIELDS)


def read_embedding(line: bytes) -> SourceEmbedding:
    """The vector that a line holds. Raises InvalidInput."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the line is not valid JSON: {error.msg}.") from None
    entry = _object(entry, "vector")
    model = _required(entry, "model")
    require_line(model, "a vector's model")
    vector = entry.get("vector")
    if not isinstance(vector, list) or not 0 < len(vector) <= MAX_DIMENSIONS:
        raise InvalidInput(f"vector must be a list of 1 to {MAX_DIMENSIONS} numbers.")
    if not {type(number) for number in vector} <= {float, int}:
        raise InvalidInput("vector must hold numbers only.")
    if entry.get("dimensions", len(vector)) != len(vector):
        raise InvalidInput(
            f"the vector has {len(vector)} numbers, not {entry['dimensions']!r} as dimensions says."
        )
    content_hash = entry.get("content_hash")
    if content_hash is not None:
        require_text(content_hash, "content_hash")
    note_id = _id(entry.get("note_id"), "note_id")
    return SourceEmbedding(
        StoredEmbedding(note_id, model, [float(number) for number in vector]), content_hash
    )


def embedding_line(embedding: SourceEmbedding) -> bytes:
    """The vector as a line: numbers in the shortest form that reads back equal."""
    note_id, model, vector = embedding.stored
    entry = {
        "note_id": str(note_id),
        "model": model,
        "dimensions": len(vector),
        "content_hash": embedding.content_hash,
        "vector": [float(number) for number in vector],
    }
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def _object(entry: Any, what: str, key: str | None = None) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InvalidInput(f"a {what} must be an object, not {type(entry).__name__}.")
    if key is not None and entry.get("id", key) != key:
        raise InvalidInput(f"a {what} must stand under its own id, not under another.")
    return entry


def _required(entry: dict[str, Any], field: str) -> Any:
    value = entry.get(field)
    if value is None:
        raise InvalidInput(f"{field} is missing.")
    return value


def _id(value: Any, name: str) -> UUID:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(f"{name} must be a UUID.") from None
