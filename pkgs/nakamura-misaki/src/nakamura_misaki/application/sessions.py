"""What a team does with sessions."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.domain.repositories import Place, SessionRepository
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.domain.session import INACTIVE_DAYS, Session


class SessionService:
    """Use cases of sessions. Every method may raise StorageUnavailable.

    Where ``as_user`` is given, another user's session is not there.
    """

    def __init__(
        self, sessions: SessionRepository, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def begin(
        self,
        session_id: str,
        *,
        user_id: str,
        title: str = "",
        workspace_path: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Store a new session. Raises InvalidInput, or AlreadyExists if the id is taken."""
        now = self._clock()
        return await self._sessions.create(
            Session(
                id=session_id,
                user_id=user_id,
                title=title,
                workspace_path=workspace_path,
                metadata=dict(metadata or {}),
                last_active_at=now,
                created_at=now,
            )
        )

    async def list_for(
        self, user_id: str, *, limit: int | None = None, after: Place[str] | None = None
    ) -> list[Session]:
        """The user's sessions, most recently active first, a page of them."""
        return await self._sessions.list_by_user(user_id, limit=limit, after=after)

    async def show(self, session_id: str, *, as_user: str | None = None) -> Session:
        """The session. Raises NotFound."""
        session = await self._sessions.get(session_id)
        if session is None or as_user not in (None, session.user_id):
            raise NotFound(f"there is no session {session_id}.")
        return session

    async def touch(self, session_id: str, *, as_user: str | None = None) -> Session:
        """Note activity now. Raises NotFound."""
        if as_user is not None:
            await self.show(session_id, as_user=as_user)
        await self._sessions.update_last_active(session_id, self._clock())
        return await self.show(session_id)

    async def prune(self, days: int = INACTIVE_DAYS) -> int:
        """Delete sessions without activity for so many days; how many went.

        Raises InvalidInput for less than one day.
        """
        return await self._sessions.delete_inactive(days)
