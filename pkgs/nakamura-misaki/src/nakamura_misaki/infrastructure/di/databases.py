"""Which database the settings mean, and what opens it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.infrastructure.di.repositories import json_directory

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.local import LocalDatabase
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager
    from nakamura_misaki.infrastructure.observing import QueryObserver
    from nakamura_misaki.infrastructure.settings import Settings

STATEMENT_TIMEOUT = 60.0
"""Seconds; an import may take its time."""


def demo_settings(settings: "Settings") -> "Settings":
    """The settings with which the demo runs: the embedded server, and vectors without a key.

    The demo's notes are embedded offline, so every later question to them is, too.
    """
    return settings.model_copy(
        update={
            "storage_backend": "postgresql",
            "database_url": None,
            "database_owner_url": None,
            "database_admin_url": None,
            "embedding_provider": "hashing",
            "embedding_dimensions": None,
        }
    )


def local_database(settings: "Settings", *, demo: bool = False) -> "LocalDatabase":
    """The embedded server's database that stands in where no DATABASE_URL is set."""
    from nakamura_misaki.infrastructure.database.local import LocalDatabase, LocalName

    return LocalDatabase(settings.data_dir, LocalName.DEMO if demo else LocalName.MAIN)


Announce: TypeAlias = Callable[[Path], None]
"""Hears that the embedded server serves, and from which data directory."""


async def owner_url(
    settings: "Settings", *, demo: bool = False, announce: Announce = lambda data_dir: None
) -> str:
    """The URL of the role that may change the schema; starts the embedded server if it is that.

    Without DATABASE_OWNER_URL it is DATABASE_URL itself.
    """
    configured = settings.database_owner_url or settings.database_url
    if configured is not None:
        return configured.get_secret_value()
    database = local_database(settings, demo=demo)
    announce(database.server.data_dir)
    await database.create()
    return database.owner_url


async def maintain(
    settings: "Settings", *, demo: bool = False, announce: Announce = lambda data_dir: None
) -> list[str]:
    """Build and fill vector indexes as the notes call for; what was done, in sentences.

    Raises ConfigurationError where the storage is JSON files or the role may not.
    """
    from nakamura_misaki.infrastructure.database.maintenance import maintain

    require_postgresql(settings)
    url = await owner_url(settings, demo=demo, announce=announce)
    return (await maintain(url, settings.workspace_id)).actions


def require_postgresql(settings: "Settings") -> None:
    """Raise ConfigurationError where the storage is JSON files."""
    if settings.storage_backend != "postgresql":
        raise ConfigurationError(
            "this needs PostgreSQL, and STORAGE_BACKEND is json; unset it or set it to postgresql."
        )


async def open_manager(
    settings: "Settings",
    *,
    demo: bool,
    announce: Announce,
    observer: "QueryObserver | None" = None,
    statement_timeout: float = STATEMENT_TIMEOUT,
) -> "DatabaseManager | None":
    """The pool for the storage that the settings choose; None for JSON files.

    Starts the embedded server and brings it up to date where no DATABASE_URL is set.
    ``statement_timeout`` is in seconds: see DatabaseManager.
    """
    if settings.storage_backend == "json":
        json_directory(settings)
        return None
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        return build_manager(settings, url, observer, statement_timeout)
    database = local_database(settings, demo=demo)
    announce(database.server.data_dir)
    if demo and not await database.exists():
        raise ConfigurationError("there is no demo yet; run first: nakamura-misaki demo")
    await database.ensure()
    return build_manager(settings, database.url, observer, statement_timeout)


def build_manager(
    settings: "Settings",
    url: str,
    observer: "QueryObserver | None" = None,
    statement_timeout: float = STATEMENT_TIMEOUT,
) -> "DatabaseManager":
    """The pool of connections to the database at the URL. Opens none yet."""
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager

    return DatabaseManager(
        url,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        workspace_id=settings.workspace_id,
        observer=observer,
        statement_timeout=statement_timeout,
    )
