"""Sessions in JSON files, one a user: the legacy layout, read and written."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from nakamura_misaki.adapters.secondary.json_paging import page
from nakamura_misaki.adapters.secondary.json_store import JsonStore
from nakamura_misaki.adapters.secondary.legacy_layout import SESSIONS, sessions_path
from nakamura_misaki.adapters.secondary.legacy_sessions import (
    looks_like_session,
    read_session,
    session_entry,
)
from nakamura_misaki.adapters.secondary.legacy_times import LOCAL_ZONE
from nakamura_misaki.domain.errors import AlreadyExists, InvalidInput, NotFound
from nakamura_misaki.domain.repositories import Place, WriteCount
from nakamura_misaki.domain.rules import require_aware, utc_now
from nakamura_misaki.domain.session import Session


class JsonSessionRepository:
    """The port ``SessionRepository`` over ``sessions/user_<user>_sessions.json``.

    Naive times are local time of ``time_zone``. Where files hold a session
    twice, the one with the newest activity counts.
    """

    def __init__(
        self,
        directory: Path,
        *,
        time_zone: tzinfo = LOCAL_ZONE,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = JsonStore(directory)
        self._time_zone = time_zone
        self._clock = clock

    async def create(self, session: Session) -> Session:
        def create() -> Session:
            files = self._load()
            if session.id in files.sessions:
                raise AlreadyExists(f"There is a session {session.id} already.")
            files.put(session, self._time_zone)
            self._save(files)
            return session

        return await self._store.write(create)

    async def get(self, session_id: str) -> Session | None:
        return (await self._all()).get(session_id)

    async def update_last_active(self, session_id: str, at: datetime | None = None) -> None:
        now = at or self._clock()
        require_aware(now, "the last activity")

        def touch() -> None:
            files = self._load()
            if session_id not in files.sessions:
                raise NotFound(f"There is no session {session_id}.")
            files.put(replace(files.sessions[session_id], last_active_at=now), self._time_zone)
            self._save(files)

        await self._store.write(touch)

    async def delete_inactive(self, days: int) -> int:
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 36500:
            raise InvalidInput(f"days must be a whole number from 1 to 36500, not {days!r}.")
        before = self._clock() - timedelta(days=days)

        def delete() -> int:
            files = self._load()
            gone = [s.id for s in files.sessions.values() if s.last_active_at < before]
            for session_id in gone:
                files.drop(session_id)
            self._save(files)
            return len(gone)

        return await self._store.write(delete)

    async def list_by_user(
        self, user_id: str, *, limit: int | None = None, after: Place[str] | None = None
    ) -> list[Session]:
        sessions = [s for s in (await self._all()).values() if s.user_id == user_id]
        sessions.sort(key=lambda session: session.id)
        sessions.sort(key=lambda session: session.last_active_at, reverse=True)
        return page(sessions, limit, after and (lambda session: _is_behind(session, after)))

    async def create_many(self, sessions: Iterable[Session]) -> WriteCount:
        given = list(sessions)

        def create_many() -> WriteCount:
            files = self._load()
            new, updated = set[str](), set[str]()
            for session in given:
                known = files.sessions.get(session.id)
                if known is None:
                    new.add(session.id)
                elif session.last_active_at <= known.last_active_at:
                    continue
                elif session.id not in new:
                    updated.add(session.id)
                files.put(session, self._time_zone)
            self._save(files)
            return WriteCount(len(new), len(updated), len(given) - len(new) - len(updated))

        return await self._store.write(create_many)

    async def stream(self) -> AsyncIterator[Session]:
        for _, session in sorted((await self._all()).items()):
            yield session

    async def _all(self) -> dict[str, Session]:
        return (await self._store.read(self._load)).sessions

    def _load(self) -> "_SessionFiles":
        files = _SessionFiles({}, {}, {}, set())
        for path in self._store.names(SESSIONS):
            entries, version = self._store.load_object(path)
            if version is None:
                continue
            if looks_like_session(entries):
                # A session in a file of its own: it is keyed when it is next written.
                entries = {str(entries.get("session_id")): entries}
            files.entries[path] = entries
            for key, entry in entries.items():
                try:
                    session, _ = read_session(
                        entry, key, time_zone=self._time_zone, modified_ns=version.modified_ns
                    )
                except InvalidInput:
                    continue
                files.found(path, key, session)
        return files

    def _save(self, files: "_SessionFiles") -> None:
        # New places first: a crash in between leaves a session twice rather than not at all.
        changed = sorted(files.changed, key=lambda path: (not files.entries[path], path))
        for path in changed:
            if files.entries[path]:
                self._store.save(path, files.entries[path])
            else:
                self._store.remove(path)


def _is_behind(session: Session, place: Place[str]) -> bool:
    if session.last_active_at == place.time:
        return session.id > place.id
    return place.time is not None and session.last_active_at < place.time


@dataclass(slots=True)
class _SessionFiles:
    """All session files, what they hold that can be read, and where it stands."""

    entries: dict[str, dict[str, Any]]
    sessions: dict[str, Session]
    places: dict[str, list[str]]
    changed: set[str]

    def found(self, path: str, key: str, session: Session) -> None:
        known = self.sessions.get(key)
        if known is None or session.last_active_at > known.last_active_at:
            self.sessions[key] = session
        self.places.setdefault(key, []).append(path)

    def put(self, session: Session, time_zone: tzinfo) -> None:
        self.drop(session.id)
        path = sessions_path(session.user_id)
        self.entries.setdefault(path, {})[session.id] = session_entry(session, time_zone)
        self.sessions[session.id] = session
        self.places[session.id] = [path]
        self.changed.add(path)

    def drop(self, session_id: str) -> None:
        for path in self.places.pop(session_id, []):
            del self.entries[path][session_id]
            self.changed.add(path)
        self.sessions.pop(session_id, None)
