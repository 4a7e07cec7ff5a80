"""Handoffs in a JSON file: what ``STORAGE_BACKEND=json`` runs on."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_paging import page
from nakamura_misaki.adapters.secondary.json_reminder_claims import ReminderClaims
from nakamura_misaki.adapters.secondary.json_store import JsonStore, ids_with
from nakamura_misaki.adapters.secondary.legacy_layout import HANDOFFS_FILE, TASKS_FILE
from nakamura_misaki.adapters.secondary.legacy_work import handoff_entry, read_handoff
from nakamura_misaki.domain.errors import AlreadyExists, InvalidInput, NotFound
from nakamura_misaki.domain.handoff import REMINDER_LEAD, Handoff
from nakamura_misaki.domain.repositories import Place, ReminderClaim, WriteCount
from nakamura_misaki.domain.rules import utc_now


class JsonHandoffRepository:
    """The port ``HandoffRepository`` over ``handoffs.json``; reminders are due ``lead`` early."""

    def __init__(
        self,
        directory: Path,
        *,
        lead: timedelta = REMINDER_LEAD,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = JsonStore(directory)
        self._lead = lead
        self._clock = clock

    async def create(self, handoff: Handoff) -> Handoff:
        def create() -> Handoff:
            entries = self._entries()
            if str(handoff.id) in entries:
                raise AlreadyExists(f"There is a handoff {handoff.id} already.")
            if not self._has_task(handoff, self._task_ids()):
                raise NotFound(f"There is no task {handoff.task_id} to hand over.")
            self._save(entries, handoff)
            return handoff

        return await self._store.write(create)

    async def get(self, handoff_id: UUID) -> Handoff | None:
        return await self._store.read(lambda: _find(self._entries(), handoff_id))

    async def list_by_to_user(
        self,
        user_id: str,
        *,
        completed: bool | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Handoff]:
        handoffs = [
            handoff
            for handoff in await self._by_time()
            if handoff.to_user_id == user_id
            and completed in (None, handoff.completed_at is not None)
        ]
        return page(handoffs, limit, after and (lambda h: (h.handoff_at, h.id) > after))

    async def list_pending_reminders(self) -> list[Handoff]:
        now = self._clock()
        return [h for h in await self._by_time() if h.is_reminder_due(now, self._lead)]

    async def claim_reminders(self, limit: int, lease: timedelta) -> list[ReminderClaim]:
        def claim() -> list[ReminderClaim]:
            now = self._clock()
            pending = [h for h in _handoffs(self._entries()) if h.is_reminder_due(now, self._lead)]
            pending.sort(key=lambda handoff: (handoff.handoff_at, handoff.id))
            return ReminderClaims(self._store).claim(pending, limit, now, now + lease)

        return await self._store.write(claim)

    async def postpone_reminder(self, handoff_id: UUID, until: datetime) -> None:
        await self._store.write(lambda: ReminderClaims(self._store).postpone(handoff_id, until))

    async def mark_reminded(self, handoff_id: UUID) -> bool:
        def mark() -> bool:
            entries = self._entries()
            handoff = _find(entries, handoff_id)
            if handoff is None or handoff.reminded_at is not None:
                return False
            self._save(entries, replace(handoff, reminded_at=self._clock()))
            return True

        return await self._store.write(mark)

    async def mark_completed(self, handoff_id: UUID) -> bool:
        def mark() -> bool:
            entries = self._entries()
            handoff = _find(entries, handoff_id)
            if handoff is None or handoff.completed_at is not None:
                return False
            self._save(entries, replace(handoff, completed_at=self._clock()))
            return True

        return await self._store.write(mark)

    async def create_many(self, handoffs: Iterable[Handoff]) -> WriteCount:
        given = list(handoffs)

        def create_many() -> WriteCount:
            entries = self._entries()
            tasks = self._task_ids()
            stored = {handoff.id: handoff for handoff in _handoffs(entries)}
            new, updated = set[UUID](), set[UUID]()
            for handoff in given:
                if not self._has_task(handoff, tasks):
                    continue
                known = stored.get(handoff.id)
                if known is None:
                    new.add(handoff.id)
                elif _progress(handoff) <= _progress(known):
                    continue
                elif handoff.id not in new:
                    updated.add(handoff.id)
                stored[handoff.id] = handoff
            for handoff_id in new | updated:
                entries[str(handoff_id)] = handoff_entry(stored[handoff_id])
            if new or updated:
                self._store.save(HANDOFFS_FILE, dict(sorted(entries.items())))
            return WriteCount(len(new), len(updated), len(given) - len(new) - len(updated))

        return await self._store.write(create_many)

    async def find_ids(self, digits: str) -> list[UUID]:
        return ids_with(digits, [handoff.id for handoff in await self._all()])

    async def stream(self) -> AsyncIterator[Handoff]:
        for handoff in sorted(await self._all(), key=lambda handoff: handoff.id):
            yield handoff

    async def _all(self) -> list[Handoff]:
        return await self._store.read(lambda: _handoffs(self._entries()))

    async def _by_time(self) -> list[Handoff]:
        return sorted(await self._all(), key=lambda handoff: (handoff.handoff_at, handoff.id))

    def _entries(self) -> dict[str, Any]:
        return self._store.load_object(HANDOFFS_FILE)[0]

    def _task_ids(self) -> set[str]:
        return set(self._store.load_object(TASKS_FILE)[0])

    def _has_task(self, handoff: Handoff, tasks: set[str]) -> bool:
        return handoff.task_id is None or str(handoff.task_id) in tasks

    def _save(self, entries: dict[str, Any], handoff: Handoff) -> None:
        entries[str(handoff.id)] = handoff_entry(handoff)
        self._store.save(HANDOFFS_FILE, entries)


def _progress(handoff: Handoff) -> int:
    """How much has happened to the handoff: the one that knows of more is the newer one."""
    return (handoff.reminded_at is not None) + (handoff.completed_at is not None)


def _find(entries: dict[str, Any], handoff_id: UUID) -> Handoff | None:
    key = str(handoff_id)
    return read_handoff(entries[key], key) if key in entries else None


def _handoffs(entries: dict[str, Any]) -> list[Handoff]:
    """The entries that are handoffs; others are left alone where they stand."""
    handoffs = []
    for key, entry in entries.items():
        try:
            handoffs.append(read_handoff(entry, key))
        except InvalidInput:
            continue
    return handoffs
