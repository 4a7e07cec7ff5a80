"""Finding an entry by the few digits of its id that a person types."""

from typing import Protocol
from uuid import UUID

from nakamura_misaki.domain.errors import InvalidInput, NotFound

MIN_DIGITS = 4
"""Fewest hexadecimal digits that may stand for an id."""

SHORT_DIGITS = 8
"""How many digits a short id has: the last ones, since a UUIDv7 begins with its time
(RFC 9562, section 5.7) and entries written together share their first digits."""

_FULL_DIGITS = 32


class Findable(Protocol):
    """A repository that knows ids by their first or last digits."""

    async def find_ids(self, digits: str) -> list[UUID]: ...


def short_id(entry_id: UUID) -> str:
    """The digits by which a person is shown an entry."""
    return entry_id.hex[-SHORT_DIGITS:]


async def find_id(text: str, entries: Findable, kind: str) -> UUID:
    """The id that ``text`` stands for: a whole UUID, or digits that begin or end just one id.

    A whole UUID is given back without looking whether there is such an entry.
    Raises InvalidInput when the text is no id or several entries match, naming
    them, and NotFound when none does.
    """
    digits = text.strip().lower().replace("-", "")
    if not digits or set(digits) - set("0123456789abcdef"):
        raise InvalidInput(
            f"{text!r} is no {kind} id; give a UUID or its first or last {MIN_DIGITS} or more digits."
        )
    if len(digits) == _FULL_DIGITS:
        return UUID(digits)
    if not MIN_DIGITS <= len(digits) < _FULL_DIGITS:
        raise InvalidInput(
            f"{text!r} is no {kind} id; give from {MIN_DIGITS} to {_FULL_DIGITS} digits of one."
        )
    return _only(text, await entries.find_ids(digits), kind)


def _only(text: str, candidates: list[UUID], kind: str) -> UUID:
    if not candidates:
        raise NotFound(f"there is no {kind} whose id begins or ends with {text}.")
    if len(candidates) > 1:
        named = ", ".join(map(str, candidates))
        raise InvalidInput(f"{text} stands for several {kind}s, such as {named}; give more digits.")
    return candidates[0]
