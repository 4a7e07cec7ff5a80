"""The assistant's buttons: their names, and what they carry until they are pressed."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.primary.slack.intents import Language, Span

START_TASK = "task_start"
COMPLETE_TASK = "task_complete"
DELETE_TASK = "task_delete"
KEEP_TASK = "task_keep"
COMPLETE_HANDOFF = "handoff_complete"
"""In a list of handoffs; in a reminder, where its value is the handoff's id alone."""

CONFIRM_WITHIN = timedelta(hours=1)
"""How long the question whether to delete may be answered."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a button knows.

    ``owner`` is whose list it stands in, or who asked the question; ``asked_at`` is
    Unix time in seconds.
    """

    entry_id: UUID
    owner: str
    language: Language
    span: Span = Span.ALL
    asked_at: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.entry_id.hex,
            "owner": self.owner,
            "lang": self.language,
            "span": self.span.value,
            "at": self.asked_at,
        }


def read_carried(value: str) -> Carried | None:
    """What ``to_json`` gave; None for anything else, such as a button of another release."""
    try:
        given = json.loads(value)
        return Carried(
            UUID(given["id"]),
            str(given["owner"]),
            "en" if given["lang"] == "en" else "ja",
            Span(given["span"]),
            int(given["at"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def read_reminded(value: str) -> UUID | None:
    """The handoff that a reminder is about; None for anything else."""
    try:
        return UUID(value)
    except ValueError:
        return None
