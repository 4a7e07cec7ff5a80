"""The command ``nakamura-misaki``: its groups, and how every call of it ends."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from nakamura_misaki import __version__
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.failures import (
    BROKEN_PIPE,
    EXIT_CODES,
    UNEXPECTED,
    describe,
    report,
    report_traceback,
)
from nakamura_misaki.adapters.primary.cli.lazy import LazyGroup

PROGRAM = "nakamura-misaki"
COMPLETE_VARIABLE = "_NAKAMURA_MISAKI_COMPLETE"

_HERE = "nakamura_misaki.adapters.primary.cli"
_SECTIONS = {
    "A team's work": {
        "task": f"{_HERE}.tasks:task",
        "handoff": f"{_HERE}.handoffs:handoff",
        "note": f"{_HERE}.notes:note",
        "session": f"{_HERE}.sessions:session",
    },
    "Begin": {
        "demo": f"{_HERE}.demo:demo",
        "init-db": f"{_HERE}.schema:init_db",
        "migrate": f"{_HERE}.transfer:migrate",
        "export": f"{_HERE}.transfer:export",
    },
    "Operate": {
        "serve": f"{_HERE}.serve:serve",
        "token": f"{_HERE}.tokens:token",
        "doctor": f"{_HERE}.operations:doctor",
        "remind": f"{_HERE}.jobs:remind",
        "prune": f"{_HERE}.jobs:prune",
        "embed-pending": f"{_HERE}.operations:embed_pending",
        "reembed": f"{_HERE}.reembed:reembed",
        "maintain": f"{_HERE}.operations:maintain",
        "backup": f"{_HERE}.backups:backup",
        "verify-backup": f"{_HERE}.backups:verify_backup",
        "restore": f"{_HERE}.restore:restore",
        "embedded": f"{_HERE}.embedded:embedded",
        "completion": f"{_HERE}.completion:completion",
    },
}
_EPILOG = (
    "\b\nExit codes:\n"
    + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES)
    + "\n\nSettings come from the environment, .env and credential files; without DATABASE_URL "
    "an embedded PostgreSQL in your data directory is used."
)


@click.group(
    cls=LazyGroup,
    sections=_SECTIONS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.option("--demo", is_flag=True, help="Use what 'nakamura-misaki demo' left behind.")
@click.option("--debug", is_flag=True, help="Show the traceback of an unforeseen error.")
@click.pass_context
def cli(ctx: click.Context, demo: bool, debug: bool) -> None:
    """A team's tasks, handoffs, notes and sessions, kept in PostgreSQL and found again.

    \b
    Begin with:
      nakamura-misaki demo
      nakamura-misaki note search "DB移行の決定事項は？"
    """
    ctx.obj = Invocation(demo=demo, debug=debug)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit as documented in its help."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if COMPLETE_VARIABLE in os.environ:
        cli.main(list(arguments), prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets an escape, never a traceback.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        code = _run(list(arguments))
    except BrokenPipeError:
        code = BROKEN_PIPE
    try:
        sys.stdout.flush()
    except OSError as error:
        if code == 0:
            is_pipe = isinstance(error, BrokenPipeError)
            code = BROKEN_PIPE if is_pipe else _fail(error, list(arguments))
        # At its end the interpreter would try once more, and say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        with cli.make_context(PROGRAM, list(arguments)) as ctx:
            cli.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  here every command ends
        return _fail(error, arguments)
    return 0


def _fail(error: BaseException, arguments: list[str]) -> int:
    failure = describe(error)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if failure.exit_code == UNEXPECTED and "--debug" in options:
        report_traceback(error)
    report(failure, as_json="--json" in options)
    return failure.exit_code


if __name__ == "__main__":
    main()
