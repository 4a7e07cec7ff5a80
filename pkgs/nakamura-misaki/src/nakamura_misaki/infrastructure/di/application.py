"""The composed application, of which every entry point makes one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, cast

from nakamura_misaki.application.handoffs import HandoffService
from nakamura_misaki.application.legacy import Stores
from nakamura_misaki.application.notes import NoteService
from nakamura_misaki.application.sessions import SessionService
from nakamura_misaki.application.tasks import TaskService
from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.domain.repositories import EmbeddingStore
from nakamura_misaki.infrastructure.di.databases import (
    STATEMENT_TIMEOUT,
    Announce,
    open_manager,
    require_postgresql,
)
from nakamura_misaki.infrastructure.di.repositories import build_embedder, build_note_repository
from nakamura_misaki.infrastructure.di.workspace import Workspace

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager
    from nakamura_misaki.infrastructure.observing import Observer
    from nakamura_misaki.infrastructure.settings import Settings

MAX_WORKSPACES = 256
"""Workspaces whose stores are kept at hand; beyond, they are built anew, which is cheap."""


class App:
    """The composed application. What is not asked for is not built."""

    def __init__(
        self,
        settings: "Settings",
        manager: "DatabaseManager | None",
        observer: "Observer | None" = None,
    ) -> None:
        self.settings = settings
        self.manager = manager
        self.observer = observer
        self._workspaces: dict[str, Workspace] = {}

    @cached_property
    def embedder(self) -> Embedder:
        return build_embedder(self.settings, self.observer)

    def of(self, workspace_id: str) -> Workspace:
        """A workspace's stores. Raises NotFound for another than the only one of JSON files."""
        known = self._workspaces.get(workspace_id)
        if known is not None:
            return known
        if self.manager is None and workspace_id != self.settings.workspace_id:
            raise NotFound(f"the JSON files hold no workspace {workspace_id}.")
        if len(self._workspaces) >= MAX_WORKSPACES:
            self._workspaces.clear()
        made = Workspace(
            workspace_id, self.settings, self.manager, lambda: self.embedder, self.observer
        )
        self._workspaces[workspace_id] = made
        return made

    @property
    def own(self) -> Workspace:
        """The settings' own workspace."""
        return self.of(self.settings.workspace_id)

    @cached_property
    def stores(self) -> Stores:
        """Everything that is moved in bulk. Needs no embedder, so that none can stop a rollback."""
        own = self.own
        notes = build_note_repository(self.settings, self.manager, None)
        return Stores(
            tasks=own.task_repository,
            handoffs=own.handoff_repository,
            notes=notes,
            sessions=own.session_repository,
            embeddings=None if self.manager is None else cast(EmbeddingStore, notes),
        )

    @property
    def tasks(self) -> TaskService:
        return self.own.tasks

    @property
    def handoffs(self) -> HandoffService:
        return self.own.handoffs

    @property
    def notes(self) -> NoteService:
        return self.own.notes

    @property
    def sessions(self) -> SessionService:
        return self.own.sessions

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


@asynccontextmanager
async def compose(
    settings: "Settings",
    *,
    demo: bool = False,
    announce: Announce = lambda data_dir: None,
    observer: "Observer | None" = None,
    statement_timeout: float = STATEMENT_TIMEOUT,
) -> AsyncIterator[App]:
    """The application on the storage that the settings choose, closed at the end of the block.

    Without DATABASE_URL that is the embedded server, started and brought up to
    date on the way, of which ``announce`` hears; it keeps running
    afterwards. Raises ConfigurationError, StorageUnavailable.
    """
    manager = await open_manager(
        settings,
        demo=demo,
        announce=announce,
        observer=observer,
        statement_timeout=statement_timeout,
    )
    app = App(settings, manager, observer)
    try:
        yield app
    finally:
        await app.close()
