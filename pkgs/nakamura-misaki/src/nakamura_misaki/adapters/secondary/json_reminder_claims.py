"""Who sends which reminder, beside the JSON files.

In a file of its own, so that ``handoffs.json`` holds what it always held and an
export of it is the same before and after; a migration passes it over.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_store import JsonStore
from nakamura_misaki.adapters.secondary.legacy_layout import REMINDER_CLAIMS_FILE
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.repositories import ReminderClaim


class ReminderClaims:
    """Claims by the handoff's id. Every method is for use within ``JsonStore.write`` only."""

    def __init__(self, store: JsonStore) -> None:
        self._store = store

    def claim(
        self, pending: Sequence[Handoff], limit: int, now: datetime, until: datetime
    ) -> list[ReminderClaim]:
        """Hold the first ``limit`` of the pending handoffs that nobody holds.

        ``pending`` are all there are: claims of others are over and forgotten.
        """
        known = self._store.load_object(REMINDER_CLAIMS_FILE)[0]
        ids = {str(handoff.id) for handoff in pending}
        claims = {key: claim for key, claim in known.items() if key in ids}
        free = [each for each in pending if _is_free(claims.get(str(each.id)), now)]
        made = []
        for handoff in free[:limit]:
            attempt = _attempts(claims.get(str(handoff.id))) + 1
            claims[str(handoff.id)] = _entry(until, attempt)
            made.append(ReminderClaim(handoff, attempt))
        if claims != known:
            self._save(claims)
        return made

    def postpone(self, handoff_id: UUID, until: datetime) -> None:
        """Let the claim end at ``until``; nothing if there is none."""
        claims = self._store.load_object(REMINDER_CLAIMS_FILE)[0]
        key = str(handoff_id)
        if key in claims:
            claims[key] = _entry(until, _attempts(claims[key]))
            self._save(claims)

    def _save(self, claims: dict[str, Any]) -> None:
        if claims:
            self._store.save(REMINDER_CLAIMS_FILE, claims)
        else:
            self._store.remove(REMINDER_CLAIMS_FILE)


def _entry(until: datetime, attempts: int) -> dict[str, Any]:
    return {"claimed_until": until.isoformat(), "attempts": attempts}


def _is_free(claim: Any, now: datetime) -> bool:
    try:
        return claim is None or datetime.fromisoformat(claim["claimed_until"]) <= now
    except (KeyError, TypeError, ValueError):
        return True  # written by no release: what it says can't keep a reminder back for ever


def _attempts(claim: Any) -> int:
    attempts = claim.get("attempts") if isinstance(claim, dict) else None
    return attempts if isinstance(attempts, int) else 0
