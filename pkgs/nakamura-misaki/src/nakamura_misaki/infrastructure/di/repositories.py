"""Which adapter stands behind each port of the data layer.

``manager`` None means JSON files, which hold one workspace; ``workspace_id``
None means the settings' own.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nakamura_misaki.application.access import TokenRepository
from nakamura_misaki.application.idempotency import IdempotencyStore
from nakamura_misaki.application.inbox import EventInbox
from nakamura_misaki.application.legacy import ExportTarget, LegacySource
from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.repositories import (
    HandoffRepository,
    NoteRepository,
    SessionRepository,
    TaskRepository,
)

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.database.manager import DatabaseManager
    from nakamura_misaki.infrastructure.observing import Observer
    from nakamura_misaki.infrastructure.settings import Settings


def build_embedder(settings: "Settings", observer: "Observer | None" = None) -> Embedder:
    """The embedder that the settings choose. Raises ConfigurationError for a model unknown.

    With an observer, which a service has, it is suspended while it fails.
    """
    embedder = _build_embedder(settings)
    if observer is None:
        return embedder
    from nakamura_misaki.adapters.secondary.guarded_embedder import GuardedEmbedder

    # A search gives up on its question's vector at its bound; a little earlier is that, too.
    patience = 0.9 * settings.embedding_query_timeout
    return GuardedEmbedder(embedder, observer, patience=patience)


def _build_embedder(settings: "Settings") -> Embedder:
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
    settings: "Settings", manager: "DatabaseManager | None", workspace_id: str | None = None
) -> TaskRepository:
    """The store of tasks that STORAGE_BACKEND chooses."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository

        return JsonTaskRepository(json_directory(settings), time_zone=settings.time_zone)
    from nakamura_misaki.adapters.secondary.postgresql_task_repository import (
        PostgreSQLTaskRepository,
    )

    return PostgreSQLTaskRepository(
        manager, workspace_id=workspace_id, time_zone=settings.time_zone
    )


def build_handoff_repository(
    settings: "Settings", manager: "DatabaseManager | None", workspace_id: str | None = None
) -> HandoffRepository:
    """The store of handoffs that STORAGE_BACKEND chooses."""
    lead = timedelta(minutes=settings.reminder_lead_minutes)
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_handoff_repository import JsonHandoffRepository

        return JsonHandoffRepository(json_directory(settings), lead=lead)
    from nakamura_misaki.adapters.secondary.postgresql_handoff_repository import (
        PostgreSQLHandoffRepository,
    )

    return PostgreSQLHandoffRepository(manager, workspace_id=workspace_id, lead=lead)


def build_note_repository(
    settings: "Settings",
    manager: "DatabaseManager | None",
    embedder: Embedder | None,
    workspace_id: str | None = None,
    *,
    outlives_switch: bool = False,
) -> NoteRepository:
    """The store of notes that STORAGE_BACKEND chooses; JSON files hold no vectors.

    ``outlives_switch``: for a service, which goes on when its model is replaced.
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
        workspace_id=workspace_id,
        query_timeout=settings.embedding_query_timeout,
        vector_weight=WEIGHT_OF_LETTERS if is_lexical else WEIGHT_OF_MEANING,
        outlives_switch=outlives_switch,
    )


def build_session_repository(
    settings: "Settings", manager: "DatabaseManager | None", workspace_id: str | None = None
) -> SessionRepository:
    """The store of sessions that STORAGE_BACKEND chooses."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_session_repository import JsonSessionRepository

        return JsonSessionRepository(json_directory(settings), time_zone=settings.time_zone)
    from nakamura_misaki.adapters.secondary.postgresql_session_repository import (
        PostgreSQLSessionRepository,
    )

    return PostgreSQLSessionRepository(manager, workspace_id=workspace_id)


def build_token_repository(
    settings: "Settings", manager: "DatabaseManager | None", workspace_id: str | None = None
) -> TokenRepository:
    """The store of API tokens that STORAGE_BACKEND chooses."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_token_repository import JsonTokenRepository

        return JsonTokenRepository(json_directory(settings))
    from nakamura_misaki.adapters.secondary.postgresql_token_repository import (
        PostgreSQLTokenRepository,
    )

    return PostgreSQLTokenRepository(manager, workspace_id)


def build_idempotency_store(
    settings: "Settings", manager: "DatabaseManager | None", workspace_id: str | None = None
) -> IdempotencyStore:
    """The store of idempotency keys that STORAGE_BACKEND chooses."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_idempotency_store import JsonIdempotencyStore

        return JsonIdempotencyStore(json_directory(settings))
    from nakamura_misaki.adapters.secondary.postgresql_idempotency_store import (
        PostgreSQLIdempotencyStore,
    )

    return PostgreSQLIdempotencyStore(manager, workspace_id)


def build_event_inbox(
    settings: "Settings", manager: "DatabaseManager | None", workspace_id: str | None = None
) -> EventInbox:
    """The inbox of events that STORAGE_BACKEND chooses."""
    if manager is None:
        from nakamura_misaki.adapters.secondary.json_event_inbox import JsonEventInbox

        return JsonEventInbox(json_directory(settings))
    from nakamura_misaki.adapters.secondary.postgresql_event_inbox import PostgreSQLEventInbox

    return PostgreSQLEventInbox(manager, workspace_id)


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
