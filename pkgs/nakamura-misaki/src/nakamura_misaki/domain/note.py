"""A note: what was decided or learned; and what a search for one gives back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.passage import Passage, find_passage
from nakamura_misaki.domain.rules import (
    require_aware,
    require_json,
    require_line,
    require_text,
    utc_now,
)

CATEGORIES = ("code_changes", "decisions", "errors", "learnings", "todos")
"""The categories that have a file of their own in the legacy layout. Others may occur."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note of one user. All datetimes are timezone-aware.

    ``metadata`` is any JSON object. ``source_key`` tells an imported note from
    every other, so that importing it again changes nothing. Raises InvalidInput
    when built from values that break a rule.
    """

    id: UUID
    user_id: str
    content: str
    session_id: str | None = None
    category: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source_key: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)

    def __post_init__(self) -> None:
        if not isinstance(self.id, UUID):
            raise InvalidInput(f"a note's id must be a UUID, not {type(self.id).__name__}.")
        require_line(self.user_id, "a note's user")
        require_text(self.content, "a note's content")
        if not self.content or self.content.isspace():
            raise InvalidInput("a note's content must not be blank.")
        if self.session_id is not None:
            require_line(self.session_id, "a note's session")
        if self.category is not None:
            require_line(self.category, "a note's category")
        if self.source_key is not None:
            require_line(self.source_key, "a note's source key")
        if not isinstance(self.metadata, Mapping):
            raise InvalidInput("a note's metadata must be a JSON object.")
        if self.metadata:
            require_json(dict(self.metadata), "a note's metadata")
        require_aware(self.created_at, "a note's creation time")
        require_aware(self.updated_at, "a note's update time")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilter:
    """Which notes to search among; every part that is given narrows.

    ``categories``: any of them. ``since`` (included) and ``until`` (excluded) bound
    the time of creation and are timezone-aware. ``metadata`` must be contained
    in the note's, as PostgreSQL's jsonb ``@>`` understands it: objects hold at
    least these keys, arrays at least these elements. Raises InvalidInput.
    """

    categories: tuple[str, ...] = ()
    session_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.categories, tuple):
            raise InvalidInput("the categories to search in must be a tuple of names.")
        for category in self.categories:
            require_line(category, "a category to search in")
        if self.session_id is not None:
            require_line(self.session_id, "the session to search in")
        for bound in (self.since, self.until):
            if bound is not None:
                require_aware(bound, "a bound of the search")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise InvalidInput("the search would end before it begins: since must be before until.")
        if not isinstance(self.metadata, Mapping):
            raise InvalidInput("the metadata to search for must be a JSON object.")
        if self.metadata:
            require_json(dict(self.metadata), "the metadata to search for")

    @property
    def is_empty(self) -> bool:
        """Whether it lets every note through."""
        return self == SearchFilter()

    def lets_through(self, note: Note) -> bool:
        return (
            (not self.categories or note.category in self.categories)
            and self.session_id in (None, note.session_id)
            and (self.since is None or note.created_at >= self.since)
            and (self.until is None or note.created_at < self.until)
            and _contains(note.metadata, self.metadata)
        )


def _contains(whole: Any, part: Any) -> bool:
    """jsonb's containment (https://www.postgresql.org/docs/16/datatype-json.html#JSON-CONTAINMENT)."""
    match whole, part:
        case Mapping(), Mapping():
            return all(key in whole and _contains(whole[key], value) for key, value in part.items())
        case list() | tuple(), list() | tuple():
            return all(any(_contains(held, value) for held in whole) for value in part)
        case bool(), bool():
            return whole is part
        case (bool(), _) | (_, bool()):
            return False
        case int() | float(), int() | float():
            # As the numbers are written, which is how they are stored.
            return Decimal(repr(whole)) == Decimal(repr(part))
    return type(whole) is type(part) and bool(whole == part)


class Leg(StrEnum):
    """One way of finding a note."""

    VECTOR = "vector"
    WORDS = "words"


class LegSkipped(StrEnum):
    """Why a leg did not run: the closed vocabulary of every surface."""

    EMBEDDING_FAILED = "embedding_failed"
    MODEL_REPLACED = "model_replaced"
    NO_EMBEDDER = "no_embedder"
    NOT_STORED = "not_stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNote(Note):
    """A note that a search found.

    ``score`` is the fused reciprocal rank (higher is better; comparable only
    within one answer); ``legs`` are those that found this note, ``query`` what
    it was found by.
    """

    score: float
    legs: tuple[Leg, ...]
    query: str = ""

    @property
    def passage(self) -> Passage:
        """The part that answers; looked for anew each time it is asked for."""
        return find_passage(self.content, self.query)


class SearchAnswer(list[Note]):
    """Found notes, best first, and how they were looked for.

    ``legs`` are those that ran, ``skipped`` those that did not, each with its
    reason. Every element is a FoundNote.
    """

    def __init__(
        self,
        notes: Iterable[FoundNote] = (),
        *,
        legs: tuple[Leg, ...],
        skipped: Mapping[Leg, LegSkipped] | None = None,
    ) -> None:
        super().__init__(notes)
        self.legs = legs
        self.skipped = dict(skipped or {})
