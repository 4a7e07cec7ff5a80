"""How a test waits for what an app does to ``slack_server``: each wait as a coroutine and plain.

Nothing is polled: the server wakes who waits when something was recorded. When time
runs out the waits raise TimeoutError, which tells what the server had seen by then.
"""

from collections.abc import Callable
from typing import TypeVar

from slack_server_records import Ack, Call, Changes, Message
from slack_server_socket import Connection, SocketMode
from slack_server_world import Workspace, dm

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a wait lasts at most, unless told otherwise."""


class Waiting:
    """The waits; ``timeout`` is in seconds."""

    workspace: Workspace
    sockets: SocketMode
    changes: Changes
    calls: list[Call]

    async def wait_for(
        self,
        wanted: str | Callable[[Call], bool],
        count: int = 1,
        timeout: float = PATIENCE,
    ) -> list[Call]:
        """The calls of a method, or those a predicate picks, when so many were dealt with."""
        return await self._wait(self._calls(wanted, count), timeout)

    def wait_for_sync(
        self, wanted: str | Callable[[Call], bool], count: int = 1, timeout: float = PATIENCE
    ) -> list[Call]:
        return self._wait_sync(self._calls(wanted, count), timeout)

    async def wait_for_messages(
        self,
        count: int = 1,
        channel: str | None = None,
        timeout: float = PATIENCE,
    ) -> list[Message]:
        """What the app posted, in order, when that is so many messages or more."""
        return await self._wait(self._messages(count, channel), timeout)

    def wait_for_messages_sync(
        self, count: int = 1, channel: str | None = None, timeout: float = PATIENCE
    ) -> list[Message]:
        return self._wait_sync(self._messages(count, channel), timeout)

    async def wait_for_ack(self, envelope_id: str, timeout: float = PATIENCE) -> Ack:
        """The first ack of an envelope."""
        return await self._wait(self._ack(envelope_id), timeout)

    def wait_for_ack_sync(self, envelope_id: str, timeout: float = PATIENCE) -> Ack:
        return self._wait_sync(self._ack(envelope_id), timeout)

    async def wait_for_connections(
        self,
        count: int = 1,
        timeout: float = PATIENCE,
    ) -> list[Connection]:
        """The open connections of Socket Mode, when there are exactly so many."""
        return await self._wait(self._connections(count), timeout)

    def wait_for_connections_sync(
        self, count: int = 1, timeout: float = PATIENCE
    ) -> list[Connection]:
        return self._wait_sync(self._connections(count), timeout)

    async def wait_until(self, holds: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Until a condition on what the server recorded holds; it is asked again at every record."""
        await self._wait(lambda: holds() or None, timeout)

    def wait_until_sync(self, holds: Callable[[], bool], timeout: float = PATIENCE) -> None:
        self._wait_sync(lambda: holds() or None, timeout)

    def messages_in(self, channel: str) -> list[Message]:
        """What the app posted in a channel, in order; a user's id means the direct messages."""
        where = dm(channel) if channel in self.workspace.users else channel
        return [message for message in self.workspace.posted if message.channel == where]

    async def _wait(self, find: Callable[[], T | None], timeout: float) -> T:
        await self.changes.wait_async(lambda: find() is not None, timeout)
        return self._found(find, timeout)

    def _wait_sync(self, find: Callable[[], T | None], timeout: float) -> T:
        self.changes.wait(lambda: find() is not None, timeout)
        return self._found(find, timeout)

    def _found(self, find: Callable[[], T | None], timeout: float) -> T:
        if (found := find()) is None:
            raise TimeoutError(f"waited {timeout} s for what did not come; {self._seen()}")
        return found

    def _seen(self) -> str:
        calls = ", ".join(f"{call.method} ({call.outcome})" for call in self.calls[-20:])
        return (
            f"{len(self.sockets.connections)} connections are open, "
            f"{len(self.sockets.acks)} of {len(self.sockets.envelopes)} envelopes were acked, "
            f"{len(self.workspace.posted)} messages were posted; the last calls: {calls or 'none'}"
        )

    def _calls(
        self, wanted: str | Callable[[Call], bool], count: int
    ) -> Callable[[], list[Call] | None]:
        def find() -> list[Call] | None:
            found = [
                call
                for call in self.calls
                if call.outcome is not None
                and (call.method == wanted if isinstance(wanted, str) else wanted(call))
            ]
            return found if len(found) >= count else None

        return find

    def _messages(self, count: int, channel: str | None) -> Callable[[], list[Message] | None]:
        def find() -> list[Message] | None:
            posted = self.workspace.posted
            found = list(posted) if channel is None else self.messages_in(channel)
            return found if len(found) >= count else None

        return find

    def _ack(self, envelope_id: str) -> Callable[[], Ack | None]:
        return lambda: next((a for a in self.sockets.acks if a.envelope_id == envelope_id), None)

    def _connections(self, count: int) -> Callable[[], list[Connection] | None]:
        def find() -> list[Connection] | None:
            found = self.sockets.connections
            return found if len(found) == count else None

        return find
