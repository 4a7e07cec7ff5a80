"""What a team does with handoffs."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from nakamura_misaki.application.lookup import find_id
from nakamura_misaki.domain.errors import IllegalTransition, NotFound
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.repositories import HandoffRepository, Place
from nakamura_misaki.domain.rules import utc_now


def concerns(handoff: Handoff, user_id: str | None) -> bool:
    """Whether the handoff is that user's to see: giver or receiver. None: everybody."""
    return user_id in (None, handoff.from_user_id, handoff.to_user_id)


class HandoffService:
    """Use cases of handoffs. Every method may raise StorageUnavailable.

    Where ``as_user`` is given, a handoff that does not concern that user is not there.
    """

    def __init__(
        self,
        handoffs: HandoffRepository,
        *,
        new_id: Callable[[], UUID],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._handoffs = handoffs
        self._new_id = new_id
        self._clock = clock

    async def add(
        self,
        *,
        from_user_id: str,
        to_user_id: str,
        progress_note: str,
        handoff_at: datetime,
        task_id: UUID | None = None,
        next_steps: str = "",
    ) -> Handoff:
        """Create a handoff. Raises InvalidInput, or NotFound if its task is not there."""
        return await self._handoffs.create(
            Handoff(
                id=self._new_id(),
                task_id=task_id,
                from_user_id=from_user_id,
                to_user_id=to_user_id,
                progress_note=progress_note,
                next_steps=next_steps,
                handoff_at=handoff_at,
                created_at=self._clock(),
            )
        )

    async def list_to(self, user_id: str, *, completed: bool = False) -> list[Handoff]:
        """Open handoffs to the user (all of them with ``completed``), earliest first."""
        return await self._handoffs.list_by_to_user(user_id, completed=None if completed else False)

    async def list_page(
        self,
        user_id: str,
        *,
        completed: bool | None = None,
        limit: int | None = None,
        after: Place[UUID] | None = None,
    ) -> list[Handoff]:
        """Handoffs to the user, earliest first, a page of them: all, or only those (not) completed."""
        return await self._handoffs.list_by_to_user(
            user_id, completed=completed, limit=limit, after=after
        )

    async def find_id(self, text: str) -> UUID:
        """The id that the text stands for. Raises InvalidInput or NotFound."""
        return await find_id(text, self._handoffs, "handoff")

    async def show(self, handoff_id: UUID, *, as_user: str | None = None) -> Handoff:
        """The handoff. Raises NotFound."""
        handoff = await self._handoffs.get(handoff_id)
        if handoff is None or not concerns(handoff, as_user):
            raise NotFound(f"there is no handoff {handoff_id}.")
        return handoff

    async def complete(self, handoff_id: UUID, *, as_user: str | None = None) -> Handoff:
        """Complete the handoff now. Raises NotFound, or IllegalTransition if it was completed."""
        if as_user is not None:
            await self.show(handoff_id, as_user=as_user)
        was_first = await self._handoffs.mark_completed(handoff_id)
        handoff = await self.show(handoff_id)
        if not was_first:
            raise IllegalTransition(f"handoff {handoff_id} was completed before.")
        return handoff
