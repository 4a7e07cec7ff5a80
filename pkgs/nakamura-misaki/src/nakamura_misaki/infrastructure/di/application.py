"""The composition root: the only module that knows which adapter stands behind a port.

An entry point composes once, at its start. Adapters are imported when they are
built, so that nobody waits for a library that is not used.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast
from uuid import UUID

from nakamura_misaki.application.handoffs import HandoffService
from nakamura_misaki.application.legacy import ExportTarget, LegacySource, Stores
from nakamura_misaki.application.notes import NoteService
from nakamura_misaki.application.sessions import SessionService
from nakamura_misaki.application.tasks import TaskService
from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.repositories import (
    EmbeddingStore,
    HandoffRepository,
    NoteRepository,
    SessionRepository,
    TaskRepository,
)

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.local import LocalDatabase
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager
    from nakamura_misaki.infrastructure.settings import Settings


def demo_settings(settings: "Settings") -> "Settings":
    """The settings with which the demo runs: the embedded server, and vectors without a key.

    The demo's notes are embedded offline, so every later question to them is, too.
    """
    return settings.model_copy(
        update={
            "storage_backend": "postgresql",
            "database_url": None,
            "database_owner_url": None,
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


def build_embedder(settings: "Settings") -> Embedder:
    """The embedder that the settings choose. Raises ConfigurationError for a model unknown."""
    if settings.effective_embedding_provider == "openai":
        from nakamura_misaki.adapters.secondary.openai_embedder import OpenAIEmbedder

        key = settings.openai_api_key
        if key is None and settings.openai_base_url is None:
            raise ConfigurationError(
                "EMBEDDING_PROVIDER=openai needs OPENAI_API_KEY, or OPENAI_BASE_URL for a server"
                " of your own."
            )
        return OpenAIEmbedder(
            api_key=key.get_secret_value() if key else None,
            model=settings.embedding_model,
            dimensions=settings.embedding_dimensions,
            base_url=settings.openai_base_url,
            timeout=settings.embedding_timeout,
            max_input_tokens=settings.embedding_max_input_tokens,
        )
    from nakamura_misaki.adapters.secondary.hashing_embedder import (
        DEFAULT_DIMENSIONS,
        HashingEmbedder,
    )

    return HashingEmbedder(settings.embedding_dimensions or DEFAULT_DIMENSIONS)


def build_task_repository(
    settings: "Settings", manager: "DatabaseManager | None"
) -> TaskRepository:
    """The store of tasks that STORAGE_BACKEND chooses; ``manager`` is for PostgreSQL."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository

        return JsonTaskRepository(json_directory(settings), time_zone=settings.time_zone)
    from nakamura_misaki.adapters.secondary.postgresql_task_repository import (
        PostgreSQLTaskRepository,
    )

    return PostgreSQLTaskRepository(manager, time_zone=settings.time_zone)


def build_handoff_repository(
    settings: "Settings", manager: "DatabaseManager | None"
) -> HandoffRepository:
    """The store of handoffs that STORAGE_BACKEND chooses; ``manager`` is for PostgreSQL."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_handoff_repository import JsonHandoffRepository

        return JsonHandoffRepository(json_directory(settings))
    from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
        PostgreSQLHandoffRepository,
    )

    return PostgreSQLHandoffRepository(manager)


def build_note_repository(
    settings: "Settings", manager: "DatabaseManager | None", embedder: Embedder | None
) -> NoteRepository:
    """The store of notes that STORAGE_BACKEND chooses.

    ``manager`` and ``embedder`` are for PostgreSQL; JSON files hold no vectors.
    """
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_note_repository import JsonNoteRepository

        return JsonNoteRepository(json_directory(settings))
    from nakamura_misaki.adapters.secondary.postgresql_embedding_store import (
        WEIGHT_OF_LETTERS,
        WEIGHT_OF_MEANING,
    )
    from nakamura_misaki.adapters.secondary.postgresql_note_repository import (
        PostgreSQLNoteRepository,
    )

    is_lexical = settings.effective_embedding_provider == "hashing"
    return PostgreSQLNoteRepository(
        manager,
        embedder,
        query_timeout=settings.embedding_query_timeout,
        vector_weight=WEIGHT_OF_LETTERS if is_lexical else WEIGHT_OF_MEANING,
    )


def build_session_repository(
    settings: "Settings", manager: "DatabaseManager | None"
) -> SessionRepository:
    """The store of sessions that STORAGE_BACKEND chooses; ``manager`` is for PostgreSQL."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_session_repository import JsonSessionRepository

        return JsonSessionRepository(json_directory(settings), time_zone=settings.time_zone)
    from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
        PostgreSQLSessionRepository,
    )

    return PostgreSQLSessionRepository(manager)


def build_legacy_source(settings: "Settings", directory: Path) -> LegacySource:
    """The JSON files that a migration reads; their local times are of the team's zone."""
    from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory

    return LegacyDirectory(directory, time_zone=settings.time_zone)


def build_export_target(settings: "Settings", directory: Path) -> ExportTarget:
    """The JSON files that an export writes; their local times are of the team's zone."""
    from nakamura_misaki.adapters.secondary.legacy_export import ExportDirectory

    return ExportDirectory(directory, time_zone=settings.time_zone)


def json_directory(settings: "Settings") -> Path:
    """Where the JSON files lie. Raises ConfigurationError if no setting says so."""
    if settings.json_data_dir is None:
        raise ConfigurationError("STORAGE_BACKEND=json needs JSON_DATA_DIR, the directory to use.")
    return settings.json_data_dir


class App:
    """The composed application. What is not asked for is not built."""

    def __init__(self, settings: "Settings", manager: "DatabaseManager | None") -> None:
        self.settings = settings
        self.manager = manager

    @cached_property
    def embedder(self) -> Embedder:
        return build_embedder(self.settings)

    @cached_property
    def task_repository(self) -> TaskRepository:
        return build_task_repository(self.settings, self.manager)

    @cached_property
    def handoff_repository(self) -> HandoffRepository:
        return build_handoff_repository(self.settings, self.manager)

    @cached_property
    def note_repository(self) -> NoteRepository:
        embedder = None if self.manager is None else self.embedder
        return build_note_repository(self.settings, self.manager, embedder)

    @cached_property
    def session_repository(self) -> SessionRepository:
        return build_session_repository(self.settings, self.manager)

    @cached_property
    def stores(self) -> Stores:
        """Everything that is moved in bulk. Needs no embedder, so that none can stop a rollback."""
        notes = build_note_repository(self.settings, self.manager, None)
        return Stores(
            tasks=self.task_repository,
            handoffs=self.handoff_repository,
            notes=notes,
            sessions=self.session_repository,
            embeddings=None if self.manager is None else cast(EmbeddingStore, notes),
        )

    @property
    def tasks(self) -> TaskService:
        return TaskService(self.task_repository, new_id=new_id)

    @property
    def handoffs(self) -> HandoffService:
        return HandoffService(self.handoff_repository, new_id=new_id)

    @property
    def notes(self) -> NoteService:
        return NoteService(self.note_repository, new_id=new_id)

    @property
    def sessions(self) -> SessionService:
        return SessionService(self.session_repository)

    @property
    def database(self) -> "DatabaseManager":
        """The database. Raises ConfigurationError where the storage is JSON files."""
        require_postgresql(self.settings)
        assert self.manager is not None  # compose() opens it for this very setting
        return self.manager

    @property
    def embedding_store(self) -> EmbeddingStore:
        """Where vectors are kept. Raises ConfigurationError where the storage is JSON files."""
        from nakamura_misaki.adapters.secondary.postgresql_note_repository import (
            PostgreSQLNoteRepository,
        )

        return PostgreSQLNoteRepository(self.database, self.embedder)

    async def close(self) -> None:
        """Close what was built: the embedder's connections, then the database's."""
        try:
            if "embedder" in self.__dict__:
                await self.embedder.close()
        finally:
            if self.manager is not None:
                await self.manager.close()


def new_id() -> UUID:
    """A new UUIDv7: ids in the order of their time (RFC 9562, section 5.7)."""
    from uuid_utils.compat import uuid7

    return uuid7()


@asynccontextmanager
async def compose(
    settings: "Settings",
    *,
    demo: bool = False,
    announce: Announce = lambda data_dir: None,
) -> AsyncIterator[App]:
    """The application on the storage that the settings choose, closed at the end of the block.

    Without DATABASE_URL that is the embedded server, started and brought up to
    date on the way, of which ``announce`` hears; it keeps running
    afterwards. Raises ConfigurationError, StorageUnavailable.
    """
    app = App(settings, await _open_manager(settings, demo=demo, announce=announce))
    try:
        yield app
    finally:
        await app.close()


async def _open_manager(
    settings: "Settings", *, demo: bool, announce: Announce
) -> "DatabaseManager | None":
    if settings.storage_backend == "json":
        json_directory(settings)
        return None
    if settings.database_url is not None:
        return build_manager(settings, settings.database_url.get_secret_value())
    database = local_database(settings, demo=demo)
    announce(database.server.data_dir)
    if demo and not await database.exists():
        raise ConfigurationError("there is no demo yet; run first: nakamura-misaki demo")
    await database.ensure()
    return build_manager(settings, database.url)


def build_manager(settings: "Settings", url: str) -> "DatabaseManager":
    """The pool of connections to the database at the URL. Opens none yet."""
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager

    return DatabaseManager(
        url,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout,
        workspace_id=settings.workspace_id,
    )
