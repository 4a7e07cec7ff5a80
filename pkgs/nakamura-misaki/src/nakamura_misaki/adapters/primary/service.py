"""The service: HTTP API, Slack and jobs in one process, which start and stop together.

It starts in this order: bind the address, wait for the storage, connect to Slack,
listen, tell systemd. It stops in the other: tell systemd, listen no more, finish
the requests in flight, then what came from Slack and the jobs, close the pool;
within STOP_MAY_TAKE. A second signal ends it at once.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nakamura_misaki.adapters.primary.api.application import create_api
from nakamura_misaki.adapters.primary.api.health import health_router
from nakamura_misaki.adapters.primary.http_server import HttpServer, bind, url_of
from nakamura_misaki.adapters.primary.jobs import Jobs
from nakamura_misaki.adapters.primary.readiness import Readiness
from nakamura_misaki.adapters.primary.starting import start_assistant, wait_for_storage, warm_up
from nakamura_misaki.application.reminders import Notifier
from nakamura_misaki.infrastructure.di import Announce, App, compose
from nakamura_misaki.infrastructure.di.access import build_gate
from nakamura_misaki.infrastructure.di.notifier import build_notifier
from nakamura_misaki.infrastructure.metrics import Metrics
from nakamura_misaki.infrastructure.settings import Settings
from nakamura_misaki.infrastructure.systemd import ServiceManager

if TYPE_CHECKING:
    import socket

    from nakamura_misaki.adapters.primary.slack.assistant import SlackAssistant

logger = logging.getLogger(__name__)

STOP_MAY_TAKE = 9.5
REQUESTS_MAY_TAKE = 5.5
"""Of STOP_MAY_TAKE, for the requests that are in flight when the service is to stop."""

POOL_MAY_TAKE = 1.0

STATEMENTS_MAY_TAKE = 10.0
"""Nobody waits longer for an answer; half as long again, if the database says nothing at all."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What a service that has started does, and where."""

    url: str
    slack_mode: str
    has_jobs: bool

    def __str__(self) -> str:
        jobs = "on" if self.has_jobs else "off"
        return f"listening on {self.url}; Slack: {self.slack_mode}; jobs: {jobs}"


OnListening: TypeAlias = Callable[[Listening], None]


class Service:
    """One run of the service. ``host`` and ``port`` count more than the settings (0: any port)."""

    def __init__(
        self,
        settings: Settings,
        *,
        host: str | None = None,
        port: int | None = None,
        with_jobs: bool = False,
        demo: bool = False,
        announce: Announce = lambda data_dir: None,
        on_listening: OnListening = lambda listening: None,
    ) -> None:
        self._settings = settings
        self._host = settings.api_host if host is None else host
        self._port = settings.api_port if port is None else port
        self._with_jobs = with_jobs
        self._demo = demo
        self._announce = announce
        self._on_listening = on_listening
        self._metrics = Metrics(slow_query_seconds=settings.slow_query_seconds)
        self._systemd = ServiceManager()
        self._told_to_stop = asyncio.Event()
        self._at_once = False

    async def run(self) -> bool:
        """Serve until SIGTERM or SIGINT; False if a second one cut the ending short.

        Raises ConfigurationError (an address that can't be had, EmbeddingModelMismatch,
        what Slack refuses), SchemaOutdated, and StorageUnavailable if the database did
        not come up in time.
        """
        self._systemd = ServiceManager.of_environment()
        life_signs = asyncio.create_task(self._systemd.keep_watched())
        running = asyncio.create_task(self._run())
        try:
            with self._signals(running):
                await asyncio.wait((running,))
            if running.cancelled():
                return False
            running.result()
            return True
        finally:
            life_signs.cancel()
            self._systemd.close()

    async def _run(self) -> None:
        with contextlib.closing(bind(self._host, self._port)) as address:
            composed = compose(
                self._settings,
                demo=self._demo,
                announce=self._announce_embedded,
                observer=self._metrics,
                statement_timeout=STATEMENTS_MAY_TAKE,
            )
            async with contextlib.AsyncExitStack() as at_the_end:
                app = await composed.__aenter__()
                at_the_end.push_async_callback(_closed_in_time, composed)
                parts = _Parts()
                try:
                    if await self._unless_stopped(self._start(app, address, parts)):
                        await self._until_stopped(parts)
                finally:
                    await self._stop(parts)
        logger.info("stopped")

    def _announce_embedded(self, data_dir: Path) -> None:
        self._systemd.status("starting the embedded database")
        self._announce(data_dir)

    async def _start(self, app: App, address: "socket.socket", parts: "_Parts") -> None:
        await asyncio.gather(wait_for_storage(app, self._systemd), warm_up(self._settings))
        readiness = parts.readiness = Readiness(app)
        routers = [health_router(app, self._metrics, readiness)]
        mode = self._settings.effective_slack_mode
        if mode != "off":
            from nakamura_misaki.adapters.primary.slack.assistant import SlackAssistant

            assistant = SlackAssistant(app, on_event=self._metrics.slack_event)
            parts.assistant = assistant
            if mode == "events":
                routers.append(assistant.router)
        gate = build_gate(app)
        api = create_api(app, gate, on_response=self._metrics.answered, routers=routers)
        if parts.assistant is not None:
            self._systemd.status("connecting to Slack")
            parts.background.append(await start_assistant(parts.assistant))
        http = HttpServer(api, address, requests_may_take=REQUESTS_MAY_TAKE)
        await http.start()
        parts.http = http
        if self._with_jobs:
            has_token = self._settings.slack_bot_token is not None
            parts.notifier = build_notifier(self._settings) if has_token else None
            parts.jobs = Jobs(app, parts.notifier, on_reminder=self._metrics.reminded)
            await parts.jobs.start()
        listening = Listening(url_of(address), mode, self._with_jobs)
        logger.info("%s", listening)
        self._systemd.ready(str(listening))
        self._on_listening(listening)

    async def _until_stopped(self, parts: "_Parts") -> None:
        assert parts.http is not None  # _start has come to its end
        stopped = asyncio.create_task(self._told_to_stop.wait())
        await asyncio.wait((stopped, parts.http.serving), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if parts.http.serving.done():
            parts.http.serving.result()

    async def _stop(self, parts: "_Parts") -> None:
        if self._at_once:
            return
        ends_at = time.monotonic() + STOP_MAY_TAKE - POOL_MAY_TAKE
        logger.info("stopping: what is under way is finished first")
        self._systemd.stopping("finishing what is under way")
        if parts.readiness is not None:
            parts.readiness.is_stopping = True
        for task in parts.background:
            task.cancel()
        if parts.http is not None:
            await _without_error(parts.http.stop())
        left = max(0.5, ends_at - time.monotonic())
        stops: list[Awaitable[None]] = []
        if parts.assistant is not None:
            stops.append(parts.assistant.stop(left))
        if parts.jobs is not None:
            stops.append(parts.jobs.stop(left))
        await asyncio.gather(*map(_without_error, stops))
        if parts.notifier is not None:
            await _without_error(parts.notifier.close())

    async def _unless_stopped(self, starting: Coroutine[Any, Any, None]) -> bool:
        """Start; False if a signal came before the end of it."""
        task = asyncio.create_task(starting)
        stopped = asyncio.create_task(self._told_to_stop.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            is_over = task.done()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return is_over

    @contextlib.contextmanager
    def _signals(self, running: "asyncio.Task[None]") -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)

        def on_signal() -> None:
            if self._told_to_stop.is_set():
                logger.warning("stopping at once")
                self._at_once = True
                running.cancel()
                return
            self._told_to_stop.set()

        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)


@dataclass(slots=True)
class _Parts:
    """What has been started, and so is to be stopped."""

    readiness: Readiness | None = None
    http: HttpServer | None = None
    assistant: "SlackAssistant | None" = None
    jobs: Jobs | None = None
    notifier: Notifier | None = None
    background: "list[asyncio.Task[None]]" = field(default_factory=list)


async def _without_error(stopping: Awaitable[None]) -> None:
    """One part that does not stop as it should must not keep the others from it."""
    try:
        await stopping
    except Exception:
        logger.exception("a part of the service did not stop as it should")


async def _closed_in_time(composed: contextlib.AbstractAsyncContextManager[App]) -> None:
    try:
        async with asyncio.timeout(POOL_MAY_TAKE):
            await composed.__aexit__(None, None, None)
    except TimeoutError:
        logger.warning("the database's connections were not closed in time")
