"""Entities as JSON objects with stable keys, and as what a person reads."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nakamura_misaki.adapters.primary.cli.output import fields, one_line, styled, table
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.application.tasks import is_open
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import FoundNote, Note
from nakamura_misaki.domain.session import Session
from nakamura_misaki.domain.task import Task, TaskStatus

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from rich.table import Table
    from rich.text import Text

_STATUS_STYLES = {
    TaskStatus.PENDING: "",
    TaskStatus.IN_PROGRESS: "cyan",
    TaskStatus.COMPLETED: "green",
    TaskStatus.CANCELLED: "dim",
}


class Times:
    """Points in time as this team reads them, as of one moment."""

    def __init__(self, zone: "ZoneInfo", now: datetime | None = None) -> None:
        self.zone = zone
        self.now = now or datetime.now(UTC)

    def iso(self, time: datetime | None) -> str | None:
        """ISO 8601 in the team's zone."""
        return None if time is None else self._local(time).isoformat()

    def words(self, time: datetime) -> str:
        """today 15:00, tomorrow 09:30, else 2026-10-15 15:00."""
        local = self._local(time)
        days = (local.date() - self._local(self.now).date()).days
        day = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get(days, f"{local.date():%Y-%m-%d}")
        return f"{day} {local:%H:%M}"

    def day(self, time: datetime) -> str:
        """2026-10-15."""
        return self._local(time).date().isoformat()

    def full(self, time: datetime) -> str:
        """2026-10-15 15:00 and the zone's name."""
        return f"{self._local(time):%Y-%m-%d %H:%M} {self.zone}"

    def style(self, time: datetime) -> str:
        """Red when past, yellow within a day."""
        if time < self.now:
            return "red"
        return "yellow" if time - self.now < timedelta(days=1) else ""

    def _local(self, time: datetime) -> datetime:
        try:
            return time.astimezone(self.zone)
        except OverflowError:  # at the very ends of what a datetime can hold
            return time


def task_json(task: Task, times: Times) -> dict[str, Any]:
    return {
        "id": str(task.id),
        "title": task.title,
        "description": task.description,
        "status": str(task.status),
        "assignee_user_id": task.assignee_user_id,
        "creator_user_id": task.creator_user_id,
        "due_at": times.iso(task.due_at),
        "completed_at": times.iso(task.completed_at),
        "created_at": times.iso(task.created_at),
        "updated_at": times.iso(task.updated_at),
    }


def handoff_json(handoff: Handoff, times: Times) -> dict[str, Any]:
    return {
        "id": str(handoff.id),
        "task_id": None if handoff.task_id is None else str(handoff.task_id),
        "from_user_id": handoff.from_user_id,
        "to_user_id": handoff.to_user_id,
        "progress_note": handoff.progress_note,
        "next_steps": handoff.next_steps,
        "handoff_at": times.iso(handoff.handoff_at),
        "reminded_at": times.iso(handoff.reminded_at),
        "completed_at": times.iso(handoff.completed_at),
        "created_at": times.iso(handoff.created_at),
    }


def note_json(note: Note, times: Times) -> dict[str, Any]:
    return {
        "id": str(note.id),
        "user_id": note.user_id,
        "session_id": note.session_id,
        "category": note.category,
        "content": note.content,
        "metadata": dict(note.metadata),
        "source_key": note.source_key,
        "created_at": times.iso(note.created_at),
        "updated_at": times.iso(note.updated_at),
    }


def found_note_json(rank: int, note: FoundNote, times: Times) -> dict[str, Any]:
    passage = note.passage
    shown = {
        "text": note.content[passage.start : passage.end],
        "start": passage.start,
        "end": passage.end,
        "spans": [list(span) for span in passage.spans],
    }
    found = {"rank": rank, "score": note.score, "legs": [str(leg) for leg in note.legs]}
    return found | note_json(note, times) | {"passage": shown}


def session_json(session: Session, times: Times) -> dict[str, Any]:
    return {
        "id": session.id,
        "user_id": session.user_id,
        "title": session.title,
        "workspace_path": session.workspace_path,
        "message_count": session.message_count,
        "is_active": session.is_active,
        "metadata": dict(session.metadata),
        "last_active_at": times.iso(session.last_active_at),
        "created_at": times.iso(session.created_at),
    }


def task_table(tasks: Iterable[Task], times: Times) -> "Table":
    made = table("ID", "STATUS", "DUE", "TITLE")
    for task in tasks:
        status = styled(task.status.replace("_", " "), _STATUS_STYLES[task.status])
        made.add_row(
            styled(short_id(task.id), "bold"), status, _due(task, times), styled(task.title)
        )
    return made


def task_fields(task: Task, times: Times) -> "Table":
    return fields(
        [
            ("task", styled(task.title, "bold")),
            ("status", styled(task.status.replace("_", " "), _STATUS_STYLES[task.status])),
            ("due", None if task.due_at is None else _due(task, times)),
            ("assignee", task.assignee_user_id),
            ("creator", _unless_same(task.creator_user_id, task.assignee_user_id)),
            ("completed", _when(task.completed_at, times.full)),
            ("created", times.full(task.created_at)),
            ("id", str(task.id)),
            ("", task.description),
        ]
    )


def task_line(done: str, task: Task, times: Times) -> "Text":
    """What was done to a task, in one line."""
    due = f", due {times.words(task.due_at)}" if task.due_at is not None and is_open(task) else ""
    return line(done, short_id(task.id), f"{task.title}{due}")


def handoff_line(done: str, handoff: Handoff, times: Times) -> "Text":
    """What was done to a handoff, in one line."""
    people = f"from {handoff.from_user_id} to {handoff.to_user_id}"
    return line(done, short_id(handoff.id), f"{people}, {times.words(handoff.handoff_at)}")


def note_line(done: str, note: Note) -> "Text":
    """What was done to a note, in one line."""
    return line(done, short_id(note.id), _beginning(note.content))


def line(done: str, shown_id: str, what: str) -> "Text":
    """A verb, an id and what it names."""
    return styled(done, "green").append(" ").append(shown_id, "bold").append(f"  {one_line(what)}")


def handoff_table(handoffs: Iterable[Handoff], times: Times) -> "Table":
    made = table("ID", "AT", "FROM", "STATE", "PROGRESS")
    for handoff in handoffs:
        at = styled(times.words(handoff.handoff_at), _open_style(handoff, times))
        made.add_row(
            styled(short_id(handoff.id), "bold"),
            at,
            styled(handoff.from_user_id),
            styled(_handoff_state(handoff)),
            styled(handoff.progress_note),
        )
    return made


def handoff_fields(handoff: Handoff, times: Times) -> "Table":
    return fields(
        [
            ("handoff", styled(f"{handoff.from_user_id} to {handoff.to_user_id}", "bold")),
            ("at", styled(times.words(handoff.handoff_at), _open_style(handoff, times))),
            ("state", _handoff_state(handoff)),
            ("progress", handoff.progress_note),
            ("next", handoff.next_steps),
            ("task", None if handoff.task_id is None else str(handoff.task_id)),
            ("completed", _when(handoff.completed_at, times.full)),
            ("id", str(handoff.id)),
        ]
    )


def note_table(notes: Iterable[Note], times: Times) -> "Table":
    made = table("ID", "DAY", "CATEGORY", "NOTE")
    for note in notes:
        made.add_row(
            styled(short_id(note.id), "bold"),
            styled(times.day(note.created_at)),
            styled(note.category or "-"),
            styled(_beginning(note.content)),
        )
    return made


def note_fields(note: Note, times: Times) -> "Table":
    return fields(
        [
            ("note by", styled(note.user_id, "bold")),
            ("category", note.category),
            ("session", note.session_id),
            ("created", times.full(note.created_at)),
            ("imported", note.source_key),
            ("id", str(note.id)),
        ]
    )


def session_table(sessions: Iterable[Session], times: Times) -> "Table":
    made = table("ID", "LAST ACTIVE", "MESSAGES", "STATE", "TITLE")
    for session in sessions:
        made.add_row(
            styled(session.id, "bold"),
            styled(times.words(session.last_active_at)),
            styled(f"{session.message_count:>8,}"),
            styled("active" if session.is_active else "ended"),
            styled(session.title or "-"),
        )
    return made


def _due(task: Task, times: Times) -> "Text":
    if task.due_at is None:
        return styled("-")
    return styled(times.words(task.due_at), times.style(task.due_at) if is_open(task) else "dim")


def _handoff_state(handoff: Handoff) -> str:
    if handoff.completed_at is not None:
        return "completed"
    return "reminded" if handoff.reminded_at is not None else "open"


def _open_style(handoff: Handoff, times: Times) -> str:
    return "dim" if handoff.completed_at is not None else times.style(handoff.handoff_at)


def _when(time: datetime | None, form: Callable[[datetime], str]) -> str | None:
    return None if time is None else form(time)


def _unless_same(value: str, other: str) -> str | None:
    return None if value == other else value


def _beginning(content: str, characters: int = 100) -> str:
    text = one_line(content[: characters * 4])
    return text if len(text) <= characters else f"{text[:characters]}..."
