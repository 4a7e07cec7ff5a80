"""A connection pool that keeps what it opened.

SQLAlchemy's QueuePool closes an overflow connection as soon as it comes back,
so that a steady load a little above ``pool_size`` opens and closes connections
all the time (32 workers on 10+20: a fifth of the throughput of a steady pool).
This one keeps overflow connections while they are in use again and again and
closes only those that nobody needed during a whole ``IDLE_SECONDS``.
"""

import time
from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

IDLE_SECONDS = 60.0


class SteadyQueuePool(AsyncAdaptedQueuePool):
    """QueuePool whose overflow connections outlive their check-in.

    ``size()``, ``overflow()`` and ``checkedout()`` mean what they mean there.
    """

    def __init__(
        self, creator: Any, pool_size: int = 10, max_overflow: int = 20, **options: Any
    ) -> None:
        options["use_lifo"] = True  # so that what is not needed stays at the bottom, idle
        super().__init__(creator, pool_size=pool_size, max_overflow=max_overflow, **options)
        self._core_size = pool_size
        self._pool = self._queue_class(pool_size + max_overflow, use_lifo=True)
        self._least_idle = 0
        self._window_ends = 0.0

    def size(self) -> int:
        return self._core_size

    def overflow(self) -> int:
        return self._overflow

    def checkedout(self) -> int:
        return self._core_size + self._overflow - self._pool.qsize()

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

    def _do_get(self) -> ConnectionPoolEntry:
        entry = super()._do_get()
        self._least_idle = min(self._least_idle, self._pool.qsize())
        return entry

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
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
