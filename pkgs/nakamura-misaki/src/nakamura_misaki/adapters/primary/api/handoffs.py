"""Handoffs over HTTP."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
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
    Flag,
    Limit,
    NotGiven,
    Parameters,
    Text,
    Time,
    UserId,
    Words,
)
from nakamura_misaki.adapters.primary.api.paging import page, uuid_place
from nakamura_misaki.adapters.primary.api.rendering import dumped, handoff_json
from nakamura_misaki.application.handoffs import HandoffService
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.repositories import Place

router = APIRouter(prefix="/v1/handoffs", tags=["handoffs"], route_class=GuardedRoute)

_KIND = "handoffs"


class NewHandoff(Body):
    """Work to hand over. The receiver is reminded shortly before the time."""

    from_user_id: UserId | None = Field(
        default=None, description="Who hands over; needed unless the token is a user's."
    )
    to_user_id: UserId = Field(description="Who takes over: another than who hands over.")
    progress_note: Words = Field(examples=["半分まで終わった"])
    next_steps: Text = ""
    handoff_at: Time
    task_id: EntryId | None = Field(
        default=None, description="The task that is handed over; the handoff goes with it."
    )


class HandoffOut(BaseModel):
    """Work that one person hands to another. Times are in UTC."""

    id: UUID
    task_id: UUID | None
    from_user_id: str
    to_user_id: str
    progress_note: str
    next_steps: str
    handoff_at: datetime
    reminded_at: datetime | None
    completed_at: datetime | None
    created_at: datetime


class HandoffPage(BaseModel):
    """Some of a list's handoffs."""

    items: list[HandoffOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class HandoffParameters(Parameters):
    to_user_id: UserId | NotGiven = Field(
        default=None, description="To whom; needed unless the token is a user's."
    )
    completed: Flag | NotGiven = Field(
        default=None, description="Only those that are, or are not; without it, all."
    )
    limit: Limit = 50
    cursor: Cursor | NotGiven = None


_creation: Creation[Handoff] = Creation(
    "POST /v1/handoffs",
    render=handoff_json,
    location=lambda handoff: f"/v1/handoffs/{handoff.id}",
)


@router.post(
    "",
    operation_id="create_handoff",
    summary="Hand work over",
    status_code=201,
    response_model=HandoffOut,
    responses=creating(404, 409),
)
async def create_handoff(
    caller: AnyCaller, body: NewHandoff, key: IdempotencyKey = None
) -> Response:
    giver = caller.user(body.from_user_id, "from_user_id")
    repository = caller.workspace.handoff_repository

    async def make(new_id: Callable[[], UUID], clock: Callable[[], datetime]) -> Handoff:
        if body.task_id is not None and caller.as_user is not None:
            # A task that does not concern the user is not there for this token.
            await caller.workspace.tasks.show(body.task_id, as_user=caller.as_user)
        return await HandoffService(repository, new_id=new_id, clock=clock).add(
            from_user_id=giver,
            to_user_id=body.to_user_id,
            progress_note=body.progress_note,
            next_steps=body.next_steps,
            handoff_at=body.handoff_at,
            task_id=body.task_id,
        )

    return await _creation.answer(
        caller,
        key,
        body.model_dump() | {"from_user_id": giver},
        make=make,
        find=lambda reservation: repository.get(reservation.entity_id),
    )


@router.get(
    "",
    operation_id="list_handoffs",
    summary="List the handoffs to a user, earliest first",
    response_model=HandoffPage,
    responses=reading(404, is_list=True),
)
async def list_handoffs(
    caller: AnyCaller, request: Request, query: Annotated[HandoffParameters, Query()]
) -> Response:
    user_id = caller.user(query.to_user_id, "to_user_id", place="query")
    found = await caller.workspace.handoffs.list_page(
        user_id,
        completed=query.completed,
        limit=query.limit + 1,
        after=uuid_place(_KIND, query.cursor),
    )
    return page(
        request,
        found,
        query.limit,
        kind=_KIND,
        place=lambda handoff: Place(handoff.handoff_at, handoff.id),
        render=handoff_json,
    )


@router.get(
    "/{handoff_id}",
    operation_id="get_handoff",
    summary="Get a handoff",
    response_model=HandoffOut,
    responses=reading(404),
)
async def get_handoff(caller: AnyCaller, handoff_id: EntryId) -> Response:
    return _answer(await caller.workspace.handoffs.show(handoff_id, as_user=caller.as_user))


@router.post(
    "/{handoff_id}/complete",
    operation_id="complete_handoff",
    summary="Complete a handoff",
    response_model=HandoffOut,
    responses=reading(404, 409),
)
async def complete_handoff(caller: AnyCaller, handoff_id: EntryId) -> Response:
    return _answer(await caller.workspace.handoffs.complete(handoff_id, as_user=caller.as_user))


def _answer(handoff: Handoff) -> Response:
    return Response(dumped(handoff_json(handoff)), media_type="application/json")
