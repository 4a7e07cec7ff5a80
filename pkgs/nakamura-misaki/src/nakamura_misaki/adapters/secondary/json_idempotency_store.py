"""Idempotency keys in a JSON file: what ``STORAGE_BACKEND=json`` runs on."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_entries import (
    JsonEntries,
    certain_time_of,
    time_text,
)
from nakamura_misaki.adapters.secondary.legacy_layout import IDEMPOTENCY_FILE
from nakamura_misaki.application.idempotency import KEPT_FOR, Reservation, Response
from nakamura_misaki.domain.rules import utc_now


class JsonIdempotencyStore:
    """The port ``IdempotencyStore`` over ``idempotency_keys.json``."""

    def __init__(self, directory: Path, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._entries = JsonEntries(
            directory, IDEMPOTENCY_FILE, restore=_reservation, describe=_described
        )
        self._clock = clock

    async def reserve(self, scope: str, key: str, new: Reservation) -> Reservation:
        place = _place(scope, key)

        def reserve(known: dict[str, Reservation]) -> Reservation:
            # The file is written as a whole, so that it pays to keep it short.
            _drop(known, lambda each: each.created_at <= self._clock() - KEPT_FOR)
            return known.setdefault(place, new)

        return await self._entries.change(reserve)

    async def finish(self, scope: str, key: str, response: Response) -> None:
        place = _place(scope, key)

        def finish(known: dict[str, Reservation]) -> None:
            reserved = known.get(place)
            if reserved is not None and reserved.response is None:
                known[place] = replace(reserved, response=response)

        await self._entries.change(finish)

    async def forget(self, before: datetime) -> int:
        return await self._entries.change(
            lambda known: _drop(known, lambda each: each.created_at < before)
        )


def _place(scope: str, key: str) -> str:
    return json.dumps([scope, key])


def _drop(known: dict[str, Reservation], is_old: Callable[[Reservation], bool]) -> int:
    old = [place for place, each in known.items() if is_old(each)]
    for place in old:
        del known[place]
    return len(old)


def _described(reserved: Reservation) -> dict[str, Any]:
    response = reserved.response
    return {
        "entity_id": str(reserved.entity_id),
        "created_at": time_text(reserved.created_at),
        "fingerprint": reserved.fingerprint.hex(),
        "response": response
        and {
            "status": response.status,
            "body": b64encode(response.body).decode(),
            "location": response.location,
        },
    }


def _reservation(_: str, entry: Any) -> Reservation:
    response = entry["response"]
    return Reservation(
        UUID(entry["entity_id"]),
        certain_time_of(entry["created_at"]),
        bytes.fromhex(entry["fingerprint"]),
        response
        and Response(response["status"], b64decode(response["body"]), response["location"]),
    )
