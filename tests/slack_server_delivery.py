"""What ``slack_server`` sends to an app: over Socket Mode, or as requests to its address."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slack_server_events import event_callback, url_verification
from slack_server_http import Front, ResponseUrl
from slack_server_records import Envelope
from slack_server_requests import Reply, command_form, interaction_form, post, signed_request
from slack_server_socket import Connection, SocketMode
from slack_server_world import Workspace


class Delivering:
    """Sending over Socket Mode waits for nothing; posting waits for the app's answer."""

    workspace: Workspace
    sockets: SocketMode
    _front: Front
    authorized_user: str

    def send_event(
        self,
        event: Mapping[str, Any],
        *,
        event_id: str | None = None,
        connection: Connection | None = None,
        retry_attempt: int = 0,
        retry_reason: str = "",
    ) -> str:
        """Send an event over Socket Mode and return the envelope's id.

        Over each open connection in turn, unless one is named. Raises ConnectionError
        when none is open.
        """
        retry = (retry_attempt, retry_reason)
        return self.sockets.send("events_api", self.callback(event, event_id), connection, retry)

    def send_event_to_all(
        self, event: Mapping[str, Any], *, event_id: str | None = None
    ) -> list[str]:
        """Send one event, with one event_id, over every open connection."""
        payload = self.callback(event, event_id)
        return [
            self.sockets.send("events_api", payload, connection)
            for connection in self.sockets.connections
        ]

    def send_interaction(
        self, payload: Mapping[str, Any], *, connection: Connection | None = None
    ) -> str:
        return self.sockets.send("interactive", self.prepared(payload), connection)

    def send_slash_command(
        self, command: Mapping[str, Any], *, connection: Connection | None = None
    ) -> str:
        return self.sockets.send("slash_commands", self.prepared(command), connection)

    def redeliver(
        self, envelope_id: str, *, reason: str = "timeout", connection: Connection | None = None
    ) -> str:
        """Send an envelope's payload again as the next attempt; the new envelope's id."""
        return self.sockets.redeliver(envelope_id, reason, connection)

    def hold(self) -> None:
        """Keep what is sent over Socket Mode from now on back until ``release``."""
        self.sockets.hold()

    def release(
        self,
        order: Callable[[list[Envelope]], Sequence[Envelope]] = lambda held: held,
    ) -> None:
        """Send what was held back, in the order that a function makes of it."""
        self.sockets.release(order)

    def callback(self, event: Mapping[str, Any], event_id: str | None = None) -> dict[str, Any]:
        """The body that an event comes in; what it tells then stands in the channel's history."""
        self.workspace.heard(dict(event))
        return event_callback(dict(event), event_id, authorized_user=self.authorized_user)

    def prepared(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """An interaction or a command with a trigger_id and a response_url that work."""
        prepared = dict(payload)
        if prepared.get("trigger_id") == "":
            prepared["trigger_id"] = self.workspace.new_id("trigger.")
            self.workspace.triggers[prepared["trigger_id"]] = False
        if prepared.get("response_url") == "":
            place_id = self.workspace.new_id("R")
            prepared["response_url"] = f"{self._front.address}/response/{place_id}"
            self._front.response_urls[place_id] = self._response_place(prepared)
        return prepared

    signed_request = staticmethod(signed_request)
    post = staticmethod(post)

    async def post_event(
        self,
        url: str,
        event: Mapping[str, Any],
        *,
        event_id: str | None = None,
        timestamp: int | None = None,
        secret: str | None = None,
        retry_num: int | None = None,
        retry_reason: str | None = None,
    ) -> Reply:
        """Post an event to an app's address. Raises TimeoutError after the 3 s that Slack waits."""
        headers, body = signed_request(
            self.callback(event, event_id),
            timestamp=timestamp,
            secret=secret,
            retry_num=retry_num,
            retry_reason=retry_reason,
        )
        return await post(url, headers, body)

    async def post_challenge(self, url: str, challenge: str = "challenge-of-the-test") -> Reply:
        """Ask an address whether it is the app's, as Slack does when it is entered."""
        return await post(url, *signed_request(url_verification(challenge)))

    async def post_interaction(self, url: str, payload: Mapping[str, Any]) -> Reply:
        return await post(url, *signed_request(interaction_form(self.prepared(payload))))

    async def post_slash_command(self, url: str, command: Mapping[str, Any]) -> Reply:
        return await post(url, *signed_request(command_form(self.prepared(command))))

    def _response_place(self, payload: Mapping[str, Any]) -> ResponseUrl:
        user = payload["user"]["id"] if "user" in payload else payload["user_id"]
        channel = payload["channel"]["id"] if "channel" in payload else payload["channel_id"]
        ts = payload.get("message", {}).get("ts", "")
        found = self.workspace.find(channel, ts) or next(
            (message for message in self.workspace.ephemerals if message.ts == ts), None
        )
        return ResponseUrl(user, channel, found)
