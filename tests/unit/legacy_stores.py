"""Stores, directories and entries that the tests of migration and export share."""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_handoff_repository import JsonHandoffRepository
from nakamura_misaki.adapters.secondary.json_note_repository import JsonNoteRepository
from nakamura_misaki.adapters.secondary.json_session_repository import JsonSessionRepository
from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.application.legacy import Entry, Rejection, Stores
from nakamura_misaki.domain.embedding import Embedding
from nakamura_misaki.domain.repositories import StoredEmbedding

SESSION_ID = "3f0c0a52-5a7e-4a39-9a41-0d6f2f3b8f11"


class VectorsInMemory:
    """The port ``EmbeddingStore`` without an embedder: it keeps what it is given."""

    def __init__(self, notes: JsonNoteRepository) -> None:
        self._notes = notes
        self.vectors: dict[tuple[UUID, str], Embedding] = {}

    async def count_pending(self) -> int:
        embedded = {note_id for note_id, _ in self.vectors}
        return len([note async for note in self._notes.stream() if note.id not in embedded])

    async def embed_pending(self, batch: int = 256) -> int:
        return 0

    async def store_embeddings(self, embeddings: Iterable[StoredEmbedding]) -> int:
        new = 0
        for note_id, model, embedding in embeddings:
            if (note_id, model) not in self.vectors and await self._notes.get(note_id):
                self.vectors[note_id, model] = embedding
                new += 1
        return new

    async def stream_embeddings(self) -> AsyncIterator[StoredEmbedding]:
        for (note_id, model), embedding in sorted(self.vectors.items()):
            yield StoredEmbedding(note_id, model, embedding)


def json_stores(directory: Path, *, with_vectors: bool = False) -> Stores:
    notes = JsonNoteRepository(directory)
    return Stores(
        tasks=JsonTaskRepository(directory),
        handoffs=JsonHandoffRepository(directory),
        notes=notes,
        sessions=JsonSessionRepository(directory),
        embeddings=VectorsInMemory(notes) if with_vectors else None,
    )


def write(root: Path, path: str, value: Any) -> Path:
    """Write a JSON value (or bytes as they are) as the legacy writer did."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, bytes):
        target.write_bytes(value)
    else:
        target.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
    return target


def note_entry(content: str = "決定: PostgreSQL 16を採用", **fields: Any) -> dict[str, Any]:
    """An entry of a category's array."""
    return {
        "user_id": "U01ABC123",
        "category": "decisions",
        "content": content,
        "timestamp": "2025-10-07T01:15:00.482193",
        "metadata": {"file": "docs/plan.md", "type": "modified"},
        **fields,
    }


def session_entry(**fields: Any) -> dict[str, Any]:
    """An entry of a user's session file."""
    return {
        "user_id": "U01ABC123",
        "session_id": SESSION_ID,
        "created_at": "2025-09-30T18:22:41.120394",
        "last_active": "2025-10-07T09:03:12.004511",
        "title": "Session 09/30 18:22",
        "message_count": 14,
        "workspace_path": "/var/lib/nakamura-misaki/workspaces/U01ABC123",
        "claude_options": {},
        "is_active": True,
        **fields,
    }


def scan(root: Path) -> tuple[list[Entry], list[Rejection], list[str]]:
    """Everything that a scan gives: entries, rejections, and the paths it ignored."""
    entries: list[Entry] = []
    rejections: list[Rejection] = []
    ignored: list[str] = []
    for file in LegacyDirectory(root).scan():
        entries.extend(file.entries)
        rejections.extend(file.rejections)
        if file.ignored is not None:
            ignored.append(file.path)
    return entries, rejections, ignored


def tree(root: Path) -> dict[str, bytes]:
    """The bytes of every file beneath ``root``."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
