"""Doing once what was asked for twice: a key that the client chose names the request.

The id and the time of what a request creates are reserved under its key before
anything is created. A request that comes again, even after a crash in the middle
of the first, creates the very same entry or finds it there, and is given the
answer that the first was given.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.rules import require_line

KEPT_FOR = timedelta(hours=24)
"""How long a key is known; after that it may name another request."""

MAX_KEY_CHARACTERS = 255


class KeyReused(InvalidInput):
    """The key named another request before."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it was sent."""

    status: int
    body: bytes
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the key stands for: the id and the time to create with, and the answer if there is one."""

    entity_id: UUID
    created_at: datetime
    fingerprint: bytes
    response: Response | None = None


class IdempotencyStore(Protocol):
    """Keys of one workspace. Every method may raise StorageUnavailable."""

    async def reserve(self, scope: str, key: str, new: Reservation) -> Reservation:
        """Remember ``new`` under the key, unless it is known and younger than KEPT_FOR; what is known.

        ``scope`` keeps clients apart. Of several callers at once all are given
        the same reservation.
        """
        ...

    async def finish(self, scope: str, key: str, response: Response) -> None:
        """Keep the answer, unless there is one already."""
        ...

    async def forget(self, before: datetime) -> int:
        """Delete keys reserved before that; how many."""
        ...


async def reserve(store: IdempotencyStore, scope: str, key: str, new: Reservation) -> Reservation:
    """As ``IdempotencyStore.reserve``.

    Raises InvalidInput for a key that is blank or too long, KeyReused if it named
    another request.
    """
    require_line(key, "an Idempotency-Key", max_characters=MAX_KEY_CHARACTERS)
    known = await store.reserve(scope, key, new)
    if known.fingerprint != new.fingerprint:
        raise KeyReused(
            "this Idempotency-Key was used for another request; choose a new one for this."
        )
    return known
