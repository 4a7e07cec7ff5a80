"""Around every request: its id, one line in the log, a bound on its body.

Plain ASGI: whatever runs inside stays in the request's own task, so that a
cancelled request is cancelled down to the database, and sees its context.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import TypeAlias
from uuid import uuid4

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nakamura_misaki.adapters.primary.api.problems import given_up, too_large, unexpected
from nakamura_misaki.infrastructure.logging import request_id

OnResponse: TypeAlias = Callable[[str, str, int, float], None]
"""Hears of each answer: method, the route's template ("unmatched" if none), status, seconds."""

UNMATCHED = "unmatched"
OTHER_METHOD = "OTHER"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WATCHED = frozenset({"/health/live", "/health/ready", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

access_logger = logging.getLogger("nakamura_misaki.access")
logger = logging.getLogger("nakamura_misaki.api")


class RequestContext:
    """Gives each request an id, and tells the log and ``on_response`` how it was answered.

    A client's own ``X-Request-ID`` is kept if it is 1 to 128 of [A-Za-z0-9._-]. The
    log never holds a query, a body or a token, but the token's name. An error that
    nobody foresaw is logged with its traceback and answered as a problem; a request
    that the server cancels because it ends is answered 503.
    """

    def __init__(self, app: ASGIApp, on_response: OnResponse | None = None) -> None:
        self._app = app
        self._on_response = on_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        own_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        headers = [(b"x-request-id", own_id.encode()), (b"x-content-type-options", b"nosniff")]
        if scope["path"].startswith("/v1/"):
            headers.append((b"cache-control", b"no-store"))
        state = scope.setdefault("state", {})
        status: int | None = None

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        token = request_id.set(own_id)
        try:
            await self._app(scope, receive, send_on)
        except Exception:
            logger.exception("a request ended by an error that nobody foresaw")
            if status is not None:
                raise  # too late for another answer: the connection breaks off
            await unexpected().response()(scope, receive, send_on)
        except asyncio.CancelledError:
            if status is None:
                await given_up().response()(scope, receive, send_on)
            raise
        finally:
            self._tell(scope, state.get("token_name"), status or 500, started)
            request_id.reset(token)

    def _tell(self, scope: Scope, token_name: str | None, status: int, started: float) -> None:
        seconds = time.perf_counter() - started
        method = scope["method"] if scope["method"] in _METHODS else OTHER_METHOD
        template = _template(scope)
        # Whoever watches asks every few seconds, and nobody wants to read it.
        level = logging.DEBUG if template in _WATCHED else logging.INFO
        access_logger.log(
            level,
            "%s %s %d %.1f ms %s",
            method,
            template,
            status,
            seconds * 1000,
            token_name or "-",
        )
        if self._on_response is not None:
            self._on_response(method, template, status, seconds)


def _template(scope: Scope) -> str:
    """The template of the route that answered: of as many as there are routes, and no more."""
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    # A plain route of Starlette's, such as the document's, leaves only what it matched.
    return UNMATCHED if scope.get("path_params", True) else str(scope["path"])


class BodyLimit:
    """Refuses a body of more than ``limit`` bytes: by its Content-Length, or as soon as it grows over.

    Nothing is parsed before.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            await too_large(self._limit).response()(scope, receive, send)
            return
        taken = 0

        async def receive_within() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                raise BodyTooLarge(self._limit)
            return message

        await self._app(scope, receive_within, send)


class BodyTooLarge(HTTPException):
    """A body that grew over the limit; raised to whoever reads it."""

    def __init__(self, limit: int) -> None:
        problem = too_large(limit)
        super().__init__(problem.status, problem.detail, dict(problem.headers or {}))
