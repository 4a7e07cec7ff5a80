"""The one way to the database: pool, sessions, transactions, retries."""

import asyncio
import contextlib
import functools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from nakamura_misaki.infrastructure.database.errors import (
    domain_error,
    driver_error,
    is_connection_lost,
    is_transient,
)
from nakamura_misaki.infrastructure.database.pool import SteadyQueuePool
from nakamura_misaki.infrastructure.database.vector_codec import set_vector_codec
from nakamura_misaki.infrastructure.observing import QueryObserver

Connection: TypeAlias = Any
"""An asyncpg connection (asyncpg ships no types)."""

T = TypeVar("T")
Operation: TypeAlias = Callable[[Connection], Awaitable[T]]

MAX_RETRIES = 3
WORKSPACE_SETTING = "nakamura_misaki.workspace_id"

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """Connections of the pool at one moment, and how many callers wait for one."""

    pool_size: int
    max_overflow: int
    opened: int
    in_use: int
    waiting: int


@dataclass(slots=True)
class _OpenTransaction:
    connection: Connection
    workspace_id: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    has_ended: bool = False
    nesting: asyncio.Task[Any] | None = None
    """The task whose savepoints are open."""

    def require(self, workspace_id: str) -> None:
        if workspace_id != self.workspace_id:
            raise RuntimeError("one transaction can't reach two workspaces")


class DatabaseManager:
    """A pool of connections to one database, all of them bound to one workspace at a time.

    ``database_url`` is a ``postgresql+asyncpg://`` URL. ``pool_timeout`` and
    ``connect_timeout`` are in seconds: how long to wait for a free connection
    and for a new one; ``statement_timeout`` likewise: how long a statement may
    run, and a transaction lie idle. ``role`` is one to act as, other than the
    URL's. Row-level security sees the workspace through the setting
    ``nakamura_misaki.workspace_id``, which every connection carries from its
    start; a connection lent to another workspace is switched on the way.

    Repositories use ``run``, which lends the bare asyncpg connection: that costs
    little more than a prepared statement on a connection of one's own, where an
    ORM session costs several (docs/performance.md). ``get_session`` gives one.
    """

    def __init__(
        self,
        database_url: str,
        *,
        pool_size: int = 10,
        max_overflow: int = 20,
        pool_timeout: float = 5.0,
        connect_timeout: float = 5.0,
        pool_recycle: float = 1800.0,
        statement_timeout: float = 60.0,
        workspace_id: str = "default",
        application_name: str = "nakamura-misaki",
        role: str | None = None,
        observer: QueryObserver | None = None,
    ) -> None:
        self.workspace_id = workspace_id
        self._observer = observer
        self._max_overflow = max_overflow
        self._engine = create_async_engine(
            make_url(database_url),
            poolclass=SteadyQueuePool,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout,
            pool_recycle=pool_recycle,
            hide_parameters=True,
            connect_args={
                "timeout": connect_timeout,
                # For a server that is gone without a word; one that is there ends statements itself.
                "command_timeout": statement_timeout + min(15.0, statement_timeout / 2),
                "server_settings": {
                    "application_name": application_name,
                    "jit": "off",  # it compiles longer than any of these statements runs
                    "timezone": "UTC",
                    "statement_timeout": f"{statement_timeout:.3f}s",
                    # A statement whose caller is gone is ended, also where the request to cancel
                    # it came too early to hit it.
                    "client_connection_check_interval": "2s",
                    "lock_timeout": f"{min(10.0, statement_timeout):.3f}s",
                    "idle_in_transaction_session_timeout": f"{statement_timeout:.3f}s",
                    WORKSPACE_SETTING: workspace_id,
                    **({} if role is None else {"role": role}),
                },
            },
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._current: ContextVar[_OpenTransaction | None] = ContextVar("transaction", default=None)

        @event.listens_for(self._engine.sync_engine, "connect")
        def on_connect(dbapi_connection: Any, record: Any) -> None:
            dbapi_connection.run_async(set_vector_codec)
            record.info["workspace_id"] = workspace_id

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine on the same pool."""
        return self._engine

    @property
    def pool(self) -> SteadyQueuePool:
        pool = self._engine.sync_engine.pool
        assert isinstance(pool, SteadyQueuePool)
        return pool

    def pool_status(self) -> PoolStatus:
        pool = self.pool
        return PoolStatus(
            pool_size=pool.size(),
            max_overflow=self._max_overflow,
            opened=pool.size() + pool.overflow(),
            in_use=pool.checkedout(),
            waiting=pool.waiting(),
        )

    async def close(self) -> None:
        """Close every connection; those in use when they are given back.

        The manager opens new ones if it is used again.
        """
        await self._engine.dispose()

    async def run(
        self, operation: Operation[T], *, workspace_id: str | None = None, name: str | None = None
    ) -> T:
        """Run one operation on a connection of the workspace; its result.

        ``name`` is what the observer hears of it (default: see ``operation_name``).

        Outside ``transaction()`` every statement commits by itself, and the
        operation is run again (up to three times, with exponential backoff and
        jitter) when the connection is lost, or the database rolled back for a
        deadlock or a serialization failure: it must be harmless to run twice.
        Inside, it joins the open transaction, and retries are its owner's.
        Raises the errors of ``domain.errors``.
        """
        workspace = workspace_id or self.workspace_id
        current = self._open_transaction()
        if self._observer is not None:
            operation = _observed(operation, name or operation_name(operation), self._observer)
        try:
            if current is not None:
                async with current.lock:
                    if not current.has_ended:
                        current.require(workspace)
                        return await operation(current.connection)
            try:
                return await self._attempt(operation, workspace)
            except Exception as error:
                if not _is_worth_another(error):
                    raise
            return await self._again(lambda: self._attempt(operation, workspace))
        except Exception as error:
            raise domain_error(error) from error

    async def run_in_transaction(
        self, body: Callable[[], Awaitable[T]], *, workspace_id: str | None = None
    ) -> T:
        """Run ``body`` in one transaction, again as a whole when that may help."""

        async def attempt() -> T:
            async with self._begun(workspace_id or self.workspace_id):
                return await body()

        try:
            try:
                return await attempt()
            except Exception as error:
                if self._open_transaction() is not None or not _is_worth_another(error):
                    raise
            return await self._again(attempt)
        except Exception as error:
            raise domain_error(error) from error

    @contextlib.asynccontextmanager
    async def transaction(self, *, workspace_id: str | None = None) -> AsyncIterator[Connection]:
        """Group all that runs inside, in this task and its children, into one transaction.

        Committed at the end, rolled back on any error and on cancellation. Not
        retried (a block can't be run again): see ``run_in_transaction``. A
        transaction inside a transaction is a savepoint.
        """
        try:
            async with self._begun(workspace_id or self.workspace_id) as connection:
                yield connection
        except Exception as error:
            raise domain_error(error) from error

    @contextlib.asynccontextmanager
    async def get_session(self) -> AsyncIterator[AsyncSession]:
        """An ORM session in a transaction: committed at the end, rolled back on any error."""
        try:
            async with self._sessions() as session, session.begin():
                raw = await (await session.connection()).get_raw_connection()
                await _bind(raw.driver_connection, raw.info, self.workspace_id)
                yield session
        except Exception as error:
            raise domain_error(error) from error

    @contextlib.asynccontextmanager
    async def connection(self, *, workspace_id: str | None = None) -> AsyncIterator[Connection]:
        """Lend a driver connection of the workspace. Raises the driver's own errors."""
        entry = await self._lend(workspace_id or self.workspace_id)
        try:
            yield entry.driver_connection
        except BaseException as error:
            self._take_back(entry, error)
            raise
        self._take_back(entry)

    async def _attempt(self, operation: Operation[T], workspace: str) -> T:
        # What connection() does, without the cost of a generator: this is every statement's way.
        entry = await self._lend(workspace)
        try:
            result = await operation(entry.driver_connection)
        except BaseException as error:
            self._take_back(entry, error)
            raise
        self._take_back(entry)
        return result

    async def _lend(self, workspace: str) -> ConnectionPoolEntry:
        if self._observer is None:
            entry = await self.pool.lend()
        else:
            started = time.perf_counter()
            try:
                entry = await self.pool.lend()
            finally:
                self._observer.waited(time.perf_counter() - started)
        try:
            await _bind(entry.driver_connection, entry.info, workspace)
        except BaseException as error:
            self._take_back(entry, error)
            raise
        return entry

    def _take_back(self, entry: ConnectionPoolEntry, error: BaseException | None = None) -> None:
        if error is not None and (not isinstance(error, Exception) or is_connection_lost(error)):
            # Cancelled in the middle of a statement, or broken: closing the socket at once rolls
            # back whatever was open and leaves nothing half-done to the next user.
            entry.invalidate()
        self.pool.give_back(entry)

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        async for trial in AsyncRetrying(
            retry=retry_if_exception(_is_worth_another),
            stop=stop_after_attempt(MAX_RETRIES),
            wait=wait_random_exponential(multiplier=0.25, max=2.0),
            reraise=True,
        ):
            with trial:
                return await attempt()
        raise AssertionError("unreachable: tenacity raises the last error")

    @contextlib.asynccontextmanager
    async def _begun(self, workspace: str) -> AsyncIterator[Connection]:
        current = self._open_transaction()
        if current is not None:
            current.require(workspace)
            task, outer = asyncio.current_task(), current.nesting
            if outer not in (None, task):
                raise RuntimeError("two tasks can't have savepoints in one transaction at once")
            current.nesting = task
            try:
                async with current.connection.transaction():
                    yield current.connection
            finally:
                current.nesting = outer
            return
        async with self.connection(workspace_id=workspace) as connection, connection.transaction():
            begun = _OpenTransaction(connection, workspace)
            token = self._current.set(begun)
            try:
                yield connection
                async with begun.lock:  # what a child task is in the middle of still belongs to it
                    begun.has_ended = True
                    # If a statement failed and somebody swallowed its error, the server would
                    # answer COMMIT by rolling back, and say so to nobody.
                    await connection.execute("SELECT 1")
            finally:
                begun.has_ended = True
                self._current.reset(token)

    def _open_transaction(self) -> _OpenTransaction | None:
        current = self._current.get()
        # A child task may outlive the transaction in which it began, and the connection is
        # somebody else's by then.
        return None if current is None or current.has_ended else current


def operation_name(operation: Operation[Any]) -> str:
    """``task.get`` for what stands in ``PostgreSQLTaskRepository.get``."""
    code = getattr(operation, "__code__", None)
    return "other" if code is None else _name_of(code.co_qualname)


@functools.cache
def _name_of(qualified: str) -> str:
    owner, _, rest = qualified.partition(".")
    method = rest.partition(".")[0].lstrip("_")
    if not method or method == "<locals>":
        return owner.lstrip("_")
    kind = owner.removeprefix("PostgreSQL").removesuffix("Repository") or "repository"
    return f"{_CAPITAL.sub('_', kind).lower()}.{method}"


def _observed(operation: Operation[T], name: str, observer: QueryObserver) -> Operation[T]:
    async def timed(connection: Connection) -> T:
        started = time.perf_counter()
        failed = True
        try:
            result = await operation(connection)
            failed = False
            return result
        finally:
            observer.queried(name, time.perf_counter() - started, failed=failed)

    return timed


async def _bind(driver: Connection, info: Any, workspace: str) -> None:
    """Switch a connection to the workspace, unless ``info``, its pool entry's, says it is there."""
    if info.get("workspace_id") != workspace:
        info["workspace_id"] = None
        await driver.execute("SELECT set_config($1, $2, false)", WORKSPACE_SETTING, workspace)
        info["workspace_id"] = workspace


def _is_worth_another(error: BaseException) -> bool:
    """Whether to run it again. A server that gave no answer in its time was waited for enough."""
    root = _root(error)
    return is_transient(root) and not isinstance(driver_error(root), TimeoutError)


def _root(error: BaseException) -> BaseException:
    """The driver's error that an operation inside a transaction was translated from."""
    return error.__cause__ if error.__cause__ is not None else error
