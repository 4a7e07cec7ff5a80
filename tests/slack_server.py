"""A local server that speaks Slack's Web API and Socket Mode over real sockets, faults included.

In a test::

    async with SlackServer() as slack:
        client = AsyncWebClient(BOT_TOKEN, base_url=slack.api_url)
        slack.script("chat.postMessage", Fault.cut_after())
        ...
        await slack.wait_for_connections(1)
        envelope_id = slack.send_event(direct_message(SATO, "ヘルプ"))
        (answer,) = await slack.wait_for_messages(1)
        await slack.wait_for_ack(envelope_id)

or as a program: ``python tests/slack_server.py --port 8090``; with ``--chat``, what is
typed are direct messages to the connected app, and what it posts is printed.

It runs in a thread of its own, with an event loop of its own: it goes on while the app
under test is busy, and plain tests can use it as well. Every method that waits for
something is there as a coroutine and, with ``_sync`` at its end, as a plain function;
nothing else waits. When time runs out they raise TimeoutError and say what was there.
"""

import argparse
import asyncio
import sys
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from slack_server_delivery import Delivering
from slack_server_events import (
    app_mention,
    bot_message,
    button_click,
    channel_message,
    direct_message,
    event_callback,
    global_shortcut,
    message_changed,
    message_deleted,
    message_shortcut,
    new_event_id,
    own_message,
    slash_command,
    url_verification,
    view_submission,
)
from slack_server_faults import Fault, Script
from slack_server_http import LINK, RESPONSE, Front
from slack_server_records import Ack, Call, Changes, Envelope, Message
from slack_server_requests import Reply, signed_request
from slack_server_socket import Connection, SocketMode
from slack_server_waiting import Waiting
from slack_server_world import (
    APP_ID,
    APP_TOKEN,
    ARCHIVED,
    BOT_ID,
    BOT_TOKEN,
    BOT_USER_ID,
    ELSEWHERE,
    EMMA,
    GENERAL,
    LEFT_THE_TEAM,
    NOBODY,
    NOWHERE,
    SATO,
    SIGNING_SECRET,
    SUZUKI,
    TANAKA,
    TEAM_ID,
    TOKEN_USER_ID,
    USER_TOKEN,
    Workspace,
    dm,
    next_ts,
)

__all__ = [
    "APP_ID",
    "APP_TOKEN",
    "ARCHIVED",
    "BOT_ID",
    "BOT_TOKEN",
    "BOT_USER_ID",
    "ELSEWHERE",
    "EMMA",
    "GENERAL",
    "LEFT_THE_TEAM",
    "LINK",
    "NOBODY",
    "NOWHERE",
    "RESPONSE",
    "SATO",
    "SIGNING_SECRET",
    "SUZUKI",
    "TANAKA",
    "TEAM_ID",
    "TOKEN_USER_ID",
    "USER_TOKEN",
    "Ack",
    "Call",
    "Connection",
    "Envelope",
    "Fault",
    "Message",
    "Reply",
    "SlackServer",
    "app_mention",
    "bot_message",
    "button_click",
    "channel_message",
    "direct_message",
    "dm",
    "event_callback",
    "global_shortcut",
    "message_changed",
    "message_deleted",
    "message_shortcut",
    "new_event_id",
    "next_ts",
    "own_message",
    "signed_request",
    "slash_command",
    "url_verification",
    "view_submission",
]


class SlackServer(Delivering, Waiting):
    """The server, on a port of the loopback interface; an async (and a plain) context manager.

    ``calls`` are the requests that came, in order; ``messages`` what the app posted (also
    what it deleted since), ``ephemerals`` what only one user saw, ``views`` what it opened
    or published. ``acks`` and ``envelopes`` tell what went over Socket Mode. With ``echoes``
    the app gets an event of each message that it posts, as Slack sends it. Events are
    authorized for ``authorized_user``: the bot, or TOKEN_USER_ID where the app uses USER_TOKEN.
    """

    def __init__(
        self,
        *,
        echoes: bool = False,
        authorized_user: str = BOT_USER_ID,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.echoes = echoes
        self.authorized_user = authorized_user
        self.changes = Changes()
        self.workspace = Workspace()
        self.sockets = SocketMode(self.changes)
        self._faults = Script()
        self._front = Front(self.workspace, self.sockets, self._faults, self.changes)
        self._front.on_posted = self._posted
        self.calls = self._front.calls
        self._where = (host, port)
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="slack-server", daemon=True)

    @property
    def url(self) -> str:
        """``http://host:port``"""
        return self._front.address

    @property
    def api_url(self) -> str:
        """The ``base_url`` of a Slack client."""
        return f"{self.url}/api/"

    @property
    def messages(self) -> list[Message]:
        return self.workspace.posted

    @property
    def ephemerals(self) -> list[Message]:
        return self.workspace.ephemerals

    @property
    def views(self) -> list[dict[str, Any]]:
        return self.workspace.views

    @property
    def connections(self) -> list[Connection]:
        """The open ones, in the order they were opened."""
        return self.sockets.connections

    @property
    def acks(self) -> list[Ack]:
        return self.sockets.acks

    @property
    def envelopes(self) -> list[Envelope]:
        return self.sockets.envelopes

    @property
    def unacked(self) -> list[Envelope]:
        return self.sockets.unacked

    def script(self, method: str, *faults: Fault) -> None:
        """Give each of a method's next requests one of these faults, in order.

        ``RESPONSE`` stands for the response_urls, ``LINK`` for the opening of a websocket.
        """
        self._faults.add(method, *faults)

    def always(self, method: str, fault: Fault | None) -> None:
        """Give a fault to all of a method's requests for which none is scripted; None ends that."""
        self._faults.always(method, fault)

    def rate_limit(self, method: str, per_second: float | None) -> None:
        """Let so many of a method's requests pass in a second, for each channel; None ends that."""
        self._faults.limit(method, per_second)

    def ignore_acks(self, ignored: bool = True) -> None:
        """Record acks, but hold their envelopes unacked, as when acks come too late."""
        self.sockets.ignores_acks = ignored

    def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Ends open connections and requests at once, whatever their clients do."""
        self._loop.call_soon_threadsafe(self._front.stopping.set)
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  (whoever starts the server gets it)
            if not self._started.done():
                self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        runner = web.AppRunner(self._front.application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, *self._where)
            await site.start()
            host, port = runner.addresses[0][:2]
            self._front.address = f"http://{host}:{port}"
            self._started.set_result(None)
            await self._front.stopping.wait()
            for connection in self.sockets.connections:
                connection.abort()
        finally:
            await runner.cleanup()

    def _posted(self, message: Message) -> None:
        if self.echoes and self.connections:
            self.send_event(own_message(message))


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve Slack's protocols for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--echoes", action="store_true", help="send the app its own messages")
    parser.add_argument("--chat", action="store_true", help="send each line typed to the app")
    options = parser.parse_args()
    with SlackServer(host=options.host, port=options.port, echoes=options.echoes) as server:
        print(f"{server.api_url} {BOT_TOKEN} {APP_TOKEN}", flush=True)
        try:
            if options.chat:
                _chat(server)
            else:
                threading.Event().wait()
        except KeyboardInterrupt:
            return


def _chat(server: SlackServer) -> None:
    """Lines of standard input go to the app as one person's direct messages."""
    server.wait_for_connections_sync(1, timeout=threading.TIMEOUT_MAX)
    for line in sys.stdin:
        before = len(server.messages)
        server.send_event(direct_message(SATO, line.rstrip("\n")))
        try:
            answers = server.wait_for_messages_sync(before + 1, timeout=30)
        except TimeoutError:
            print("(no answer)", flush=True)
            continue
        for message in answers[before:]:
            print(message.words, flush=True)


if __name__ == "__main__":
    main()
