"""A handoff: work that passes from one person to another at an appointed time."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.rules import require_aware, require_line, require_text, utc_now

REMINDER_LEAD = timedelta(minutes=10)
"""How long before ``handoff_at`` the receiver is reminded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """Work handed from one person to another. All datetimes are timezone-aware.

    ``task_id`` names the task that is handed over, if it is one; the handoff
    goes when its task is deleted. Raises InvalidInput when a rule is broken.
    """

    id: UUID
    from_user_id: str
    to_user_id: str
    progress_note: str
    handoff_at: datetime
    task_id: UUID | None = None
    next_steps: str = ""
    reminded_at: datetime | None = None
    completed_at: datetime | None = None
    created_at: datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        if not isinstance(self.id, UUID):
            raise InvalidInput(f"a handoff's id must be a UUID, not {type(self.id).__name__}.")
        if self.task_id is not None and not isinstance(self.task_id, UUID):
            raise InvalidInput("a handoff's task must be named by a UUID.")
        require_line(self.from_user_id, "a handoff's giver")
        require_line(self.to_user_id, "a handoff's receiver")
        if self.from_user_id == self.to_user_id:
            raise InvalidInput("a handoff needs two people; giver and receiver are the same.")
        require_text(self.progress_note, "a handoff's progress note")
        if not self.progress_note or self.progress_note.isspace():
            raise InvalidInput("a handoff's progress note must not be blank.")
        require_text(self.next_steps, "a handoff's next steps")
        require_aware(self.handoff_at, "a handoff's time")
        require_aware(self.created_at, "a handoff's creation time")
        for value in (self.reminded_at, self.completed_at):
            if value is not None:
                require_aware(value, "a handoff's reminder or completion time")

    def is_reminder_due(self, now: datetime, lead: timedelta = REMINDER_LEAD) -> bool:
        """Whether the receiver is to be reminded at ``now`` and was not yet."""
        return (
            self.reminded_at is None and self.completed_at is None and self.handoff_at <= now + lead
        )
