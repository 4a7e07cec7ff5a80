"""Socket Mode: the connections of an app, the envelopes sent over them and their acks."""

import asyncio
import contextlib
import itertools
import json
import secrets
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal

from aiohttp import WSCloseCode, WSMsgType, web

from slack_server_records import Ack, Changes, Envelope
from slack_server_world import APP_ID

MOST_CONNECTIONS = 10
DisconnectReason = Literal["warning", "refresh_requested", "link_disabled", "too_many_websockets"]


class Connection:
    """One websocket of an app; everything public may be called from any thread.

    What is given to it is sent in order, and nobody waits for it: a client that reads
    slowly holds no test up.
    """

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop, request: web.Request) -> None:
        self.number = number
        self.is_open = True
        self.pongs: list[bytes] = []
        self._loop = loop
        self._request = request
        self._outbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def send(self, message: dict[str, Any]) -> None:
        self._put("text", json.dumps(message, ensure_ascii=False))

    def send_text(self, text: str) -> None:
        """Something that need not be JSON."""
        self._put("text", text)

    def ping(self, data: bytes = b"") -> None:
        """``pongs`` gets the answer."""
        self._put("ping", data)

    def disconnect(
        self, reason: DisconnectReason = "refresh_requested", *, closes: bool = False
    ) -> None:
        """Ask the app to connect anew, and with ``closes`` close this connection at once."""
        host = {"host": "applink-test"}
        self.send({"type": "disconnect", "reason": reason, "debug_info": host})
        if closes:
            self._put("close", None)

    def close(self) -> None:
        """End it properly."""
        self._put("close", None)

    def cut(self) -> None:
        """End it without a word, as a network does."""
        self._put("cut", None)

    def _put(self, kind: str, what: Any) -> None:
        self._loop.call_soon_threadsafe(self._outbox.put_nowait, (kind, what))

    def abort(self) -> None:
        """In the server's own loop only."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def write(self, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                kind, what = await self._outbox.get()
                if kind == "text":
                    await socket.send_str(what)
                elif kind == "ping":
                    await socket.ping(what)
                elif kind == "close":
                    await socket.close(code=WSCloseCode.OK)
                else:
                    self.abort()


class SocketMode:
    """All connections, envelopes and acks of a server."""

    def __init__(self, changes: Changes) -> None:
        self.acks: list[Ack] = []
        self.envelopes: list[Envelope] = []
        self.opened: list[Connection] = []
        self.ignores_acks = False
        self._changes = changes
        self._tickets: set[str] = set()
        self._numbers = itertools.count(1)
        self._turn = itertools.count()
        self._held: list[Envelope] | None = None

    @property
    def connections(self) -> list[Connection]:
        return [connection for connection in self.opened if connection.is_open]

    def new_ticket(self) -> str:
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection from its handshake to its end."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403, text="invalid_ticket")
        self._tickets.discard(ticket)
        loop = asyncio.get_running_loop()
        connection = Connection(next(self._numbers), loop, request)
        if len(self.connections) >= MOST_CONNECTIONS:
            connection.disconnect("too_many_websockets", closes=True)
        else:
            connection.send(_hello(len(self.connections) + 1))
        # Known before the client can be: whoever has connected can be sent an event.
        self.opened.append(connection)
        socket = web.WebSocketResponse(autoping=False)
        try:
            await socket.prepare(request)
            self._changes.happened()
            writer = asyncio.create_task(connection.write(socket))
            try:
                await self._read(connection, socket)
            finally:
                writer.cancel()
        finally:
            connection.is_open = False
            self._changes.happened()
        return socket

    async def _read(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                connection.pongs.append(bytes(message.data))
            elif message.type is WSMsgType.TEXT:
                told = json.loads(message.data)
                counted = not self.ignores_acks
                ack = Ack(told["envelope_id"], told.get("payload"), connection.number, counted)
                self.acks.append(ack)
            self._changes.happened()

    def send(
        self,
        kind: str,
        payload: dict[str, Any],
        connection: Connection | None,
        retry: tuple[int, str] | None = None,
    ) -> str:
        """Send an envelope, over the connections in turn unless one is named; its id."""
        connection = connection or self._next_connection()
        number, reason = retry or (0, "")
        envelope = Envelope(str(uuid.uuid4()), kind, payload, connection.number, number, reason)
        self.envelopes.append(envelope)
        if self._held is None:
            self._deliver(envelope)
        else:
            self._held.append(envelope)
        return envelope.envelope_id

    def hold(self) -> None:
        """Keep what is sent from now on back until ``release``."""
        self._held = [] if self._held is None else self._held

    def release(self, order: Callable[[list[Envelope]], Sequence[Envelope]]) -> None:
        held, self._held = self._held or [], None
        for envelope in order(held):
            self._deliver(envelope)

    def redeliver(self, envelope_id: str, reason: str, connection: Connection | None) -> str:
        """Send what was in an envelope again, in a new one, as the next attempt."""
        sent = next(e for e in self.envelopes if e.envelope_id == envelope_id)
        retry = (sent.retry_attempt + 1, reason)
        return self.send(sent.type, sent.payload, connection, retry)

    @property
    def unacked(self) -> list[Envelope]:
        acked = {ack.envelope_id for ack in self.acks if ack.counted}
        return [envelope for envelope in self.envelopes if envelope.envelope_id not in acked]

    def _next_connection(self) -> Connection:
        if not (open_now := self.connections):
            raise ConnectionError("no app is connected: wait_for_connections first")
        return open_now[next(self._turn) % len(open_now)]

    def _deliver(self, envelope: Envelope) -> None:
        connection = self.opened[envelope.connection - 1]
        message: dict[str, Any] = {
            "envelope_id": envelope.envelope_id,
            "type": envelope.type,
            "accepts_response_payload": envelope.type != "events_api",
            "payload": envelope.payload,
        }
        if envelope.type == "events_api":
            message["retry_attempt"] = envelope.retry_attempt
            message["retry_reason"] = envelope.retry_reason
        connection.send(message)


def _hello(number: int) -> dict[str, Any]:
    return {
        "type": "hello",
        "connection_info": {"app_id": APP_ID},
        "num_connections": number,
        "debug_info": {
            "host": "applink-test",
            "build_number": 1,
            "approximate_connection_time": 18_060,
        },
    }
