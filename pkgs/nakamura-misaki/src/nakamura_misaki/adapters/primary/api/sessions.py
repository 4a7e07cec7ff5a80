"""Sessions over HTTP, and the notes of each."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from nakamura_misaki.adapters.primary.api.access import AnyCaller, GuardedRoute
from nakamura_misaki.adapters.primary.api.creating import Creation, IdempotencyKey
from nakamura_misaki.adapters.primary.api.declaring import creating, reading
from nakamura_misaki.adapters.primary.api.fields import (
    Body,
    Cursor,
    Limit,
    Metadata,
    Name,
    NewSessionId,
    NotGiven,
    Parameters,
    Text,
    UserId,
)
from nakamura_misaki.adapters.primary.api.notes import NotePage, note_page
from nakamura_misaki.adapters.primary.api.paging import page, text_place, uuid_place
from nakamura_misaki.adapters.primary.api.rendering import dumped, session_json
from nakamura_misaki.application.idempotency import Reservation
from nakamura_misaki.application.sessions import SessionService
from nakamura_misaki.domain.repositories import Place
from nakamura_misaki.domain.session import Session

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=GuardedRoute)

_KIND = "sessions"
_NOTES_KIND = "session notes"

SessionId = Annotated[Name, Path(examples=["sess_20261015_090000"])]


class NewSession(Body):
    """A conversation that begins now."""

    id: NewSessionId = Field(description="A name of your choosing, taken once in the workspace.")
    user_id: UserId | None = Field(
        default=None, description="Whose session; needed unless the token is a user's."
    )
    title: Text = ""
    workspace_path: Text | None = None
    metadata: Metadata = Field(default_factory=dict)


class SessionOut(BaseModel):
    """A conversation with the assistant. Times are in UTC."""

    id: str
    user_id: str
    title: str
    workspace_path: str | None
    message_count: int
    is_active: bool
    metadata: dict[str, Any]
    last_active_at: datetime
    created_at: datetime


class SessionPage(BaseModel):
    """Some of a list's sessions."""

    items: list[SessionOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class SessionParameters(Parameters):
    user_id: UserId | NotGiven = Field(
        default=None, description="Whose sessions; needed unless the token is a user's."
    )
    limit: Limit = 50
    cursor: Cursor | NotGiven = None


class SessionNoteParameters(Parameters):
    limit: Limit = 50
    cursor: Cursor | NotGiven = None


_creation: Creation[Session] = Creation(
    "POST /v1/sessions",
    render=session_json,
    location=lambda session: f"/v1/sessions/{quote(session.id, safe='')}",
)


@router.post(
    "",
    operation_id="create_session",
    summary="Begin a session",
    status_code=201,
    response_model=SessionOut,
    responses=creating(404, 409),
)
async def create_session(
    caller: AnyCaller, body: NewSession, key: IdempotencyKey = None
) -> Response:
    user_id = caller.user(body.user_id)
    repository = caller.workspace.session_repository

    async def find(reservation: Reservation) -> Session | None:
        # The id is the client's, so that the one that is there may be another request's.
        stored = await repository.get(body.id)
        if stored is None:
            return None
        wanted = Session(
            id=body.id,
            user_id=user_id,
            title=body.title,
            workspace_path=body.workspace_path,
            metadata=body.metadata,
            created_at=reservation.created_at,
            last_active_at=stored.last_active_at,
        )
        untouched = replace(stored, message_count=wanted.message_count, is_active=wanted.is_active)
        return stored if untouched == wanted else None

    return await _creation.answer(
        caller,
        key,
        body.model_dump() | {"user_id": user_id},
        make=lambda new_id, clock: SessionService(repository, clock=clock).begin(
            body.id,
            user_id=user_id,
            title=body.title,
            workspace_path=body.workspace_path,
            metadata=body.metadata,
        ),
        find=find,
    )


@router.get(
    "",
    operation_id="list_sessions",
    summary="List a user's sessions, most recently active first",
    response_model=SessionPage,
    responses=reading(404, is_list=True),
)
async def list_sessions(
    caller: AnyCaller, request: Request, query: Annotated[SessionParameters, Query()]
) -> Response:
    user_id = caller.user(query.user_id, place="query")
    found = await caller.workspace.sessions.list_for(
        user_id, limit=query.limit + 1, after=text_place(_KIND, query.cursor)
    )
    return page(
        request,
        found,
        query.limit,
        kind=_KIND,
        place=lambda session: Place(session.last_active_at, session.id),
        render=session_json,
    )


@router.get(
    "/{session_id}",
    operation_id="get_session",
    summary="Get a session",
    response_model=SessionOut,
    responses=reading(404),
)
async def get_session(caller: AnyCaller, session_id: SessionId) -> Response:
    return _answer(await caller.workspace.sessions.show(session_id, as_user=caller.as_user))


@router.post(
    "/{session_id}/activity",
    operation_id="touch_session",
    summary="Note that a session is active",
    response_model=SessionOut,
    responses=reading(404),
)
async def touch_session(caller: AnyCaller, session_id: SessionId) -> Response:
    return _answer(await caller.workspace.sessions.touch(session_id, as_user=caller.as_user))


@router.get(
    "/{session_id}/notes",
    operation_id="list_session_notes",
    summary="List the notes of a session, oldest first",
    description="Notes outlive their session: they are found by its id also after it is gone.",
    response_model=NotePage,
    responses=reading(404, is_list=True),
)
async def list_session_notes(
    caller: AnyCaller,
    request: Request,
    session_id: SessionId,
    query: Annotated[SessionNoteParameters, Query()],
) -> Response:
    found = await caller.workspace.notes.list_of_session(
        session_id,
        user_id=caller.as_user,
        limit=query.limit + 1,
        after=uuid_place(_NOTES_KIND, query.cursor),
    )
    if not found and query.cursor is None:  # is there such a session at all?
        await caller.workspace.sessions.show(session_id, as_user=caller.as_user)
    return note_page(request, found, query.limit, kind=_NOTES_KIND)


def _answer(session: Session) -> Response:
    return Response(dumped(session_json(session)), media_type="application/json")
