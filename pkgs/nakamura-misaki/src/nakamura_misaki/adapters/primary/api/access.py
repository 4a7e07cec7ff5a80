"""Who asks, and what of the workspace is there for them.

A token bound to a user acts as that user and nobody else: of what does not concern
the user there is nothing, so that no answer tells whether it exists. Such a token's
user need not be named; another user's name is answered as an unknown one.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute

from nakamura_misaki.adapters.primary.api.problems import ProblemType, Refused, bad_request, missing
from nakamura_misaki.application.access import Gate, Principal
from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.infrastructure.di.application import App
from nakamura_misaki.infrastructure.di.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the stores of the one workspace that they reach."""

    principal: Principal
    workspace: Workspace

    @property
    def as_user(self) -> str | None:
        """The one user as whom the token acts; None: it may act for every user."""
        return self.principal.user_id

    def user(self, named: str | None, field: str = "user_id", *, place: str = "body") -> str:
        """The user whom a request is about: the one ``named``, or the token's own.

        Raises Refused: 404 for another than the token's own, 422 if nobody is named.
        """
        own = self.principal.user_id
        if named is None:
            if own is None:
                raise missing(place, field)
            return own
        if own is not None and named != own:
            raise Refused(404, ProblemType.NOT_FOUND, f"there is no such {field} for this token.")
        return named


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


AnyCaller = Annotated[Caller, Depends(_caller)]


class GuardedRoute(APIRoute):
    """A route that looks at nothing else before it knows who asks, and that reads JSON only."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def guarded(request: Request) -> Response:
            request.state.caller = await _admitted(request)
            if takes_body and not _may_be_json(request):
                raise Refused(
                    415,
                    ProblemType.NOT_JSON,
                    "the body must be JSON; send it with Content-Type: application/json.",
                )
            try:
                return await handle(request)
            except HTTPException as error:
                if error.status_code == 400:  # nothing here raises one, but the parsing does
                    raise bad_request("the body is not JSON.") from None
                raise

        return guarded


async def _admitted(request: Request) -> Caller:
    gate: Gate = request.app.state.gate
    app: App = request.app.state.app
    token = _bearer(request)
    if token is not None:
        try:
            principal = await gate.admit(token)
            if principal is not None:
                request.state.token_name = principal.token_name
                return Caller(principal, app.of(principal.workspace_id))
        except NotFound:
            pass  # the JSON files hold one workspace: a token of another one opens nothing
    raise Refused(
        401,
        ProblemType.UNAUTHORIZED,
        "this needs a valid token; send it as Authorization: Bearer TOKEN.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _bearer(request: Request) -> str | None:
    given = request.headers.getlist("authorization")
    if len(given) != 1:
        return None
    scheme, _, token = given[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _may_be_json(request: Request) -> bool:
    """Whether the body says that it is JSON; also where there is none, which others complain of."""
    content_type = request.headers.get("content-type")
    if content_type is None:
        headers = request.headers
        return headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))
