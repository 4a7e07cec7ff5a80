"""Whatever goes wrong, as one kind of answer: ``application/problem+json`` (RFC 9457).

A problem's ``type`` is a stable word for a program, its ``detail`` a sentence for a
person. Neither ever holds what a client sent beside names and ids, nor what only the
operator should know: that is in the log, under the ``request_id``.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from nakamura_misaki.application.idempotency import KeyReused
from nakamura_misaki.domain.errors import (
    AlreadyExists,
    ConfigurationError,
    EmbeddingFailed,
    IllegalTransition,
    InvalidInput,
    NakamuraMisakiError,
    NotFound,
    SchemaOutdated,
    StorageUnavailable,
)
from nakamura_misaki.infrastructure.logging import request_id

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
"""After a database's outage: soon, since clients of a small team are few."""

TOO_LARGE = 413

_MAX_LOCATION_CHARACTERS = 100
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Those that Python's own table names in one way or another, by its version (RFC 9110)."""

logger = logging.getLogger("nakamura_misaki.api")


class ProblemType(StrEnum):
    """What went wrong, in one word; a URI reference, as RFC 9457 wants it."""

    BAD_REQUEST = "/problems/bad-request"
    UNAUTHORIZED = "/problems/unauthorized"
    NOT_FOUND = "/problems/not-found"
    METHOD_NOT_ALLOWED = "/problems/method-not-allowed"
    ALREADY_EXISTS = "/problems/already-exists"
    ILLEGAL_TRANSITION = "/problems/illegal-transition"
    TOO_LARGE = "/problems/too-large"
    NOT_JSON = "/problems/not-json"
    INVALID = "/problems/invalid"
    KEY_REUSED = "/problems/key-reused"
    HTTP = "/problems/http"
    UNEXPECTED = "/problems/unexpected"
    UNAVAILABLE = "/problems/unavailable"
    MISCONFIGURED = "/problems/misconfigured"


class FieldError(BaseModel):
    """One value that breaks a rule."""

    loc: list[str | int] = Field(
        description="Where it stands: `body`, `query`, `path` or `header`, then the way to it.",
        examples=[["body", "title"]],
    )
    msg: str = Field(description="What is wrong with it.", examples=["it must not be blank."])


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: ProblemType = Field(description="A stable word for programs.")
    title: str = Field(description="The same for people, in general.", examples=["Not Found"])
    status: int = Field(ge=400, le=599, description="The HTTP status.", examples=[404])
    detail: str = Field(
        description="What is wrong with this very request, and what to do.",
        examples=["there is no task 01981b30-67a8-7c6e-9d5b-2f8f0a5c1e11."],
    )
    request_id: str = Field(
        description="Under which the operator finds the request in the log.",
        examples=["5f0c7f1e2b7a4c0e9a1d6a1b1c2d3e4f"],
    )
    errors: list[FieldError] = Field(
        default_factory=list, description="Each value that breaks a rule; only with `422`."
    )


class Refused(Exception):
    """A request that this API itself turns down."""

    def __init__(
        self,
        status: int,
        kind: ProblemType,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.errors = errors

    def response(self) -> Response:
        problem: dict[str, Any] = {
            "type": self.kind,
            "title": _TITLES.get(self.status) or HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": _as_text(self.detail),
            "request_id": request_id.get() or "",
        }
        if self.errors:
            problem["errors"] = [error.model_dump() for error in self.errors]
        return Response(orjson.dumps(problem), self.status, self.headers, MEDIA_TYPE)


def unexpected() -> Refused:
    """The answer to a request that an error ended which nobody foresaw."""
    return Refused(
        500,
        ProblemType.UNEXPECTED,
        "something went wrong that nobody foresaw; the operator finds it in the log.",
    )


def given_up() -> Refused:
    """The answer to a request that the server ends before it is done."""
    return Refused(
        503,
        ProblemType.UNAVAILABLE,
        "the service stopped before this was done; try again.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS), "Connection": "close"},
    )


def too_large(limit: int) -> Refused:
    # The rest of the body is not read, so nothing else can follow on this connection.
    return Refused(
        TOO_LARGE,
        ProblemType.TOO_LARGE,
        f"the body is longer than the {limit:,} bytes that are taken; send less.",
        headers={"Connection": "close"},
    )


def bad_request(detail: str) -> Refused:
    return Refused(400, ProblemType.BAD_REQUEST, detail)


def missing(place: str, name: str) -> Refused:
    """A value that this caller has to give is not there, in ``body`` or ``query``."""
    error = FieldError(loc=[place, name], msg="Field required")
    return Refused(422, ProblemType.INVALID, f"{name} has to be given.", errors=[error])


def of_domain(error: NakamuraMisakiError) -> Refused:
    """What a client is told of an error of the domain."""
    match error:
        case KeyReused():
            return Refused(422, ProblemType.KEY_REUSED, str(error))
        case IllegalTransition():
            return Refused(409, ProblemType.ILLEGAL_TRANSITION, str(error))
        case InvalidInput():
            return Refused(422, ProblemType.INVALID, str(error))
        case NotFound():
            return Refused(404, ProblemType.NOT_FOUND, str(error))
        case AlreadyExists():
            return Refused(409, ProblemType.ALREADY_EXISTS, str(error))
        case StorageUnavailable() | EmbeddingFailed():
            logger.warning("answered 503: %s", error)
            return Refused(
                503,
                ProblemType.UNAVAILABLE,
                "the storage can't be used at the moment; try again.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        case SchemaOutdated() | ConfigurationError():
            logger.error("answered 503: %s", error)
            return Refused(
                503,
                ProblemType.MISCONFIGURED,
                "the service is not set up as it must be; the operator finds the reason in the log.",
            )
    logger.error("answered 500: %s", error, exc_info=error)
    return unexpected()


_OF_STATUS = {
    400: ProblemType.BAD_REQUEST,
    404: ProblemType.NOT_FOUND,
    405: ProblemType.METHOD_NOT_ALLOWED,
}
_DETAIL = {
    404: "there is nothing at this address.",
    405: "this address does not take that method.",
}


def of_http(error: HTTPException) -> Refused:
    """What a client is told of an error that the framework raised."""
    status = error.status_code
    if status == TOO_LARGE:
        return Refused(status, ProblemType.TOO_LARGE, str(error.detail), headers=error.headers)
    kind = _OF_STATUS.get(status, ProblemType.HTTP)
    detail = _DETAIL.get(status) or str(error.detail)
    return Refused(status, kind, detail, headers=error.headers)


def of_validation(error: RequestValidationError) -> Refused:
    """What a client is told of values that break the rules: where and why, never the values."""
    mistakes = error.errors()
    if any(mistake["type"] == "json_invalid" for mistake in mistakes):
        return bad_request("the body is not JSON.")
    errors = [
        FieldError(loc=[_location(part) for part in mistake["loc"]], msg=_message(mistake))
        for mistake in mistakes
    ]
    return Refused(
        422,
        ProblemType.INVALID,
        "some values break a rule; errors names them.",
        errors=errors,
    )


def add_handlers(api: FastAPI, routes: Iterable[BaseRoute]) -> None:
    """Answer with a problem whatever is raised on purpose; ``routes`` are all that are served."""
    known = [route for route in routes if isinstance(route, Route)]

    @api.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return error.response()

    @api.exception_handler(NakamuraMisakiError)
    async def domain(request: Request, error: NakamuraMisakiError) -> Response:
        return of_domain(error).response()

    @api.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        return of_validation(error).response()

    @api.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        response = of_http(error).response()
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # The framework names those of one route; there is one for each method (RFC 9110, 10.2.1).
            path = request.url.path
            here = [route.methods or () for route in known if route.path_regex.match(path)]
            if methods := sorted({method for each in here for method in each}):
                response.headers["Allow"] = ", ".join(methods)
        return response


def _location(part: str | int) -> str | int:
    return part if isinstance(part, int) else _as_text(part)[:_MAX_LOCATION_CHARACTERS]


def _message(mistake: Mapping[str, Any]) -> str:
    return _as_text(str(mistake["msg"])).removeprefix("Value error, ")


def _as_text(text: str) -> str:
    """The text with half surrogate pairs, which a client may send, replaced."""
    return text.encode("utf-8", "replace").decode()
