"""A session: one conversation of one user with the assistant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.rules import (
    require_aware,
    require_json,
    require_line,
    require_text,
    utc_now,
)

INACTIVE_DAYS = 30
"""After how many days without activity a session may be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A conversation, named by a text of the assistant's choosing. Datetimes are aware.

    ``metadata`` is any JSON object. Raises InvalidInput when a rule is broken.
    """

    id: str
    user_id: str
    title: str = ""
    workspace_path: str | None = None
    message_count: int = 0
    is_active: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    last_active_at: datetime = field(default_factory=utc_now)
    created_at: datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        require_line(self.id, "a session's id")
        require_line(self.user_id, "a session's user")
        require_text(self.title, "a session's title")
        if self.workspace_path is not None:
            require_text(self.workspace_path, "a session's workspace path")
        count = self.message_count
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 2**31:
            raise InvalidInput("a session's message count must be a whole number from 0.")
        if not isinstance(self.is_active, bool):
            raise InvalidInput("whether a session is active must be true or false.")
        if not isinstance(self.metadata, Mapping):
            raise InvalidInput("a session's metadata must be a JSON object.")
        if self.metadata:
            require_json(dict(self.metadata), "a session's metadata")
        require_aware(self.last_active_at, "a session's last activity")
        require_aware(self.created_at, "a session's creation time")
