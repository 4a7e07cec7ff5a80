"""What went wrong, as one sentence and an exit code."""

import re
import sys
from typing import NamedTuple, TextIO

import click

from nakamura_misaki.domain.errors import NakamuraMisakiError

EXIT_CODES = (
    (0, "done"),
    (1, "a check failed, some entries were rejected, or a backup could not be made or used"),
    (2, "bad input: an argument or a value that breaks a rule; nothing was changed"),
    (3, "there is no such task, handoff, note or session"),
    (4, "another entry holds that id"),
    (5, "a setting is missing or wrong"),
    (6, "the database can't be reached"),
    (7, "the database's schema is not this release's: run init-db"),
    (8, "no vector could be had from the embedder"),
    (9, "a message could not be delivered; a later run tries again"),
    (70, "an error nobody foresaw: --debug shows where"),
    (130, "interrupted (Ctrl-C)"),
)

UNEXPECTED = 70
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell reports for a program that SIGPIPE ended, which is what happened in effect."""


_COMMAND = re.compile(r": nakamura-misaki [a-z -]+$")


class Failure(NamedTuple):
    """One sentence for a person, one word for a program, and the exit code."""

    sentence: str
    kind: str
    exit_code: int
    hint: str = ""


def describe(error: BaseException) -> Failure:
    """What to tell of an error that ended a command."""
    match error:
        case NakamuraMisakiError():
            return Failure(_sentence(str(error)), _snake(type(error).__name__), error.exit_code)
        case click.UsageError():
            context = error.ctx
            hint = f"{context.command_path} --help shows how it is used." if context else ""
            return Failure(_sentence(error.format_message()), "usage", error.exit_code, hint)
        case click.ClickException():
            return Failure(_sentence(error.format_message()), "usage", error.exit_code)
        case KeyboardInterrupt() | click.Abort() | EOFError():
            return Failure("interrupted.", "interrupted", INTERRUPTED)
        case OSError() if error.strerror:
            return Failure(f"{error.filename or 'the output'}: {error.strerror}.", "file", 1)
        case _:
            return Failure(
                f"an unforeseen {type(error).__name__} ended this; run it again as "
                "nakamura-misaki --debug … to see where.",
                "unexpected",
                UNEXPECTED,
            )


def report(failure: Failure, *, as_json: bool, file: TextIO | None = None) -> None:
    """Write a failure to stderr, as a sentence or (with --json) as one JSON object."""
    if as_json:
        import json

        text = json.dumps({"error": failure.sentence, "kind": failure.kind}, ensure_ascii=False)
    else:
        text = "\n".join(filter(None, (f"Error: {failure.sentence}", failure.hint)))
    (file or sys.stderr).write(f"{redacted(text)}\n")


def report_traceback(error: BaseException) -> None:
    """Write the traceback of an error to stderr, without secrets."""
    import traceback

    sys.stderr.write(redacted("".join(traceback.format_exception(error))))


def redacted(text: str) -> str:
    """The text without secrets: those of the settings, passwords in URLs, keys, tokens."""
    from nakamura_misaki.infrastructure.logging import redact

    return redact(text)


def _sentence(text: str) -> str:
    text = text.strip()
    # A command at the end is there to be copied.
    return text if text.endswith((".", "?", "!")) or _COMMAND.search(text) else f"{text}."


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
