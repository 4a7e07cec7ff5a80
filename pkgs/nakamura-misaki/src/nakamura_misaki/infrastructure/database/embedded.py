"""A PostgreSQL 16 with pgvector of our own, for whoever has no server.

Everything lies below one data directory::

    cluster/         PostgreSQL's data, closed to everybody but the server's user
    socket           where the server listens (a link if its path would be too long for a socket)
    server.log       PostgreSQL's own log; the one before it is server.log.1
    postgresql-16-…  for root only: a copy of the programs that the server's user can read

The server listens on no network address. It outlives the process that started
it, and every process that names the same directory shares it.
"""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from nakamura_misaki.domain.errors import ConfigurationError, StorageUnavailable
from nakamura_misaki.infrastructure.database import embedded_cluster, embedded_socket
from nakamura_misaki.infrastructure.database.embedded_installation import (
    Account,
    programs_for_server,
    server_account,
    wheel_programs,
)
from nakamura_misaki.infrastructure.database.embedded_postmaster import (
    Answer,
    ask,
    clear_stale_pid_file,
    find_postmaster,
    is_alive,
)

_LOCK = ".lock"
_POLL = 0.005
_SOCKET_MAY_TAKE = 2.0
_ORPHANS_MAY_TAKE = 10.0
_STOP_MAY_TAKE = 30.0
_LOG_LIMIT = 10 * 1024 * 1024
_ENOUGH_SHARED_MEMORY = 512 * 1024 * 1024
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
# Commits stay synchronous: without fsync that costs one write to the system's cache, and then a
# killed server loses nothing, only a crashed machine does.
_NOT_DURABLE = ("fsync=off", "full_page_writes=off")


class EmbeddedServer:
    """The PostgreSQL server of one data directory.

    ``durable=False`` trades safety against a crash of the machine for speed, for
    tests; it counts for the process that starts the server. ``start_timeout``
    (seconds) bounds the wait for another process's start and for crash recovery.
    """

    def __init__(
        self, data_dir: Path, *, durable: bool = True, start_timeout: float = 60.0
    ) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.cluster = self.data_dir / "cluster"
        self.log_file = self.data_dir / "server.log"
        self._durable = durable
        self._start_timeout = start_timeout

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.data_dir)!r})"

    @property
    def bin_dir(self) -> Path:
        """The directory of the client programs (``pg_dump``, ``pg_restore``, ``psql``).

        Raises ConfigurationError if the extra ``embedded`` is not installed.
        """
        return wheel_programs()

    def url(self, database: str, role: str = "postgres") -> str:
        """The database's URL for SQLAlchemy's asyncpg dialect; settled once :meth:`start` has returned."""
        host = quote(str(embedded_socket.directory(self.data_dir)), safe="/")
        return f"postgresql+asyncpg://{quote(role, safe='')}@/{quote(database, safe='')}?host={host}&port=5432"

    def is_running(self) -> bool:
        """Whether the server answers now."""
        return ask(embedded_socket.file(self.data_dir)) is Answer.READY

    def start(self) -> None:
        """Return once the server answers: attach to the running one, else start it, else create it first.

        Raises ConfigurationError if the data directory can't be used or there is
        no PostgreSQL to start, StorageUnavailable if the server did not come up.
        """
        if self.is_running():
            return
        wheel_programs()
        account = server_account()
        with self._os_errors_explained():
            if embedded_cluster.exists(self.cluster):
                embedded_cluster.check(self.cluster, account)
            self._prepare_data_dir(account)
            with self._locked():
                self._attach_or_launch(account)

    def stop(self) -> None:
        """End the server, open transactions rolled back; does nothing if it does not run.

        Raises StorageUnavailable if it does not end.
        """
        if not (self.data_dir / _LOCK).exists():
            return
        with self._os_errors_explained(), self._locked():
            postmaster = find_postmaster(self.cluster)
            if postmaster is not None:
                self._end(postmaster)
            embedded_socket.tidy(self.data_dir)

    def _attach_or_launch(self, account: Account | None) -> None:
        deadline = time.monotonic() + self._start_timeout
        postmaster = find_postmaster(self.cluster)
        if postmaster is not None and not self._is_reachable(postmaster):
            self._end(postmaster)
        elif postmaster is not None and self._comes_up(postmaster, deadline):
            return
        programs = programs_for_server(self.data_dir, account)
        if not embedded_cluster.exists(self.cluster):
            embedded_cluster.create(self.cluster, programs, account, durable=self._durable)
        embedded_socket.settle(self.data_dir, account)
        self._launch_until_up(programs, account)

    def _is_reachable(self, postmaster: int) -> bool:
        """Whether a server still has its data and its socket: either may have been deleted under it."""
        if not embedded_cluster.exists(self.cluster):
            return False
        deadline = time.monotonic() + _SOCKET_MAY_TAKE
        socket_file = embedded_socket.file(self.data_dir)
        return _wait_until(lambda: socket_file.exists() or not is_alive(postmaster), deadline)

    def _comes_up(self, postmaster: int, deadline: float) -> bool:
        """Wait until the server answers (True) or has ended (False)."""
        if not _wait_until(lambda: self.is_running() or not is_alive(postmaster), deadline):
            self._fail(
                f"is not ready after {self._start_timeout:g} s, perhaps still recovering from a crash"
            )
        return is_alive(postmaster)

    def _launch_until_up(self, programs: Path, account: Account | None) -> None:
        """Start the server; again for as long as orphans of a killed one hold its memory."""
        give_up = time.monotonic() + _ORPHANS_MAY_TAKE
        while True:
            clear_stale_pid_file(self.cluster)
            logged_before = self._open_log(account)
            postmaster = self._launch(programs, account)
            if self._comes_up(postmaster, time.monotonic() + self._start_timeout):
                return
            with self.log_file.open("rb") as log:
                log.seek(logged_before)
                reason = embedded_cluster.reason_in(log.read())
            orphaned = "shared memory block" in reason or "lock file" in reason
            if not orphaned or time.monotonic() > give_up:
                self._fail(f"did not start: {reason}")
            time.sleep(0.1)

    def _launch(self, programs: Path, account: Account | None) -> int:
        """Start ``postgres`` in a session of its own, tied to nothing of ours; returns its process id.

        The shell in between leaves it to init, so that it is never a zombie of a
        caller that lives on, and closes the caller's pipes, whose readers would
        wait for their end.
        """
        settings = (
            "listen_addresses=",
            f'unix_socket_directories="{embedded_socket.directory(self.data_dir)}"',
            "unix_socket_permissions=0700",
            f"dynamic_shared_memory_type={_shared_memory_type()}",
            *(() if self._durable else _NOT_DURABLE),
        )
        command = [str(programs / "postgres"), "-D", str(self.cluster), "-p", "5432"]
        for setting in settings:
            command += ["-c", setting]
        detach = '"$@" </dev/null >>"$0" 2>&1 & echo $!'
        shell = subprocess.run(  # noqa: S603 - no part of it is a user's
            ["/bin/sh", "-c", detach, str(self.log_file), *command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **embedded_cluster.process_options(account),
        )
        return int(shell.stdout)

    def _end(self, postmaster: int) -> None:
        """Fast shutdown, then immediate shutdown if that hangs or the data is gone anyway."""
        if embedded_cluster.exists(self.cluster):
            _signal(postmaster, signal.SIGINT)
            if _wait_until(lambda: not is_alive(postmaster), time.monotonic() + _STOP_MAY_TAKE):
                return
        _signal(postmaster, signal.SIGQUIT)
        if not _wait_until(lambda: not is_alive(postmaster), time.monotonic() + _ORPHANS_MAY_TAKE):
            self._fail("does not stop")

    def _prepare_data_dir(self, account: Account | None) -> None:
        """Make the data directory; the mode of a directory above it is never changed."""
        if account is None:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        for directory in reversed([self.data_dir, *self.data_dir.parents]):
            if not directory.exists():
                directory.mkdir(exist_ok=True)
                directory.chmod(0o755)
        for parent in self.data_dir.parents:
            if not account.can_enter(parent):
                raise ConfigurationError(
                    f"As root the embedded PostgreSQL runs as the user {account.name}, who can't enter {parent}: "
                    "set NAKAMURA_MISAKI_DATA_DIR to a directory below /var/lib, or set DATABASE_URL."
                )
        if not account.can_enter(self.data_dir):
            if any(self.data_dir.iterdir()):
                raise ConfigurationError(
                    f"As root the embedded PostgreSQL runs as the user {account.name}, who can't enter {self.data_dir}, "
                    "and that holds files already: set NAKAMURA_MISAKI_DATA_DIR to a directory of its own."
                )
            self.data_dir.chmod(stat.S_IMODE(self.data_dir.stat().st_mode) | stat.S_IXOTH)

    def _open_log(self, account: Account | None) -> int:
        """Make the log, a long one put aside; returns its present size in bytes."""
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_LIMIT:
            self.log_file.replace(self.log_file.with_name("server.log.1"))
        self.log_file.touch(mode=0o600)
        embedded_cluster.give_to(account, self.log_file)
        return self.log_file.stat().st_size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process (and thread) at a time start or stop this server."""
        descriptor = os.open(self.data_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _wait_until(
                lambda: _try_lock(descriptor), time.monotonic() + self._start_timeout
            ):
                self._fail("has been starting or stopping in another process for too long")
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _os_errors_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in _NO_SPACE:
                raise StorageUnavailable(
                    f"The embedded PostgreSQL can't write to {self.data_dir}: {reason}."
                ) from error
            raise ConfigurationError(
                f"The data directory {self.data_dir} can't be used ({reason}): "
                "set NAKAMURA_MISAKI_DATA_DIR to a directory you can write to, or set DATABASE_URL."
            ) from error

    def _fail(self, what: str) -> NoReturn:
        raise StorageUnavailable(f"The embedded PostgreSQL {what} (its log: {self.log_file}).")


def _wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _signal(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(process, number)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shared_memory_type() -> str:
    """Parallel index builds fail where a container gives ``/dev/shm`` a few megabytes only: then files."""
    try:
        status = os.statvfs("/dev/shm")  # noqa: S108 - only measured
    except OSError:
        return "mmap"
    return "posix" if status.f_bavail * status.f_frsize >= _ENOUGH_SHARED_MEMORY else "mmap"
