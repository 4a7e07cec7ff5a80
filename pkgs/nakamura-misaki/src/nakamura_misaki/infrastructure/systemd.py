"""What a service tells systemd of itself, by the protocol of sd_notify.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html and
sd_watchdog_enabled.html. Outside of systemd nothing is told, and nothing fails.
"""

import asyncio
import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Self

logger = logging.getLogger(__name__)

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """The socket on which systemd listens; without one (None) every message goes nowhere.

    ``watchdog`` is after how many seconds of silence systemd takes this process
    for hung; None if it does not watch. Messages are sent without waiting: a
    service never stops because nobody reads what it says.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = address
        self.watchdog = watchdog
        self._socket: socket.socket | None = None

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """The one that the variables name.

        They are taken out, so that no child process (the embedded database's server) speaks as well.
        """
        found = {name: environment.pop(name, None) for name in _VARIABLES}
        address = found["NOTIFY_SOCKET"] or None
        return cls(address, _watchdog(found["WATCHDOG_USEC"], found["WATCHDOG_PID"]))

    @property
    def listens(self) -> bool:
        return self._address is not None

    def ready(self, status: str) -> None:
        """The service serves; ``status`` is the line that ``systemctl status`` shows."""
        self._send("READY=1", f"STATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={_one_line(status)}")

    def starts_longer(self, seconds: float) -> None:
        """Ask for so many more seconds from now, while the service is not ready yet."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={_one_line(status)}")

    async def keep_watched(self) -> None:
        """Send a sign of life twice in each watchdog interval, for as long as this loop turns.

        Nothing else counts: a database that is away must not get the service killed. Ends at once
        where nobody watches, otherwise when it is cancelled.
        """
        while self.watchdog is not None and self.listens:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / 2)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            if self._socket is None:
                self._socket = _connected(self._address)
            self._socket.send("\n".join(lines).encode())
        except OSError as error:
            self.close()
            logger.debug("systemd can't be told %s: %s", lines[0], error)


def _connected(address: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        made.setblocking(False)
        # An abstract name is written with @ for its zero byte.
        made.connect(f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError:
        made.close()
        raise
    return made


def _watchdog(microseconds: str | None, process: str | None) -> float | None:
    """Seconds; None if nobody watches, or another process is watched."""
    if process is not None and process != str(os.getpid()):
        return None
    try:
        seconds = int(microseconds or 0) / 1e6
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
