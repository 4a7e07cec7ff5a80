"""Tasks over HTTP."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from nakamura_misaki.adapters.primary.api.access import AnyCaller, GuardedRoute
from nakamura_misaki.adapters.primary.api.creating import Creation, IdempotencyKey
from nakamura_misaki.adapters.primary.api.declaring import creating, reading, writing
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
    Title,
    UserId,
)
from nakamura_misaki.adapters.primary.api.paging import page, uuid_place
from nakamura_misaki.adapters.primary.api.rendering import dumped, task_json
from nakamura_misaki.application.tasks import TaskChanges, TaskService
from nakamura_misaki.domain.repositories import Place
from nakamura_misaki.domain.task import Task, TaskStatus

router = APIRouter(prefix="/v1/tasks", tags=["tasks"], route_class=GuardedRoute)

_KIND = "tasks"


class NewTask(Body):
    """A task to create; it begins as pending."""

    title: Title
    description: Text = ""
    assignee_user_id: UserId | None = Field(
        default=None, description="Who does it; without it, whoever creates it."
    )
    creator_user_id: UserId | None = Field(
        default=None, description="Who creates it; needed unless the token is a user's."
    )
    due_at: Time | None = None


class TaskPatch(Body):
    """New values; what is left out stays as it is."""

    title: Title = Field(default_factory=str)
    description: Text = Field(default_factory=str)
    assignee_user_id: UserId = Field(default_factory=str)
    due_at: Time | None = Field(
        default_factory=lambda: None, description="null: it is due at no time."
    )
    status: TaskStatus = Field(
        default_factory=lambda: TaskStatus.PENDING,
        description=(
            "Where the task goes: from pending to in_progress or completed, from in_progress to"
            " pending or completed, from anywhere to cancelled."
        ),
    )


class TaskOut(BaseModel):
    """A task. Times are in UTC."""

    id: UUID
    title: str
    description: str
    status: TaskStatus
    assignee_user_id: str
    creator_user_id: str
    due_at: datetime | None
    completed_at: datetime | None = Field(description="Set exactly while it is completed.")
    created_at: datetime
    updated_at: datetime


class TaskPage(BaseModel):
    """Some of a list's tasks."""

    items: list[TaskOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class TaskParameters(Parameters):
    user_id: UserId | NotGiven = Field(
        default=None, description="Whose tasks; needed unless the token is a user's."
    )
    status: TaskStatus | NotGiven = Field(default=None, description="Only those of this status.")
    open: Flag = Field(default=False, description="true: only those still to be done.")
    due: Literal["today"] | NotGiven = Field(
        default=None, description="`today`: only open ones, due today in the team's time zone."
    )
    limit: Limit = 50
    cursor: Cursor | NotGiven = None


_creation: Creation[Task] = Creation(
    "POST /v1/tasks", render=task_json, location=lambda task: f"/v1/tasks/{task.id}"
)


@router.post(
    "",
    operation_id="create_task",
    summary="Create a task",
    status_code=201,
    response_model=TaskOut,
    responses=creating(404, 409),
)
async def create_task(caller: AnyCaller, body: NewTask, key: IdempotencyKey = None) -> Response:
    creator = caller.user(body.creator_user_id, "creator_user_id")
    assignee = body.assignee_user_id or creator
    repository = caller.workspace.task_repository
    return await _creation.answer(
        caller,
        key,
        body.model_dump() | {"creator_user_id": creator, "assignee_user_id": assignee},
        make=lambda new_id, clock: TaskService(repository, new_id=new_id, clock=clock).add(
            title=body.title,
            description=body.description,
            assignee_user_id=assignee,
            creator_user_id=creator,
            due_at=body.due_at,
        ),
        find=lambda reservation: repository.get(reservation.entity_id),
    )


@router.get(
    "",
    operation_id="list_tasks",
    summary="List a user's tasks, earliest due first",
    response_model=TaskPage,
    responses=reading(404, is_list=True),
)
async def list_tasks(
    caller: AnyCaller, request: Request, query: Annotated[TaskParameters, Query()]
) -> Response:
    user_id = caller.user(query.user_id, place="query")
    after = uuid_place(_KIND, query.cursor, undated=True)
    tasks = caller.workspace.tasks
    if query.due is None:
        found = await tasks.list_for(
            user_id, query.status, only_open=query.open, limit=query.limit + 1, after=after
        )
    else:
        found = await tasks.list_due_today(
            user_id, query.status, limit=query.limit + 1, after=after
        )
    return page(
        request,
        found,
        query.limit,
        kind=_KIND,
        place=lambda task: Place(task.due_at, task.id),
        render=task_json,
    )


@router.get(
    "/{task_id}",
    operation_id="get_task",
    summary="Get a task",
    response_model=TaskOut,
    responses=reading(404),
)
async def get_task(caller: AnyCaller, task_id: EntryId) -> Response:
    return _answer(await caller.workspace.tasks.show(task_id, as_user=caller.as_user))


@router.patch(
    "/{task_id}",
    operation_id="change_task",
    summary="Change a task",
    response_model=TaskOut,
    responses=writing(404, 409),
)
async def change_task(caller: AnyCaller, task_id: EntryId, body: TaskPatch) -> Response:
    changes: TaskChanges = body.model_dump(exclude_unset=True)  # type: ignore[assignment]  # of the same names
    return _answer(await caller.workspace.tasks.change(task_id, changes, as_user=caller.as_user))


@router.delete(
    "/{task_id}",
    operation_id="delete_task",
    summary="Delete a task and its handoffs",
    status_code=204,
    responses=reading(404),
)
async def delete_task(caller: AnyCaller, task_id: EntryId) -> Response:
    await caller.workspace.tasks.delete(task_id, as_user=caller.as_user)
    return Response(status_code=204)


def _answer(task: Task) -> Response:
    return Response(dumped(task_json(task)), media_type="application/json")
