"""The command line as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MODULE = (sys.executable, "-m", "nakamura_misaki")
USER = "U01ABC123"
_OWN = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")


class Command:
    """``nakamura-misaki`` with the settings given and no others, in a directory."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.environment = {name: os.environ[name] for name in _OWN if name in os.environ}
        self.environment |= {"EMBEDDING_PROVIDER": "hashing", "NAKAMURA_MISAKI_USER": USER}
        self.environment |= settings

    def __call__(
        self, *arguments: str | bytes | Path, stdin: bytes = b""
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*MODULE, *arguments],
            check=False,
            input=stdin,
            capture_output=True,
            cwd=self.directory,
            env=self.environment,
            timeout=120,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def json(self, *arguments: str | bytes | Path, code: int = 0) -> Any:
        """The answer in JSON of a call that ends with ``code``."""
        done = self(*arguments, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)


_FORKING = """
import os, sys
import nakamura_misaki.adapters.primary.cli.transfer, nakamura_misaki.infrastructure.di
import nakamura_misaki.adapters.primary.cli.migration_report, rich.progress
import nakamura_misaki.adapters.secondary.postgresql_note_repository
import nakamura_misaki.infrastructure.database.maintenance
from nakamura_misaki.adapters.primary.cli.main import main
from nakamura_misaki.infrastructure.settings import load_settings
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        main(line.split())
    os.setpgid(child, child)
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitpid(child, 0)[1], flush=True)
"""


class ForkingCommand:
    """The same, begun at once: each call is a fork of a process that has imported everything.

    For a test that starts it very often: two thirds of a short call are imports.
    """

    def __init__(self, command: Command) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=command.directory,
            env=command.environment,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._line() == "ready"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=60)

    def start(self, *arguments: str) -> int:
        """Begin a call; the id of its process, which leads a group of its own."""
        self._say(" ".join(arguments))
        return int(self._line())

    def wait(self) -> int:
        """Let the call end; its exit code, or minus the signal."""
        self._say("wait")
        return os.waitstatus_to_exitcode(int(self._line()))

    def kill(self, process: int) -> None:
        """``kill -9``, without effect on one that has ended and was not waited for."""
        os.killpg(process, signal.SIGKILL)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
