"""The boundary where errors of the driver become errors of this package."""

from asyncpg import exceptions as pg
from asyncpg.exceptions import ClientConfigurationError, InterfaceError, InternalClientError
from sqlalchemy import exc as sa
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from nakamura_misaki.domain.errors import (
    ConfigurationError,
    InvalidInput,
    NakamuraMisakiError,
    PoolExhausted,
    SchemaOutdated,
    StorageUnavailable,
)

_CONNECTION_LOST = (
    pg.PostgresConnectionError,  # class 08
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.CannotConnectNowError,
    pg.TooManyConnectionsError,
    pg.IdleInTransactionSessionTimeoutError,
    InternalClientError,
    OSError,  # includes ConnectionError, TimeoutError and socket.gaierror
)
_ROLLED_BACK = (pg.DeadlockDetectedError, pg.SerializationError, pg.InvalidCachedStatementError)
_NOT_OUR_SCHEMA = (
    pg.UndefinedTableError,
    pg.UndefinedColumnError,
    pg.UndefinedFunctionError,
    pg.UndefinedObjectError,
)
_GAVE_UP = (
    pg.LockNotAvailableError,
    pg.QueryCanceledError,
    pg.ReadOnlySQLTransactionError,
    pg.InsufficientResourcesError,  # class 53: a full disk, no memory
    pg.ObjectNotInPrerequisiteStateError,  # such as a database that takes no connections
)
_REFUSED = (
    pg.InvalidAuthorizationSpecificationError,
    pg.InvalidCatalogNameError,
    pg.InsufficientPrivilegeError,
)


def driver_error(error: BaseException) -> BaseException:
    """asyncpg's own error inside SQLAlchemy's two wrappings, or the error itself."""
    if isinstance(error, sa.DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error) and error.__cause__ is not None:
        return error.__cause__
    return error


def is_connection_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that what ran on it may or may not have happened."""
    error = driver_error(error)
    if isinstance(error, InterfaceError):
        return "closed" in str(error) or "lost" in str(error)
    return isinstance(error, _CONNECTION_LOST)


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction, run again, may succeed."""
    return is_connection_lost(error) or isinstance(driver_error(error), _ROLLED_BACK)


def domain_error(error: Exception) -> Exception:
    """What to raise in place of ``error``; the error itself where nothing fits better."""
    if isinstance(error, NakamuraMisakiError):
        return error
    if isinstance(error, sa.TimeoutError):
        return PoolExhausted(
            "Every database connection stayed in use for too long; try again,"
            " or raise POOL_SIZE or MAX_OVERFLOW."
        )
    error = driver_error(error)  # type: ignore[assignment]  # an Exception stays one
    if isinstance(error, _ROLLED_BACK):
        return StorageUnavailable("The database kept rolling back in favour of others; try again.")
    if isinstance(error, _REFUSED):
        reason = error.args[0]
        return ConfigurationError(f"The database refuses: {reason}.")
    if isinstance(error, ClientConfigurationError):
        return ConfigurationError(f"DATABASE_URL can't be used: {_describe(error)}.")
    if isinstance(error, pg.InFailedSQLTransactionError):
        return StorageUnavailable(
            "An earlier statement of this transaction failed, so nothing of it was stored."
        )
    if is_connection_lost(error):
        return StorageUnavailable(f"The database can't be reached ({_describe(error)}).")
    if isinstance(error, _GAVE_UP):
        return StorageUnavailable(f"The database could not do it now: {_describe(error)}.")
    if isinstance(error, _NOT_OUR_SCHEMA):
        return SchemaOutdated(
            f"The database's schema does not fit this release ({_describe(error)});"
            " run: nakamura-misaki init-db"
        )
    if isinstance(error, (pg.DataError, pg.ProgramLimitExceededError)):
        return InvalidInput(f"The database can't hold this: {_describe(error)}.")
    return error


def _describe(error: BaseException) -> str:
    text = str(error).strip().rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__
