"""The command line at a terminal: it asks, and somebody answers."""

import os
import pty
import subprocess

from integration.command import MODULE, Command


def answered(command: Command, *arguments: str, answer: str) -> tuple[int, str]:
    """The exit code of a call that is answered so when it asks ``Go on?``, and all that it showed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*MODULE, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=command.directory,
        env=command.environment | {"TERM": "xterm", "COLUMNS": "300"},
    ) as process:
        os.close(theirs)
        said, is_answered = b"", False
        while True:
            try:
                said += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if b"Go on?" in said and not is_answered:
                os.write(ours, f"{answer}\n".encode())
                is_answered = True
    os.close(ours)
    return process.returncode, said.decode()
