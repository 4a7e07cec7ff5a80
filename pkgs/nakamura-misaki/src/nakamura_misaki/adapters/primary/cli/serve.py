"""``serve``: the service, until it is told to stop."""

import json
import logging
import sys
from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.calling import command_line
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from nakamura_misaki.adapters.primary.service import Listening


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen. [default: $API_HOST]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="On which port; 0 means any that is free. [default: $API_PORT]",
)
@click.option(
    "--with-jobs",
    is_flag=True,
    help="Also remind, embed and prune in this process, where no timer does.",
)
@json_option
@click.pass_obj
def serve(call: Invocation, host: str | None, port: int | None, with_jobs: bool) -> None:
    """Serve the HTTP API and Slack until SIGTERM or Ctrl-C.

    Requests in flight are finished first, for up to 10 seconds; a second Ctrl-C ends at once.

    \b
    Examples:
      nakamura-misaki serve
      nakamura-misaki serve --port 8080 --with-jobs

    Exits with 5 if a setting is wrong, the port is taken, Slack refuses the token or the stored
    vectors are of another model, 6 if the database did not come up within $STARTUP_TIMEOUT
    seconds, 7 if its schema is older than this release.
    """
    import asyncio

    from nakamura_misaki.adapters.primary.service import Service
    from nakamura_misaki.infrastructure.database import pool
    from nakamura_misaki.infrastructure.logging import configure_logging

    settings = call.settings
    configure_logging(settings.log_level, settings.log_format)
    if settings.log_level != "debug":
        # At info it tells of every connection that it closes, which metrics count better.
        logging.getLogger(f"{pool.__name__}.{pool.SteadyQueuePool.__name__}").setLevel("WARNING")

    async def work() -> bool:
        service = Service(
            settings,
            host=host,
            port=port,
            with_jobs=with_jobs,
            demo=call.demo,
            announce=call.announce,
            on_listening=lambda listening: _tell(call, listening),
        )
        return await service.run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        if not runner.run(work()):
            raise KeyboardInterrupt


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """uvloop's where there is one: about a third more requests a second."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _tell(call: Invocation, listening: "Listening") -> None:
    if call.as_json:
        answer = {"url": listening.url, "slack": listening.slack_mode, "jobs": listening.has_jobs}
        # On one line, and at once: whoever started this waits for it.
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
        return
    if not output.console().is_terminal:
        return  # the log has said it
    words = ("--demo",) if call.demo else ()
    output.print_human(
        output.fields(
            [
                ("API", f"{listening.url}/v1 (described in {listening.url}/openapi.json)"),
                ("health", f"{listening.url}/health/ready, {listening.url}/metrics"),
                ("Slack", _SLACK[listening.slack_mode]),
                ("jobs", _JOBS[listening.has_jobs]),
            ]
        ),
        output.styled("A token for the API, in another terminal:"),
    )
    output.print_commands([command_line(*words, "token", "create", "NAME")], 2)
    output.print_human(output.styled("Stop with Ctrl-C."))


_SLACK = {
    "off": "off (set SLACK_BOT_TOKEN and SLACK_APP_TOKEN to have it)",
    "socket": "connected by Socket Mode",
    "events": "waits for events at /slack/events",
}
_JOBS = {
    True: "reminders, vectors and pruning run in this process",
    False: "left to timers (or start with --with-jobs)",
}
