"""The OpenAPI document: what every route has in common, and the words around it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from nakamura_misaki.adapters.primary.api.problems import Problem

DESCRIPTION = """\
Tasks, handoffs, notes and sessions of one team.

Every request shows a token: `Authorization: Bearer TOKEN`. A token reaches one workspace. \
A token bound to a user acts as that user: it need not name the user, it sees the tasks that \
the user does or made, the handoffs that the user gives or takes, the user's own notes and \
sessions, and there is nothing else for it. Any other token names the users it acts for.

Whatever goes wrong is told as `application/problem+json`. Times are RFC 3339 with an offset \
and come back in UTC. Lists come in pages: go on with `next_cursor`, or follow the `Link` \
header, until it is null. An `Idempotency-Key` makes creating safe to repeat.\
"""

_TAGS = [
    {"name": "tasks", "description": "What one person is to do, perhaps by a certain time."},
    {"name": "handoffs", "description": "Work that passes from one person to another."},
    {"name": "notes", "description": "What was decided and learned, and found again."},
    {"name": "sessions", "description": "Conversations with the assistant."},
]
_PREFIX = "/v1/"


def describe(api: FastAPI) -> None:
    """Make ``api.openapi()`` give the whole document, built once."""
    api.description = DESCRIPTION
    api.openapi = lambda: _document(api)  # type: ignore[method-assign]  # as FastAPI's own guide does it


def _document(api: FastAPI) -> dict[str, Any]:
    if api.openapi_schema is None:
        api.openapi_schema = _build(api)
    return api.openapi_schema


def _build(api: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=api.title,
        version=api.version,
        openapi_version=api.openapi_version,
        description=api.description,
        routes=api.routes,
        tags=_TAGS,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `nakamura-misaki token create`.",
        }
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith(_PREFIX):
                operation["security"] = [{"token": []}]
                for response in operation["responses"].values():
                    _add_request_id(response)
    return document


def _add_request_id(response: dict[str, Any]) -> None:
    headers = response.setdefault("headers", {})
    response["headers"] = {
        "X-Request-ID": {
            "description": "Under which the operator finds the request in the log.",
            "required": True,
            "schema": {"type": "string"},
        },
        **headers,
    }
