"""POST /slack/events: where Slack sends events, pressed buttons and commands.

bolt checks the signature (https://docs.slack.dev/authentication/verifying-requests-from-slack):
401 for a wrong one, and for a request that was signed more than five minutes ago.
"""

from fastapi import APIRouter, Request, Response
from slack_bolt.adapter.starlette.async_handler import (
    to_async_bolt_request,
    to_starlette_response,
)
from slack_bolt.async_app import AsyncApp

from nakamura_misaki.adapters.primary.slack.receiving import Receiver

PATH = "/slack/events"


def events_router(bolt: AsyncApp, receiver: Receiver, max_body_bytes: int) -> APIRouter:
    """The route. It is for Slack alone, so no OpenAPI document names it."""
    router = APIRouter()

    @router.post(PATH, include_in_schema=False)
    async def events(request: Request) -> Response:
        body = await _body(request, max_body_bytes)
        if body is None:
            return Response(status_code=413)
        try:
            given = to_async_bolt_request(request, body)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return Response(status_code=400)  # nothing that Slack sends
        try:
            return to_starlette_response(await bolt.async_dispatch(given))
        finally:
            receiver.begin(given)

    return router


async def _body(request: Request, most: int) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)
