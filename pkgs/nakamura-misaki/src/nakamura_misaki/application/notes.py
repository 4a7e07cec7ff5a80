"""What a team does with notes: write down, find again, and catch up on vectors."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from nakamura_misaki.application.lookup import find_id
from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.domain.note import Leg, LegSkipped, Note, SearchAnswer, SearchFilter
from nakamura_misaki.domain.repositories import EmbeddingStore, NoteRepository, Place
from nakamura_misaki.domain.rules import require_limit, utc_now

OnSearch: TypeAlias = Callable[[tuple[Leg, ...], Mapping[Leg, LegSkipped], float], None]
"""Hears which legs answered a search, which did not and why, and how many seconds it took."""


class NoteService:
    """Use cases of notes. Every method may raise StorageUnavailable."""

    def __init__(
        self,
        notes: NoteRepository,
        *,
        new_id: Callable[[], UUID],
        clock: Callable[[], datetime] = utc_now,
        on_search: OnSearch | None = None,
    ) -> None:
        self._notes = notes
        self._new_id = new_id
        self._clock = clock
        self._on_search = on_search

    async def add(
        self,
        *,
        user_id: str,
        content: str,
        category: str | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Note:
        """Write a note down. Raises InvalidInput; never fails for want of a vector."""
        now = self._clock()
        return await self._notes.save(
            Note(
                id=self._new_id(),
                user_id=user_id,
                content=content,
                category=category,
                session_id=session_id,
                metadata=dict(metadata or {}),
                created_at=now,
                updated_at=now,
            )
        )

    async def search(
        self,
        query: str,
        user_id: str | None = None,
        limit: int = 10,
        where: SearchFilter | None = None,
    ) -> SearchAnswer:
        """Notes that answer the query, best first: of one user, or (None) of everybody.

        ``where``: only among the notes that it lets through. Raises InvalidInput for a blank query or a limit outside 1 to 1000.
        """
        started = time.perf_counter()
        answer = await self._notes.search(query, user_id, limit, where)
        if self._on_search is not None:
            self._on_search(answer.legs, answer.skipped, time.perf_counter() - started)
        return answer

    async def list_for(
        self,
        user_id: str,
        category: str | None = None,
        limit: int = 50,
        *,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        """The user's notes, newest first, a page of them.

        Raises InvalidInput for a limit outside 1 to 1000.
        """
        require_limit(limit)
        return await self._notes.list_by_user(user_id, category, limit, after=after)

    async def list_of_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Note]:
        """The session's notes, oldest first, a page of them: everybody's, or one user's."""
        return await self._notes.list_by_session(
            session_id, user_id=user_id, limit=limit, after=after
        )

    async def find_id(self, text: str) -> UUID:
        """The id that the text stands for. Raises InvalidInput or NotFound."""
        return await find_id(text, self._notes, "note")

    async def show(self, note_id: UUID, *, as_user: str | None = None) -> Note:
        """The note. Raises NotFound, also (with ``as_user``) if it is another user's."""
        note = await self._notes.get(note_id)
        if note is None or as_user not in (None, note.user_id):
            raise NotFound(f"there is no note {note_id}.")
        return note


async def embed_all_pending(
    store: EmbeddingStore,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    batch: int = 256,
) -> int:
    """Give every note without a vector one, a batch at a time; how many got one.

    ``on_progress`` hears how many are done, of how many there were at the
    start. What is done stays done when a later batch raises EmbeddingFailed.
    """
    total = await store.count_pending()
    done = 0
    on_progress(done, total)
    while done < total:
        embedded = await store.embed_pending(batch)
        if not embedded:
            break
        done += embedded
        on_progress(done, max(done, total))
    return done
