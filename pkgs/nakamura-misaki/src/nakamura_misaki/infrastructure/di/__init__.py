"""The composition root: the only package that knows which adapter stands behind a port.

An entry point composes once, at its start. Adapters are imported when they are
built, so that nobody waits for a library that is not used.
"""

from nakamura_misaki.infrastructure.di.application import App, compose
from nakamura_misaki.infrastructure.di.databases import (
    Announce,
    build_manager,
    demo_settings,
    local_database,
    maintain,
    owner_url,
    require_postgresql,
)
from nakamura_misaki.infrastructure.di.repositories import (
    build_embedder,
    build_event_inbox,
    build_export_target,
    build_handoff_repository,
    build_idempotency_store,
    build_legacy_source,
    build_note_repository,
    build_session_repository,
    build_task_repository,
    build_token_repository,
    json_directory,
)
from nakamura_misaki.infrastructure.di.workspace import Workspace, new_id

__all__ = [
    "Announce",
    "App",
    "Workspace",
    "build_embedder",
    "build_event_inbox",
    "build_export_target",
    "build_handoff_repository",
    "build_idempotency_store",
    "build_legacy_source",
    "build_manager",
    "build_note_repository",
    "build_session_repository",
    "build_task_repository",
    "build_token_repository",
    "compose",
    "demo_settings",
    "json_directory",
    "local_database",
    "maintain",
    "new_id",
    "owner_url",
    "require_postgresql",
]
