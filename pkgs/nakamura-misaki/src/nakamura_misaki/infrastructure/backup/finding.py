"""The last proof of a backup: a note of it is found again, as the service would find it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.errors import BackupFailed, NakamuraMisakiError
from nakamura_misaki.domain.note import FoundNote, Leg
from nakamura_misaki.domain.repositories import NoteRepository
from nakamura_misaki.infrastructure.backup.server import DatabaseServer
from nakamura_misaki.infrastructure.database import roles
from nakamura_misaki.infrastructure.database.vector_codec import set_vector_codec

LOOKED_AT = 200
"""Newest notes among which one is chosen that has a vector and words enough."""

ENOUGH_CHARACTERS = 40
QUESTION_CHARACTERS = 1000
"""As much of a question as the search looks at."""

LIMIT = 1000
"""Notes looked at in an answer: many may hold the same words."""

TRIES = 3
"""Notes of which one is enough: the words of a form that is filled in every day tell little."""

_WORKSPACE = """
SELECT workspace_id FROM notes GROUP BY workspace_id
ORDER BY workspace_id = $1 DESC, count(*) DESC, workspace_id LIMIT 1"""
_NOTES = rf"""
SELECT n.id, n.user_id, left(regexp_replace(n.content, '^\s+', ''), {QUESTION_CHARACTERS}) AS question,
    m.model, e.embedding
FROM notes AS n
LEFT JOIN embedding_models AS m ON m.workspace_id = n.workspace_id AND m.is_active
LEFT JOIN note_embeddings AS e
    ON e.workspace_id = n.workspace_id AND e.note_id = n.id AND e.model = m.model
WHERE n.workspace_id = $1
ORDER BY n.created_at DESC, n.id DESC LIMIT {LOOKED_AT}"""

# There is one role for everything, or one that owns and one that runs.
_ROLE = """
SELECT rolname FROM pg_roles
WHERE pg_has_role(current_user, oid, 'SET') AND rolname = (
    SELECT CASE pg_get_userbyid(relowner) WHEN $1 THEN $2 ELSE pg_get_userbyid(relowner) END
    FROM pg_class WHERE oid = 'notes'::regclass)"""


@dataclass(frozen=True, slots=True)
class Sample:
    """A note to be found again by its own beginning."""

    workspace_id: str
    note_id: UUID
    user_id: str
    question: str
    model: str | None
    vector: Embedding | None
    role: str | None
    """The role as which the service searches; None if we may not act as that."""

    @property
    def legs(self) -> tuple[Leg, ...]:
        """By what it must be found."""
        has_words = any(character.isalnum() for character in self.question)
        has_vector = self.vector is not None and bool(self.question.strip())
        legs = ((Leg.VECTOR, has_vector), (Leg.WORDS, has_words))
        return tuple(leg for leg, is_there in legs if is_there)


OpenNotes: TypeAlias = Callable[[str, Sample], AbstractAsyncContextManager[NoteRepository]]
"""The notes of the database at a URL as the service has them, for questions like the sample's."""


async def found_again(
    server: DatabaseServer, database: str, workspace_id: str, open_notes: OpenNotes
) -> Sample | None:
    """Search a note of the database, preferably of this workspace; the note that was found.

    None if there is no note to ask for. Raises BackupFailed if the search finds none again.
    """
    failure: BackupFailed | None = None
    for sample in await _samples(server, database, workspace_id):
        missed = await _missed(server.url(database), sample, open_notes)
        if not missed:
            return sample
        failure = failure or BackupFailed(
            f"The backup restores, but a search does not find the note {sample.note_id} of the"
            f" workspace {sample.workspace_id} again by its {' or by its '.join(missed)}."
        )
    if failure is not None:
        raise failure
    return None


async def _missed(url: str, sample: Sample, open_notes: OpenNotes) -> list[Leg]:
    """By what the note should have been found and was not."""
    try:
        async with open_notes(url, sample) as notes:
            answer = await notes.search(sample.question, sample.user_id, LIMIT)
    except NakamuraMisakiError as error:
        raise BackupFailed(f"The backup restores, but a search in it fails: {error}") from error
    found_by = {
        leg
        for note in answer
        if isinstance(note, FoundNote) and _is_it(note, sample)
        for leg in note.legs
    }
    return [leg for leg in sample.legs if leg not in found_by]


def _is_it(note: FoundNote, sample: Sample) -> bool:
    """Whether it is that note, or one of the same text, which may stand in its place."""
    same_text = note.content.lstrip()[:QUESTION_CHARACTERS] == sample.question
    return note.id == sample.note_id or same_text


async def _samples(server: DatabaseServer, database: str, workspace_id: str) -> list[Sample]:
    """Notes to be found again, the best of them first."""
    async with server.connected(database) as driver:
        await set_vector_codec(driver)
        workspace = await driver.fetchval(_WORKSPACE, workspace_id)
        if workspace is None:
            return []
        notes = await driver.fetch(_NOTES, workspace)
        role = await driver.fetchval(_ROLE, roles.OWNER_ROLE, roles.RUNTIME_ROLE)
    samples = [
        Sample(
            workspace_id=workspace,
            note_id=note["id"],
            user_id=note["user_id"],
            question=note["question"],
            model=note["model"],
            vector=note["embedding"],
            role=role,
        )
        for note in notes
    ]
    askable = [sample for sample in samples if sample.legs]
    return sorted(askable, key=_worth, reverse=True)[:TRIES]


def _worth(sample: Sample) -> tuple[int, bool]:
    characters = sum(character.isalnum() for character in sample.question)
    return min(characters, ENOUGH_CHARACTERS), sample.vector is not None
