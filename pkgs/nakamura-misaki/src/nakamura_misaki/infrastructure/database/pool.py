"""A connection pool that keeps what it opened, and serves who waits in turn.

SQLAlchemy's QueuePool closes an overflow connection as soon as it comes back,
so that a steady load a little above ``pool_size`` opens and closes connections
all the time (32 workers on 10+20: a fifth of the throughput of a steady pool).
This one keeps overflow connections while they are in use again and again and
closes only those that nobody needed during a whole ``IDLE_SECONDS``.

There, too, a worker that gives a connection back and asks again at once gets it
before those who were waiting, and under a steady load these wait in vain. Here
what comes back is handed to the first who waits.
"""

import asyncio
import time
from collections import deque
from typing import Any

from sqlalchemy import exc
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.util.concurrency import await_only, greenlet_spawn

IDLE_SECONDS = 60.0


class SteadyQueuePool(AsyncAdaptedQueuePool):
    """QueuePool whose overflow connections outlive their check-in.

    ``size()``, ``overflow()`` and ``checkedout()`` mean what they mean there.
    ``lend`` and ``give_back`` are its own way in, for callers that need none of
    what SQLAlchemy wraps around a connection: that wrapping, and the switch to
    a greenlet, cost about as much as a short statement.
    """

    def __init__(
        self, creator: Any, pool_size: int = 10, max_overflow: int = 20, **options: Any
    ) -> None:
        options["use_lifo"] = True  # so that what is not needed stays at the bottom, idle
        super().__init__(creator, pool_size=pool_size, max_overflow=max_overflow, **options)
        self._core_size = pool_size
        self._pool = self._queue_class(pool_size + max_overflow, use_lifo=True)
        self._waiters: deque[asyncio.Future[ConnectionPoolEntry | None]] = deque()
        self._lent: set[ConnectionPoolEntry] = set()
        self._least_idle = 0
        self._window_ends = 0.0

    def size(self) -> int:
        return self._core_size

    def overflow(self) -> int:
        return self._overflow

    def checkedout(self) -> int:
        return self._core_size + self._overflow - self._pool.qsize()

    def waiting(self) -> int:
        """How many callers of ``lend`` wait for a connection to come free."""
        return sum(not waiter.done() for waiter in self._waiters)

    def recreate(self) -> "SteadyQueuePool":
        return self.__class__(
            self._creator,
            pool_size=self._core_size,
            max_overflow=self._max_overflow,
            pre_ping=self._pre_ping,
            timeout=self._timeout,
            recycle=self._recycle,
            echo=self.echo,
            logging_name=self._orig_logging_name,
            reset_on_return=self._reset_on_return,
            _dispatch=self.dispatch,
            dialect=self._dialect,
        )

    async def lend(self) -> ConnectionPoolEntry:
        """A connection that is open as far as this side can know; to be given back.

        Raises SQLAlchemy's TimeoutError when none comes free in time, and the
        driver's errors when a new one can't be opened.
        """
        entry = await self._take()
        if not self._is_fresh(entry):
            try:
                await greenlet_spawn(_reopen, entry)
            except BaseException:
                entry.invalidate()
                self._do_return_conn(entry)
                raise
        self._lent.add(entry)
        return entry

    def give_back(self, entry: ConnectionPoolEntry) -> None:
        """End a loan. One that was invalidated before is opened anew for the next borrower.

        A loan of a pool that this one replaced meanwhile (``recreate``) is closed.
        """
        if entry in self._lent:
            self._lent.discard(entry)
            self._do_return_conn(entry)
        else:
            entry.invalidate()

    def dispose(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ConnectionResetError("the pool was closed"))
        self._waiters.clear()
        super().dispose()

    def _do_get(self) -> ConnectionPoolEntry:
        return await_only(self._take())

    async def _take(self) -> ConnectionPoolEntry:
        gives_up = time.monotonic() + self._timeout
        while True:
            if self._pool.qsize():
                entry = self._pool.get_nowait()
                self._least_idle = min(self._least_idle, self._pool.qsize())
                return entry
            self._least_idle = 0
            if self._inc_overflow():
                try:
                    return await greenlet_spawn(self._create_connection)
                except BaseException:
                    self._dec_overflow()
                    self._hand_to_first(None)
                    raise
            handed = await self._wait(gives_up - time.monotonic())
            if handed is not None:
                return handed

    async def _wait(self, seconds: float) -> ConnectionPoolEntry | None:
        """What another borrower gives back; None when there may be room for one more."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                handed: ConnectionPoolEntry | None = await waiter
                return handed
        except BaseException as error:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                # Given up in the very moment in which something was handed over: to the next.
                entry = waiter.result()
                if entry is None:
                    self._hand_to_first(None)
                else:
                    self._do_return_conn(entry)
            if isinstance(error, TimeoutError):
                raise exc.TimeoutError(
                    f"all {self.size() + self._max_overflow} connections stayed in use"
                    f" for {self._timeout:g} s"
                ) from None
            raise

    def _hand_to_first(self, entry: ConnectionPoolEntry | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(entry)
                return True
        return False

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        if self._hand_to_first(record):
            return
        now = time.monotonic()
        if now >= self._window_ends:
            unneeded = min(self._least_idle, self._overflow)
            self._window_ends = now + IDLE_SECONDS
            self._least_idle = self._pool.qsize() + 1
            if unneeded > 0:
                # One a window and check-in: never a stampede, and the pool shrinks all the same.
                self._window_ends = now
                record.invalidate()
                self._dec_overflow()
                return
        super()._do_return_conn(record)

    def _is_fresh(self, entry: Any) -> bool:
        """Whether it can be used as it is, and not only once it has been opened anew."""
        driver = entry.driver_connection
        # The event loop has seen it when the server closed a connection that lay idle, so that no
        # ping is needed. The rest are the conditions under which SQLAlchemy reopens one.
        return (
            driver is not None
            and not driver.is_closed()
            and entry.starttime >= self._invalidate_time
            and entry.starttime >= entry._soft_invalidate_time
            and (self._recycle < 0 or time.time() - entry.starttime <= self._recycle)
        )


def _reopen(entry: Any) -> None:
    if entry.driver_connection is not None and entry.driver_connection.is_closed():
        entry.invalidate()
    entry.get_connection()
