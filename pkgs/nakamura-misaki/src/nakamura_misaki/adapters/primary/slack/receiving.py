"""Receiving: what came is stored before Slack is told that it arrived.

This stands in bolt's list of middleware right behind the check of the signature
and answers everything itself. If what came can't be stored, it is not
acknowledged: an event Slack sends again
(https://docs.slack.dev/apis/events-api/#retries), of a command, a button or a
shortcut it tells the user that it failed. What is known is acknowledged and
nothing else.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from nakamura_misaki.adapters.primary.slack.delivery import Delivery, SlackUnavailable
from nakamura_misaki.adapters.primary.slack.incoming import (
    Ignored,
    Incoming,
    read_incoming,
    to_body,
)
from nakamura_misaki.adapters.primary.slack.work import OnEvent, Worker
from nakamura_misaki.application.inbox import Event, EventInbox
from nakamura_misaki.domain.errors import ConfigurationError, NakamuraMisakiError
from nakamura_misaki.infrastructure.di import new_id

_logger = logging.getLogger(__name__)

_HELD = "nakamura_misaki_held"
_QUIET = frozenset({Ignored.OWN, Ignored.BOT, Ignored.NOT_A_MESSAGE, Ignored.NOT_ADDRESSED})


class Receiver:
    """bolt's middleware, and what begins the work once the acknowledgement is on its way."""

    def __init__(
        self,
        inbox: EventInbox,
        delivery: Delivery,
        worker: Worker,
        *,
        clock: Callable[[], datetime],
        on_event: OnEvent,
    ) -> None:
        self._inbox = inbox
        self._delivery = delivery
        self._worker = worker
        self._clock = clock
        self._on_event = on_event
        self._is_open = True

    def close(self) -> None:
        """Acknowledge nothing any more: Slack sends it to another process, or again later."""
        self._is_open = False

    async def receive(
        self,
        req: AsyncBoltRequest,
        next: Callable[[], Awaitable[BoltResponse]],  # noqa: A002  (bolt's name for it)
    ) -> BoltResponse:
        """Store what came and acknowledge it: 200; 503 if it can't be stored now."""
        if req.body.get("type") == "url_verification":
            return await next()
        if not self._is_open:
            return _refused()
        try:
            identity = await self._delivery.identity()
        except (SlackUnavailable, ConfigurationError) as error:
            _logger.warning("an event can't be received: %s", error)
            return _refused()
        incoming = read_incoming(req.body, identity)
        if isinstance(incoming, Ignored):
            level = logging.DEBUG if incoming in _QUIET else logging.WARNING
            _logger.log(level, "a request of Slack's was ignored: %s", incoming)
            self._on_event("other", str(incoming))
            return _acknowledged()
        event = Event(incoming.key, to_body(incoming), new_id(), self._clock())
        try:
            is_new = await self._inbox.receive(event)
        except NakamuraMisakiError as error:
            _logger.warning("%s can't be stored, so it is not acknowledged: %s", event.id, error)
            self._on_event(incoming.kind, "refused")
            return _refused()
        if is_new:
            req.context[_HELD] = (event, incoming)
        else:
            self._on_event(incoming.kind, "duplicate")
        return _acknowledged()

    def begin(self, req: AsyncBoltRequest) -> None:
        """Begin the work on what ``receive`` stored of this request, if it did."""
        held: tuple[Event, Incoming] | None = req.context.get(_HELD)
        if held is not None:
            self._worker.begin(*held)


def _acknowledged() -> BoltResponse:
    return BoltResponse(status=200, body="")


def _refused() -> BoltResponse:
    return BoltResponse(status=503, body="", headers={"retry-after": ["5"]})
