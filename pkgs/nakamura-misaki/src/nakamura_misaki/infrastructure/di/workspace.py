"""One workspace's stores and use cases."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from nakamura_misaki.application.access import TokenRepository, TokenService
from nakamura_misaki.application.handoffs import HandoffService
from nakamura_misaki.application.idempotency import IdempotencyStore
from nakamura_misaki.application.inbox import EventInbox
from nakamura_misaki.application.notes import NoteService
from nakamura_misaki.application.sessions import SessionService
from nakamura_misaki.application.tasks import TaskService
from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.domain.repositories import (
    HandoffRepository,
    NoteRepository,
    SessionRepository,
    TaskRepository,
)
from nakamura_misaki.infrastructure.di.repositories import (
    build_event_inbox,
    build_handoff_repository,
    build_idempotency_store,
    build_note_repository,
    build_session_repository,
    build_task_repository,
    build_token_repository,
)

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager
    from nakamura_misaki.infrastructure.observing import Observer
    from nakamura_misaki.infrastructure.settings import Settings


def new_id() -> UUID:
    """A new UUIDv7: ids in the order of their time (RFC 9562, section 5.7)."""
    from uuid_utils.compat import uuid7

    return uuid7()


class Workspace:
    """Stores and use cases of one workspace. What is not asked for is not built."""

    def __init__(
        self,
        workspace_id: str,
        settings: "Settings",
        manager: "DatabaseManager | None",
        embedder: Callable[[], Embedder],
        observer: "Observer | None" = None,
    ) -> None:
        self.workspace_id = workspace_id
        self._settings = settings
        self._manager = manager
        self._embedder = embedder
        self._observer = observer

    @cached_property
    def task_repository(self) -> TaskRepository:
        return build_task_repository(self._settings, self._manager, self.workspace_id)

    @cached_property
    def handoff_repository(self) -> HandoffRepository:
        return build_handoff_repository(self._settings, self._manager, self.workspace_id)

    @cached_property
    def note_repository(self) -> NoteRepository:
        embedder = None if self._manager is None else self._embedder()
        return build_note_repository(
            self._settings,
            self._manager,
            embedder,
            self.workspace_id,
            outlives_switch=self._observer is not None,  # only a service is observed
        )

    @cached_property
    def session_repository(self) -> SessionRepository:
        return build_session_repository(self._settings, self._manager, self.workspace_id)

    @cached_property
    def token_repository(self) -> TokenRepository:
        return build_token_repository(self._settings, self._manager, self.workspace_id)

    @cached_property
    def idempotency_store(self) -> IdempotencyStore:
        return build_idempotency_store(self._settings, self._manager, self.workspace_id)

    @cached_property
    def inbox(self) -> EventInbox:
        return build_event_inbox(self._settings, self._manager, self.workspace_id)

    @property
    def tasks(self) -> TaskService:
        return TaskService(self.task_repository, new_id=new_id)

    @property
    def handoffs(self) -> HandoffService:
        return HandoffService(self.handoff_repository, new_id=new_id)

    @property
    def notes(self) -> NoteService:
        on_search = None if self._observer is None else self._observer.searched
        return NoteService(self.note_repository, new_id=new_id, on_search=on_search)

    @property
    def sessions(self) -> SessionService:
        return SessionService(self.session_repository)

    @property
    def tokens(self) -> TokenService:
        return TokenService(self.token_repository, workspace_id=self.workspace_id, new_id=new_id)
