"""``embedded``: the PostgreSQL server that stands in where no DATABASE_URL is set."""

from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer


@click.group()
def embedded() -> None:
    """See and stop the embedded PostgreSQL.

    It serves where no DATABASE_URL is set. Any command that needs it starts it; it keeps running,
    so that the next one is fast.
    """


@embedded.command()
@json_option
@click.pass_obj
def status(call: Invocation) -> None:
    """Say whether it runs and where its data lies.

    \b
    Example:
      nakamura-misaki embedded status

    Exits with 1 if it does not run.
    """
    server = _server(call)
    is_running = server.is_running()
    if call.as_json:
        output.print_json({"running": is_running, "data_dir": str(server.data_dir)})
    else:
        state = "runs" if is_running else "does not run"
        output.print_human(output.styled(f"The embedded PostgreSQL in {server.data_dir} {state}."))
    if not is_running:
        raise click.exceptions.Exit(1)


@embedded.command()
@json_option
@click.pass_obj
def stop(call: Invocation) -> None:
    """Stop it; its data stays.

    \b
    Example:
      nakamura-misaki embedded stop

    Exits with 0, also when it did not run.
    """
    server = _server(call)
    was_running = server.is_running()
    server.stop()
    if call.as_json:
        output.print_json({"stopped": was_running, "data_dir": str(server.data_dir)})
    else:
        done = "Stopped" if was_running else "There was nothing to stop:"
        output.print_human(output.styled(f"{done} the embedded PostgreSQL in {server.data_dir}."))


def _server(call: Invocation) -> "EmbeddedServer":
    from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer

    return EmbeddedServer(call.settings.data_dir)
