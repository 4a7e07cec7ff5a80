"""The HTTP side of ``slack_server``: /api/<method>, /response/<id> and the websockets' /link."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from slack_server_chat import Caller, Refused, post_ephemeral, post_message, rewrite
from slack_server_faults import Fault, Script
from slack_server_methods import OPEN_CONNECTION, check_app_token, perform
from slack_server_records import Call, Changes, Message
from slack_server_socket import SocketMode
from slack_server_world import BOT_ID, BOT_USER_ID, Workspace

RESPONSE = "response_url"
"""What the calls to a response_url, and faults for them, go by in place of a method."""
LINK = "link"
"""What the opening of a websocket goes by; of a fault its status, delay and cut count."""

MOST_RESPONSES = 5


class ResponseUrl:
    """Where one interaction may be answered, at most five times."""

    def __init__(self, user: str, channel: str, message: Message | None) -> None:
        self.user = user
        self.channel = channel
        self.message = message
        self.used = 0


class Front:
    """Answers requests; runs in the server's event loop only."""

    def __init__(
        self, workspace: Workspace, sockets: SocketMode, script: Script, changes: Changes
    ) -> None:
        self.calls: list[Call] = []
        self.response_urls: dict[str, ResponseUrl] = {}
        self.stopping = asyncio.Event()
        self.address = ""
        self.on_posted: Callable[[Message], None] = lambda message: None
        self._workspace = workspace
        self._sockets = sockets
        self._script = script
        self._changes = changes

    def application(self) -> web.Application:
        application = web.Application(client_max_size=16 * 2**20)
        application.router.add_route("*", "/api/{method}", self._api)
        application.router.add_post("/response/{id}", self._response)
        application.router.add_get("/link", self._link)
        application.router.add_get("/health", self._health)
        return application

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _api(self, request: web.Request) -> web.StreamResponse:
        arguments = await _arguments(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = token or str(arguments.pop("token", ""))
        call = self._record(request, request.match_info["method"], token or None, arguments)
        return await self._answer(request, call)

    async def _response(self, request: web.Request) -> web.StreamResponse:
        arguments = await _arguments(request) | {"id": request.match_info["id"]}
        return await self._answer(request, self._record(request, RESPONSE, None, arguments))

    async def _link(self, request: web.Request) -> web.StreamResponse:
        fault = self._script.take(LINK, "")
        await self._pause(fault.delay)
        if fault.cut:
            return _cut(request)
        if fault.status != 200:
            return web.Response(status=fault.status, headers=fault.headers)
        return await self._sockets.serve(request)

    def _record(
        self, request: web.Request, method: str, token: str | None, arguments: dict[str, Any]
    ) -> Call:
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(method, token, arguments, headers)
        self.calls.append(call)
        self._changes.happened()
        return call

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        outcome = "stopped"
        try:
            fault = self._script.take(call.method, str(call.arguments.get("channel", "")))
            await self._pause(fault.delay)
            if fault.cut == "before":
                outcome = "cut before"
                return _cut(request)
            answer, outcome = self._processed(call, fault)
            if fault.cut == "after":
                outcome = "cut after"
            # What was done shows at once, however late the answer is.
            self._done(call, outcome)
            await self._pause(fault.answer_delay)
            return _cut(request) if fault.cut else answer
        finally:
            self._done(call, outcome)

    def _done(self, call: Call, outcome: str) -> None:
        call.outcome = outcome
        self._changes.happened()

    def _processed(self, call: Call, fault: Fault) -> tuple[web.Response, str]:
        if fault.status != 200:
            body = {"ok": False, "error": fault.error}
            failed = web.json_response(body, status=fault.status, headers=fault.headers)
            return failed, f"http {fault.status}"
        try:
            if fault.error is not None:
                raise Refused(fault.error)
            answer = self._performed(call)
        except Refused as refusal:
            refused = {"ok": False, "error": refusal.error, **refusal.more}
            # Only the Web API says 200 to what it refuses.
            status = 200 if call.method != RESPONSE else 404
            return web.json_response(refused, status=status), refusal.error
        headers = {"X-OAuth-Scopes": "chat:write,im:history,users:read", **fault.headers}
        if fault.body is not None:
            garbage = web.Response(body=fault.body, content_type="application/json")
            return garbage, "ok"
        return web.json_response({"ok": True, **answer}, headers=headers), "ok"

    def _performed(self, call: Call) -> dict[str, Any]:
        if call.method == OPEN_CONNECTION:
            check_app_token(call.token)
            address = self.address.replace("http://", "ws://", 1)
            return {"url": f"{address}/link?ticket={self._sockets.new_ticket()}&app_id=test"}
        if call.method == RESPONSE:
            self._respond(call.arguments)
            return {}
        before = len(self._workspace.posted)
        answer = perform(self._workspace, call.method, call.token, call.arguments)
        for message in self._workspace.posted[before:]:
            self.on_posted(message)
        return answer

    def _respond(self, arguments: dict[str, Any]) -> None:
        """https://docs.slack.dev/interactivity/handling-user-interaction#message_responses"""
        if (place := self.response_urls.get(arguments["id"])) is None:
            raise Refused("expired_url")
        if place.used >= MOST_RESPONSES:
            raise Refused("used_url")
        place.used += 1
        if arguments.get("delete_original"):
            _original(place).deleted = True
        elif arguments.get("replace_original"):
            rewrite(self._workspace, _original(place), arguments)
        else:
            app = Caller(BOT_USER_ID, BOT_ID)
            written = {**arguments, "channel": place.channel, "user": place.user}
            in_channel = arguments.get("response_type") == "in_channel"
            (post_message if in_channel else post_ephemeral)(self._workspace, app, written)

    async def _pause(self, seconds: float) -> None:
        """So long, or until the server stops."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), seconds)


def _original(place: ResponseUrl) -> Message:
    if place.message is None or place.message.deleted:
        raise Refused("message_not_found")
    return place.message


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _arguments(request: web.Request) -> dict[str, Any]:
    """Of the query and of a body as a form or as JSON; what is JSON within a form is decoded."""
    arguments: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        body = await request.text()
        with contextlib.suppress(ValueError):
            arguments |= json.loads(body) if body else {}
    else:
        arguments |= dict(await request.post())
    for name in ("attachments", "blocks", "metadata", "view"):
        if isinstance(value := arguments.get(name), str):
            with contextlib.suppress(ValueError):
                arguments[name] = json.loads(value)
    return arguments
