"""``nakamura-misaki serve`` as a process of its own, with systemd's socket beside it."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from integration.command import MODULE, Command

TOKEN = "t0ken-of-the-tests-0123456789abcdefghij"
PATIENCE = 30.0
"""Seconds after which a test gives up on what should take one."""


class ServiceProcess:
    """The service on a free port; a context manager that ends it whatever happens.

    Its log goes to a file, what it tells systemd to ``told``. The token TOKEN is
    let in through API_TOKENS.
    """

    def __init__(self, directory: Path, *arguments: str, **settings: str) -> None:
        self.directory = directory
        self.log_file = directory / "service.log"
        self.told: list[str] = []
        self.command = Command(directory, API_TOKENS=f"tests {TOKEN}", **settings)
        self._arguments = ("serve", "--port", "0", "--json", *arguments)
        self._notify: socket.socket
        self._process: subprocess.Popen[str] | None = None
        self._address = ""

    def __enter__(self) -> Self:
        self.launch()
        self.wait_until_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def process(self) -> "subprocess.Popen[str]":
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def url(self) -> str:
        return self._address

    @property
    def arguments(self) -> str:
        """How it was started, as everybody on the machine sees it."""
        return Path(f"/proc/{self.process.pid}/cmdline").read_bytes().decode()

    @property
    def resident_bytes(self) -> int:
        """The memory it takes now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    @property
    def processor_seconds(self) -> float:
        """The processor time it took until now."""
        return processor_seconds(self.process.pid)

    def launch(self) -> None:
        """Start it, and don't wait for anything."""
        name = f"nakamura-misaki-{os.getpid()}-{id(self)}"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(f"\0{name}")
        self._notify.settimeout(PATIENCE)
        environment = self.command.environment | {
            "NOTIFY_SOCKET": f"@{name}",
            "LOG_FORMAT": self.command.environment.get("LOG_FORMAT", "journald"),
        }
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*MODULE, *self._arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.directory,
                env=environment,
                text=True,
            )

    def wait_until_told(self, beginning: str) -> str:
        """The first message to systemd from now on with a line that begins so."""
        while True:
            message = self._notify.recv(10_000).decode()
            self.told.append(message)
            if any(line.startswith(beginning) for line in message.splitlines()):
                return message

    def wait_until_ready(self) -> dict[str, Any]:
        """What it says of itself when it listens."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait()}: {self.log}"
        said: dict[str, Any] = json.loads(line)
        self._address = said["url"]
        assert self._address in self.wait_until_told("READY=1")
        return said

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client that shows the token."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=PATIENCE,
            **options,
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def end(self) -> int:
        """Stop it if it runs; its exit code."""
        if self._process is None:
            return 0
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()
            self._notify.close()
        return code


def processor_seconds(process: int) -> float:
    """Its own time and the kernel's for it, children aside (proc_pid_stat(5))."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric(text: str, name: str) -> float:
    """A sample's value by its name, labels included, as it stands in the text format."""
    [line] = [line for line in text.splitlines() if line.startswith(f"nakamura_misaki_{name} ")]
    return float(line.rpartition(" ")[2])
