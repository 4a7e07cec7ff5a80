"""What timers run elsewhere, run inside the service: ``serve --with-jobs``."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from nakamura_misaki.application.notes import embed_all_pending
from nakamura_misaki.application.reminders import Notifier, OnReminder
from nakamura_misaki.domain.errors import NakamuraMisakiError
from nakamura_misaki.infrastructure.di import App
from nakamura_misaki.infrastructure.di.jobs import build_housekeeping, build_reminders

logger = logging.getLogger(__name__)

JITTER = 0.1
"""By which part of its interval a job comes earlier, at most: processes begun together drift apart."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a job rests after each run."""

    remind: timedelta = timedelta(seconds=30)
    embed_pending: timedelta = timedelta(minutes=5)
    prune: timedelta = timedelta(days=1)


class Jobs:
    """Reminders, missing vectors and housekeeping, each in a loop of its own.

    A run that fails is logged, once until it ends otherwise, and the loop goes
    on; no two runs of one job overlap. Other processes may run the same jobs at
    the same time. Without a ``notifier`` nobody is reminded. Closing it is up to
    whoever made it.
    """

    def __init__(
        self,
        app: App,
        notifier: Notifier | None,
        *,
        on_reminder: OnReminder | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self._app = app
        self._schedule = schedule or Schedule()
        self._reminders = None
        if notifier is not None:
            heard = on_reminder or (lambda outcome, lag: None)
            self._reminders = build_reminders(app, notifier, heard)
        self._stopping = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin; the first runs are due within a tenth of their intervals, and a minute."""
        if self._reminders is None:
            logger.info("there is no SLACK_BOT_TOKEN, so nobody is reminded of handoffs")
        else:
            self._begin("remind", self._remind, self._schedule.remind)
        if self._app.manager is not None:  # JSON files hold no vectors
            self._begin("embed-pending", self._embed_pending, self._schedule.embed_pending)
        self._begin("prune", self._prune, self._schedule.prune)

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109  (what is left then is cut off)
        """Begin no run any more, and let those under way end; cut them off after ``timeout`` seconds."""
        self._stopping.set()
        if self._reminders is not None:
            self._reminders.stop()
        loops, self._loops = self._loops, []
        if not loops:
            return
        _, late = await asyncio.wait(loops, timeout=timeout)
        for loop in late:
            logger.warning("the job %s was cut off", loop.get_name())
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)

    def _begin(self, name: str, run: Callable[[], Awaitable[None]], interval: timedelta) -> None:
        loop = self._loop(name, run, interval.total_seconds())
        self._loops.append(asyncio.create_task(loop, name=name))

    async def _loop(self, name: str, run: Callable[[], Awaitable[None]], interval: float) -> None:
        failures = _Failures(name)
        pause = min(60.0, JITTER * interval) * random.random()  # noqa: S311  (nobody gains from guessing it)
        while not await self._is_stopped_within(pause):
            try:
                await run()
            except NakamuraMisakiError as error:
                failures.add(str(error))
            except Exception as error:  # noqa: BLE001  (an error never ends a loop)
                failures.add(f"an unforeseen {type(error).__name__}", error)
            else:
                failures.end()
            pause = interval * (1 - JITTER * random.random())  # noqa: S311  (see above)

    async def _is_stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _remind(self) -> None:
        assert self._reminders is not None  # or else its loop is not begun
        report = await self._reminders.run()
        if report.sent or report.already_sent:
            logger.info(
                "reminders: %d sent, %d had been sent before", report.sent, report.already_sent
            )
        for each in report.failed:
            logger.warning("the reminder of handoff %s failed: %s", each.handoff.id, each.reason)

    async def _embed_pending(self) -> None:
        if embedded := await embed_all_pending(self._app.embedding_store):
            logger.info("embed-pending: %d notes got a vector", embedded)

    async def _prune(self) -> None:
        days = self._app.settings.session_retention_days
        pruned = await build_housekeeping(self._app).prune(days)
        logger.info(
            "prune: deleted %d sessions, %d handled events, %d request keys",
            pruned.sessions,
            pruned.events,
            pruned.keys,
        )


class _Failures:
    """Says once what keeps a job from its work, and when that is over."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._last: str | None = None

    def add(self, reason: str, error: BaseException | None = None) -> None:
        if reason != self._last:
            logger.error("the job %s failed: %s", self._job, reason, exc_info=error)
        self._last = reason

    def end(self) -> None:
        if self._last is not None:
            logger.info("the job %s works again", self._job)
        self._last = None
