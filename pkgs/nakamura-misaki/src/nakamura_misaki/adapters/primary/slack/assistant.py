"""The assistant in Slack: composed, started and stopped."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import SecretStr
from slack_bolt.async_app import AsyncApp

from nakamura_misaki.adapters.primary.slack.answers import Answers
from nakamura_misaki.adapters.primary.slack.clicking import Clicking
from nakamura_misaki.adapters.primary.slack.conversation import Conversation, words_of
from nakamura_misaki.adapters.primary.slack.delivery import Delivery, SlackUnavailable
from nakamura_misaki.adapters.primary.slack.events_route import events_router
from nakamura_misaki.adapters.primary.slack.incoming import Click, HomeOpened, Incoming, Message
from nakamura_misaki.adapters.primary.slack.intents import Span
from nakamura_misaki.adapters.primary.slack.receiving import Receiver
from nakamura_misaki.adapters.primary.slack.sdk_logging import SDK_LOGGER
from nakamura_misaki.adapters.primary.slack.socket_link import SocketLink
from nakamura_misaki.adapters.primary.slack.work import OnEvent, Worker
from nakamura_misaki.application.inbox import Event
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.rules import utc_now

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di import App

_logger = logging.getLogger(__name__)

PING_INTERVAL = 10.0


class SlackAssistant:
    """Takes what Slack sends, over Socket Mode or the Events API, and answers it.

    ``router`` holds the route of the Events API, and none in Socket Mode.
    ``on_event`` hears each event's kind (``message``, ``command``, ``action``,
    ``shortcut``, ``home``, ``other``) and outcome: ``answered``, ``failed``,
    ``postponed``, ``given_up``; ``duplicate``, ``refused`` (not stored, so Slack
    sends it again); or, of what is not answered, why (``Ignored``). Raises
    ConfigurationError for a missing setting.
    """

    router: APIRouter

    def __init__(
        self,
        app: "App",
        *,
        clock: Callable[[], datetime] = utc_now,
        on_event: OnEvent | None = None,
        ping_interval: float = PING_INTERVAL,
    ) -> None:
        settings = app.settings
        mode = settings.effective_slack_mode
        if mode == "off":
            raise ConfigurationError(
                "Slack is off; set SLACK_BOT_TOKEN, and SLACK_APP_TOKEN or SLACK_SIGNING_SECRET."
            )
        token = _needed(settings.slack_bot_token, "SLACK_BOT_TOKEN", mode)
        heard = on_event or (lambda kind, outcome: None)
        self._delivery = Delivery(token, f"{settings.slack_api_url}/")
        self._conversation = Conversation(app)
        self._clicking = Clicking(app.own, self._conversation)
        self._worker = Worker(app.own.inbox, self._work, heard)
        self._receiver = Receiver(
            app.own.inbox, self._delivery, self._worker, clock=clock, on_event=heard
        )
        secret = settings.slack_signing_secret
        # Standing right behind the check of the signature, the receiver answers all but
        # the challenge; bolt's own listeners, which forget what they heard, have nothing to do.
        bolt = AsyncApp(
            name="nakamura-misaki",
            token=token,
            signing_secret="" if secret is None else secret.get_secret_value(),
            before_authorize=self._receiver.receive,
            logger=SDK_LOGGER,
        )
        self._link: SocketLink | None = None
        if mode == "socket":
            app_token = _needed(settings.slack_app_token, "SLACK_APP_TOKEN", mode)
            self._link = SocketLink(
                bolt, self._delivery.client, self._receiver, app_token, ping_interval
            )
            self.router = APIRouter()
        else:
            # An empty secret would let anybody sign.
            _needed(secret, "SLACK_SIGNING_SECRET", mode)
            self.router = events_router(bolt, self._receiver, settings.api_max_body_bytes)

    async def start(self) -> None:
        """Learn who the token stands for, take up what was left, and connect in Socket Mode.

        Where Slack can't be reached, that is tried again later. Raises
        ConfigurationError if Slack does not take a token.
        """
        await self._delivery.open()
        try:
            try:
                identity = await self._delivery.identity()
                _logger.info("Slack: team %s, user %s", identity.team_id, identity.user_id)
            except SlackUnavailable as error:
                _logger.warning("%s Trying again when something comes.", error)
            self._worker.start()
            if self._link is not None:
                await self._link.start()
        except BaseException:
            await self.stop(0)
            raise

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109  (what is over then is given back)
        """Take no more, finish what is under way within ``timeout`` seconds, close every connection.

        What takes longer is given back to the inbox, for another process.
        """
        self._receiver.close()
        try:
            if self._link is not None:
                await self._link.stop()
            await self._worker.stop(timeout)
        finally:
            await self._delivery.close()

    async def _work(self, event: Event, incoming: Incoming) -> None:
        match incoming:
            case Message():
                await self._answer_message(event, incoming)
            case Click():
                await self._press(event, incoming)
            case HomeOpened():
                await self._show_home(incoming.user, event.received_at)
            case _:
                identity = await self._delivery.identity()
                answer = await self._conversation.answer(event, incoming, identity.user_id)
                await self._delivery.respond(incoming.response_url, answer, replaces=False)

    async def _answer_message(self, event: Event, message: Message) -> None:
        # In a channel the answer goes into a thread, so that it is in nobody's way.
        thread_ts = message.thread_ts or (None if message.is_direct else message.ts)
        if event.attempt > 1 and await self._delivery.has_answer(
            message.channel, key=event.id, since=message.ts, thread_ts=thread_ts
        ):
            return
        identity = await self._delivery.identity()
        answer = await self._conversation.answer(event, message, identity.user_id)
        await self._delivery.post(
            message.channel, answer, key=event.id, since=message.ts, thread_ts=thread_ts
        )

    async def _press(self, event: Event, click: Click) -> None:
        pressed = await self._clicking.press(event, click)
        if pressed is None:
            _logger.warning("a button %s was pressed that is not known here", click.action)
        elif click.response_url:
            await self._delivery.respond(
                click.response_url, pressed.answer, replaces=pressed.replaces
            )
        else:  # it stands in the Home tab
            await self._show_home(click.user, event.received_at)

    async def _show_home(self, user: str, at: datetime) -> None:
        now = at.astimezone(self._conversation.zone)
        answers = Answers(words_of("ja"), now)
        tasks = await self._conversation.tasks_of(user, now, Span.TODAY)
        listed = answers.tasks(tasks, user, Span.TODAY)
        await self._delivery.publish_home(user, [*listed.blocks, *answers.help().blocks])


def _needed(secret: SecretStr | None, name: str, mode: str) -> str:
    if secret is None:
        raise ConfigurationError(f"SLACK_MODE={mode} needs {name}.")
    return secret.get_secret_value()
