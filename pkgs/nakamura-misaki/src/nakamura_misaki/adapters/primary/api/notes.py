"""Notes over HTTP, and the search for them."""

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from nakamura_misaki.adapters.primary.api.access import AnyCaller, GuardedRoute
from nakamura_misaki.adapters.primary.api.creating import Creation, IdempotencyKey
from nakamura_misaki.adapters.primary.api.declaring import creating, reading
from nakamura_misaki.adapters.primary.api.fields import (
    Body,
    Cursor,
    EntryId,
    JsonObject,
    Limit,
    Metadata,
    Name,
    NotGiven,
    Parameters,
    Question,
    Time,
    UserId,
    Words,
)
from nakamura_misaki.adapters.primary.api.paging import page, uuid_place
from nakamura_misaki.adapters.primary.api.rendering import answer_json, dumped, note_json
from nakamura_misaki.application.notes import NoteService
from nakamura_misaki.domain.note import CATEGORIES, Leg, LegSkipped, Note, SearchFilter
from nakamura_misaki.domain.repositories import Place

router = APIRouter(prefix="/v1/notes", tags=["notes"], route_class=GuardedRoute)

_KIND = "notes"
_MUCH_TEXT = 50_000

MAX_CATEGORIES = 20

Category = Annotated[Name, Field(examples=[*CATEGORIES[1:2]])]


class NewNote(Body):
    """Something to write down."""

    user_id: UserId | None = Field(
        default=None, description="Whose note; needed unless the token is a user's."
    )
    content: Words = Field(examples=["決定: DB移行はPostgreSQL 16で行う"])
    category: Category | None = None
    session_id: Name | None = Field(
        default=None, description="The conversation in which it was said."
    )
    metadata: Metadata = Field(default_factory=dict)


class NoteOut(BaseModel):
    """A note. Times are in UTC."""

    id: UUID
    user_id: str
    session_id: str | None
    category: str | None
    content: str
    metadata: dict[str, Any]
    source_key: str | None = Field(description="Where an imported note came from.")
    created_at: datetime
    updated_at: datetime


class NotePage(BaseModel):
    """Some of a list's notes."""

    items: list[NoteOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class PassageOut(BaseModel):
    """The part of a note that answers. Places count Unicode code points of the note's content."""

    text: str = Field(description="The content from start to end.")
    start: int
    end: int
    spans: list[tuple[int, int]] = Field(
        description="Where words of the question are, from (included) and to (excluded)."
    )


class FoundNoteOut(NoteOut):
    """A note that a search found."""

    passage: PassageOut

    score: float = Field(description="Higher is better; comparable only within one answer.")
    legs: list[Leg] = Field(description="The ways by which this note was found.")


class SearchOut(BaseModel):
    """Notes that answer a question, best first, and how they were looked for."""

    results: list[FoundNoteOut]
    legs: list[Leg] = Field(description="The ways in which notes were looked for.")
    skipped: dict[Leg, LegSkipped] = Field(
        description="The ways in which they were not, each with the reason.",
        examples=[{"vector": "embedding_failed"}],
    )


class NoteParameters(Parameters):
    user_id: UserId | NotGiven = Field(
        default=None, description="Whose notes; needed unless the token is a user's."
    )
    category: Category | NotGiven = Field(default=None, description="Only those of this category.")
    limit: Limit = 50
    cursor: Cursor | NotGiven = None


class SearchParameters(Parameters):
    q: Question = Field(description="What to look for: a question or some words.")
    user_id: UserId | NotGiven = Field(
        default=None,
        description="Whose notes; without it the token's user's, or everybody's if it has none.",
    )
    category: list[Category] = Field(
        default_factory=list,
        max_length=MAX_CATEGORIES,
        description="Only notes of this category; may come several times for any of them.",
    )
    session_id: Name | NotGiven = Field(default=None, description="Only notes of this session.")
    since: Time | NotGiven = Field(default=None, description="Only notes created then or later.")
    until: Time | NotGiven = Field(default=None, description="Only notes created before then.")
    metadata: JsonObject | NotGiven = Field(
        default=None,
        description="A JSON object: only notes whose metadata holds at least this.",
        examples=['{"source": "retro"}'],
    )
    limit: Limit = 10

    def filter(self) -> SearchFilter:
        """Which notes to look at. Raises InvalidInput where they contradict each other."""
        return SearchFilter(
            categories=tuple(self.category),
            session_id=self.session_id,
            since=self.since,
            until=self.until,
            metadata=self.metadata or {},
        )


_creation: Creation[Note] = Creation(
    "POST /v1/notes", render=note_json, location=lambda note: f"/v1/notes/{note.id}"
)


@router.post(
    "",
    operation_id="create_note",
    summary="Write a note down",
    status_code=201,
    response_model=NoteOut,
    responses=creating(404, 409),
)
async def create_note(caller: AnyCaller, body: NewNote, key: IdempotencyKey = None) -> Response:
    user_id = caller.user(body.user_id)
    repository = caller.workspace.note_repository
    return await _creation.answer(
        caller,
        key,
        body.model_dump() | {"user_id": user_id},
        make=lambda new_id, clock: NoteService(repository, new_id=new_id, clock=clock).add(
            user_id=user_id,
            content=body.content,
            category=body.category,
            session_id=body.session_id,
            metadata=body.metadata,
        ),
        find=lambda reservation: repository.get(reservation.entity_id),
    )


@router.get(
    "",
    operation_id="list_notes",
    summary="List a user's notes, newest first",
    response_model=NotePage,
    responses=reading(404, is_list=True),
)
async def list_notes(
    caller: AnyCaller, request: Request, query: Annotated[NoteParameters, Query()]
) -> Response:
    user_id = caller.user(query.user_id, place="query")
    found = await caller.workspace.notes.list_for(
        user_id, query.category, query.limit + 1, after=uuid_place(_KIND, query.cursor)
    )
    return note_page(request, found, query.limit, kind=_KIND)


@router.get(
    "/search",
    operation_id="search_notes",
    summary="Find notes by meaning and by words, best first",
    response_model=SearchOut,
    responses=reading(404),
)
async def search_notes(caller: AnyCaller, query: Annotated[SearchParameters, Query()]) -> Response:
    everybody = query.user_id is None and caller.as_user is None
    user_id = None if everybody else caller.user(query.user_id, place="query")
    found = await caller.workspace.notes.search(query.q, user_id, query.limit, query.filter())
    if sum(len(note.content) for note in found) > _MUCH_TEXT:
        # Looking for the passages in it must not keep everybody else waiting.
        content = await asyncio.to_thread(lambda: dumped(answer_json(found)))
    else:
        content = dumped(answer_json(found))
    return Response(content, media_type="application/json")


@router.get(
    "/{note_id}",
    operation_id="get_note",
    summary="Get a note",
    response_model=NoteOut,
    responses=reading(404),
)
async def get_note(caller: AnyCaller, note_id: EntryId) -> Response:
    note = await caller.workspace.notes.show(note_id, as_user=caller.as_user)
    return Response(dumped(note_json(note)), media_type="application/json")


def note_page(request: Request, found: list[Note], limit: int, *, kind: str) -> Response:
    """A page of notes, of a list that is ordered by their creation."""
    return page(
        request,
        found,
        limit,
        kind=kind,
        place=lambda note: Place(note.created_at, note.id),
        render=note_json,
    )
