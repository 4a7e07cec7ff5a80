"""What a start waits for: the storage for a bounded time, Slack for a moment."""

import asyncio
import logging
import time
from importlib import import_module
from typing import TYPE_CHECKING

from nakamura_misaki.adapters.primary.readiness import require_storage
from nakamura_misaki.domain.errors import StorageUnavailable
from nakamura_misaki.infrastructure.di import App
from nakamura_misaki.infrastructure.settings import Settings
from nakamura_misaki.infrastructure.systemd import ServiceManager

if TYPE_CHECKING:
    from nakamura_misaki.adapters.primary.slack.assistant import SlackAssistant

logger = logging.getLogger(__name__)

ATTEMPT_MAY_TAKE = 5.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0
SAID_EVERY = 5.0

SLACK_MAY_TAKE = 5.0
"""Seconds that a start waits for Slack to say who the token stands for; then it goes on."""


async def warm_up(settings: Settings) -> None:
    """Import now what the first question would otherwise wait for, about a second."""
    if settings.effective_embedding_provider == "openai":
        await asyncio.to_thread(import_module, "openai")


async def wait_for_storage(app: App, systemd: ServiceManager) -> None:
    """Return once the service can work on its storage.

    Raises StorageUnavailable if that takes longer than ``startup_timeout``, and what
    ``require_storage`` raises at once where waiting would not help.
    """
    began = time.monotonic()
    allowed = app.settings.startup_timeout
    what, advice = "the database", ": check DATABASE_URL, and that the server runs."
    if app.manager is None:
        what, advice = "the JSON files", "."
    pause, said_at = FIRST_PAUSE, -SAID_EVERY
    while True:
        left = allowed - (time.monotonic() - began)
        try:
            async with asyncio.timeout(max(FIRST_PAUSE, min(ATTEMPT_MAY_TAKE, left))):
                await require_storage(app)
                return
        except StorageUnavailable as error:
            reason = str(error)
        except TimeoutError:
            reason = "The database gives no answer."
        waited = time.monotonic() - began
        if waited + pause >= allowed:
            raise StorageUnavailable(f"{reason} The service waited {allowed:g} s for it{advice}")
        systemd.starts_longer(allowed - waited + ATTEMPT_MAY_TAKE)
        if waited - said_at >= SAID_EVERY:
            said_at = waited
            systemd.status(f"waiting for {what}")
            logger.warning(
                "waiting for %s, for %.0f s more at most: %s", what, allowed - waited, reason
            )
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def start_assistant(assistant: "SlackAssistant") -> "asyncio.Task[None]":
    """Connect to Slack; what connects goes on in the task when Slack is slow to answer.

    The assistant itself keeps trying to reach a Slack that is away. Raises
    ConfigurationError if Slack refuses the tokens.
    """
    connecting = asyncio.create_task(assistant.start())
    try:
        done, _ = await asyncio.wait((connecting,), timeout=SLACK_MAY_TAKE)
    except asyncio.CancelledError:
        connecting.cancel()
        raise
    if done:
        connecting.result()
    else:
        logger.warning("Slack is slow to answer; the service starts without waiting for it")
        connecting.add_done_callback(_tell_of_failure)
    return connecting


def _tell_of_failure(connecting: "asyncio.Task[None]") -> None:
    if not connecting.cancelled() and (error := connecting.exception()) is not None:
        logger.error("the service goes on without Slack: %s", error)
