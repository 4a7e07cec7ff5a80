"""What a team does with sessions."""

from nakamura_misaki.domain.errors import NotFound
from nakamura_misaki.domain.repositories import SessionRepository
from nakamura_misaki.domain.session import INACTIVE_DAYS, Session


class SessionService:
    """Use cases of sessions. Every method may raise StorageUnavailable."""

    def __init__(self, sessions: SessionRepository) -> None:
        self._sessions = sessions

    async def list_for(self, user_id: str) -> list[Session]:
        """The user's sessions, most recently active first."""
        return await self._sessions.list_by_user(user_id)

    async def show(self, session_id: str) -> Session:
        """The session. Raises NotFound."""
        session = await self._sessions.get(session_id)
        if session is None:
            raise NotFound(f"there is no session {session_id}.")
        return session

    async def prune(self, days: int = INACTIVE_DAYS) -> int:
        """Delete sessions without activity for so many days; how many went.

        Raises InvalidInput for less than one day.
        """
        return await self._sessions.delete_inactive(days)
