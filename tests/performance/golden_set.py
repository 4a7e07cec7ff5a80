"""The golden set: notes as a team writes them, questions as it asks, graded answers."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from uuid import UUID

from nakamura_misaki.domain.note import Note

DIRECTORY = Path(__file__).parent / "golden"
HALVES = ("tune", "report")
TAGS = (
    "short",
    "variant",
    "width",
    "digits",
    "code",
    "polite",
    "mixed",
    "plain",
    "synonym",
    "cross",
    "none",
)
"""What makes a question hard; ``golden/README.md`` says what each means."""

ANSWERS, HELPS = 2, 1

# Of the first thousand such words, the one with which the halves differ least in any tag: see
# golden/README.md. Another one would move questions from one half to the other.
_SALT = "hako-81"


@dataclass(frozen=True, slots=True)
class Question:
    """``grades`` holds, by the name of a note, ANSWERS or HELPS; a note not named has no part."""

    name: str
    text: str
    language: str
    tags: tuple[str, ...]
    grades: Mapping[str, int]

    @property
    def half(self) -> str:
        return half_of(self.name)

    @property
    def answers(self) -> frozenset[str]:
        return frozenset(name for name, grade in self.grades.items() if grade == ANSWERS)

    @property
    def is_answerable(self) -> bool:
        return bool(self.grades)


@dataclass(frozen=True)
class GoldenSet:
    """``notes`` by name; a note's id is made from its place, so it is the same in every run."""

    notes: Mapping[str, Note]
    questions: tuple[Question, ...]

    @cached_property
    def names(self) -> Mapping[UUID, str]:
        return {note.id: name for name, note in self.notes.items()}


def half_of(name: str, salt: str = _SALT) -> str:
    """The half that a question of this name belongs to."""
    digest = hashlib.blake2b(f"{salt}/{name}".encode(), digest_size=1).digest()
    return HALVES[digest[0] & 1]


def load() -> GoldenSet:
    notes = {
        line["id"]: _note(place, line) for place, line in enumerate(_lines("notes.jsonl"), start=1)
    }
    questions = tuple(
        Question(
            line["id"],
            line["question"],
            line["language"],
            tuple(line["tags"]),
            line["grades"],
        )
        for line in _lines("questions.jsonl")
    )
    return GoldenSet(notes, questions)


def _lines(name: str) -> Iterator[dict]:
    for line in (DIRECTORY / name).read_text("utf-8").splitlines():
        yield json.loads(line)


def _note(place: int, line: dict) -> Note:
    at = datetime.fromisoformat(line["created_at"])
    milliseconds = int(at.timestamp() * 1000)
    return Note(
        id=UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | place),
        user_id=line["user_id"],
        category=line["category"],
        content=line["content"],
        created_at=at,
        updated_at=at,
    )
