"""What a PostgreSQL server shows of itself: its process, its pid file, its socket.

``postmaster.pid`` alone proves nothing: after a crash it is stale, and after a
reboot its number may belong to somebody else. So a process counts as the server
of a cluster only if its command line says so, and a server counts as running
only if it answers on its socket.
"""

import os
import socket
import struct
from enum import Enum
from pathlib import Path

_PROTOCOL_3 = 196608
_CANNOT_CONNECT_NOW = b"57P03"
_PROC = Path("/proc")


class Answer(Enum):
    """What came back from a server's socket."""

    READY = "ready"
    BUSY = "busy"
    """It is starting up, recovering or shutting down."""
    NONE = "none"


def ask(socket_file: Path, timeout: float = 2.0) -> Answer:
    """Open a session as the administrator, as far as the server's own "ready".

    ``timeout`` is in seconds. Any refusal other than "cannot connect now" is an
    answer of a running server. Speaks the startup part of the protocol itself
    (PostgreSQL manual, "Message Flow"), so that asking needs no driver and takes
    about a millisecond.
    """
    parameters = b"user\0postgres\0database\0postgres\0application_name\0nakamura-misaki probe\0\0"
    startup = struct.pack("!ii", len(parameters) + 8, _PROTOCOL_3) + parameters
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(os.fspath(socket_file))
        except OSError:
            return Answer.NONE
        try:
            connection.sendall(startup)
            return _read_answer(connection)
        except OSError:
            return Answer.BUSY


def _read_answer(connection: socket.socket) -> Answer:
    with connection.makefile("rb") as stream:
        while len(header := stream.read(5)) == 5:
            kind, length = struct.unpack("!ci", header)
            body = stream.read(length - 4)
            if kind == b"E":
                busy = b"C" + _CANNOT_CONNECT_NOW in body.split(b"\0")
                return Answer.BUSY if busy else Answer.READY
            if kind == b"Z":
                connection.sendall(b"X\0\0\0\4")
                return Answer.READY
            if kind == b"R" and body != b"\0\0\0\0":
                return Answer.READY
    return Answer.BUSY


def command_line(pid: int) -> list[str]:
    """The arguments a process was started with; empty for one that is gone or a zombie."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(argument) for argument in raw.rstrip(b"\0").split(b"\0") if raw]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not.

    Its command line would not tell: that is empty for a moment while it begins another program.
    """
    try:
        status = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return False
    # The name stands in brackets and may hold anything (proc_pid_stat(5)); then comes the state.
    return status.rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])


def serves(pid: int, cluster: Path) -> bool:
    """Whether this process is the postmaster of this cluster directory.

    A backend is none: it rewrites its command line to ``postgres: …``.
    """
    arguments = command_line(pid)
    if not arguments or Path(arguments[0]).name != "postgres" or "-D" not in arguments[:-1]:
        return False
    directory = arguments[arguments.index("-D") + 1]
    if directory == str(cluster):
        return True
    try:
        return Path(directory).samefile(cluster)
    except OSError:
        return False


def find_postmaster(cluster: Path) -> int | None:
    """The process id of the server that runs on this cluster directory, if one does."""
    recorded = recorded_pid(cluster)
    if recorded is not None and serves(recorded, cluster):
        return recorded
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and serves(int(entry.name), cluster):
            return int(entry.name)
    return None


def recorded_pid(cluster: Path) -> int | None:
    """The number in ``postmaster.pid``; None if there is no such file or no number in it."""
    try:
        first_line = (cluster / "postmaster.pid").read_text("utf-8", "replace").split("\n")[0]
    except OSError:
        return None
    return int(first_line) if first_line.strip().isdecimal() else None


def clear_stale_pid_file(cluster: Path) -> None:
    """Remove a ``postmaster.pid`` that would keep a new server from starting.

    To be called only while no server runs on the cluster and none is being
    started. PostgreSQL replaces the file of a dead process by itself, after it
    has made sure that no orphan still uses the shared memory named there, so
    that file stays. It refuses an empty or cut-off one, and one whose number
    now belongs to another process.
    """
    pid = recorded_pid(cluster)
    if pid is None or (_PROC / str(pid)).exists():
        (cluster / "postmaster.pid").unlink(missing_ok=True)
