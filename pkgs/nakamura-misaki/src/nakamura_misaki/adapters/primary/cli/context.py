"""What one call of the command line knows: its settings, its user, how to answer."""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nakamura_misaki.adapters.primary.cli.calling import command_line
from nakamura_misaki.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from nakamura_misaki.infrastructure.di import App
    from nakamura_misaki.infrastructure.settings import Settings

T = TypeVar("T")

USER_VARIABLE = "NAKAMURA_MISAKI_USER"


class Invocation:
    """One call of the command line. Settings are read when first needed."""

    def __init__(self, *, demo: bool = False, debug: bool = False, as_json: bool = False) -> None:
        self.demo = demo
        self.debug = debug
        self.as_json = as_json

    @cached_property
    def settings(self) -> "Settings":
        """The settings, of the demo with ``--demo``. Raises ConfigurationError."""
        from nakamura_misaki.infrastructure.di import demo_settings
        from nakamura_misaki.infrastructure.logging import configure_logging
        from nakamura_misaki.infrastructure.settings import load_settings

        settings = load_settings()
        # At a terminal the answer is what counts; who wants to hear more says so.
        chosen = "log_level" in settings.model_fields_set or settings.log_format != "plain"
        heard = settings.log_level if chosen else "warning"
        configure_logging(heard, settings.log_format)
        return demo_settings(settings) if self.demo else settings

    @property
    def zone(self) -> "ZoneInfo":
        """The team's time zone, in which times are read and shown."""
        return self.settings.time_zone

    def run(self, work: "Callable[[App], Awaitable[T]]") -> T:
        """Compose the application, do the work with it, close it all; the work's result."""
        from nakamura_misaki.infrastructure.di import compose

        async def composed() -> T:
            async with compose(self.settings, demo=self.demo, announce=self.announce) as app:
                return await work(app)

        return self.wait_for(composed())

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; Ctrl-C cancels it and lets it clean up."""
        import asyncio

        return asyncio.run(work)

    def announce(self, data_dir: Path) -> None:
        """Tell the person, on stderr, that the embedded server serves, and how to end it."""
        stop = command_line("embedded", "stop")
        self._aside(
            "notice", f"Using the embedded PostgreSQL in {data_dir}; it keeps running until: {stop}"
        )

    def warn(self, text: str) -> None:
        """Warn the person, on stderr, of something that did not end the command."""
        self._aside("warning", text)

    def _aside(self, kind: str, text: str) -> None:
        if self.as_json:
            text = json.dumps({kind: text}, ensure_ascii=False)
        elif kind == "warning":
            text = f"Warning: {text}"
        sys.stderr.write(f"{text}\n")


def present_user() -> str:
    """$NAKAMURA_MISAKI_USER, or the login name. Raises ConfigurationError if there is neither."""
    if user := os.environ.get(USER_VARIABLE):
        return user
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigurationError(
            f"this account has no login name; give --user or set ${USER_VARIABLE}."
        ) from None
