"""Creating an entry once, however often the request comes.

With an ``Idempotency-Key`` the entry's id and time are reserved under the key before
it is created: see ``application/idempotency.py``. A key is the token's own and the
address's; it may come again for a day, with the same values, also after a crash in
the middle of the first request.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar
from uuid import UUID

from fastapi import Header, Response

from nakamura_misaki.adapters.primary.api.access import Caller
from nakamura_misaki.adapters.primary.api.fields import NotGiven
from nakamura_misaki.adapters.primary.api.problems import bad_request
from nakamura_misaki.adapters.primary.api.rendering import dumped
from nakamura_misaki.application import idempotency
from nakamura_misaki.application.idempotency import MAX_KEY_CHARACTERS, Reservation
from nakamura_misaki.domain.errors import AlreadyExists
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.infrastructure.di.workspace import new_id

E_co = TypeVar("E_co", covariant=True)
E = TypeVar("E")

_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")

IdempotencyKey = Annotated[
    str | NotGiven,
    Header(
        alias="Idempotency-Key",
        description=(
            "A text of your choosing, new for every entry. If the answer is lost, send the same"
            " request with the same key again: it creates nothing twice, and is answered as the"
            " first was. Known for 24 hours."
        ),
        json_schema_extra={"pattern": rf"^[!-~]{{1,{MAX_KEY_CHARACTERS}}}$"},
        examples=["6f1c9a2e-9f5b-4b7e-8d0a-1f2e3d4c5b6a"],
    ),
]


class Make(Protocol[E_co]):
    def __call__(
        self, new_id: Callable[[], UUID], clock: Callable[[], datetime], /
    ) -> Awaitable[E_co]:
        """Create the entry with the next id and time of those. Raises AlreadyExists."""
        ...


class Creation(Generic[E]):
    """How entries of one route are created, found again and shown."""

    def __init__(
        self,
        route: str,
        *,
        render: Callable[[E], dict[str, Any]],
        location: Callable[[E], str],
    ) -> None:
        self._route = route
        self._render = render
        self._location = location

    async def answer(
        self,
        caller: Caller,
        key: str | None,
        values: dict[str, Any],
        *,
        make: Make[E],
        find: Callable[[Reservation], Awaitable[E | None]],
    ) -> Response:
        """Create the entry, or find it if its key was seen before; 201 either way.

        ``values`` are all that the request said; ``find`` gives what an earlier
        request with this reservation created. Raises Refused (400) for what is no
        key, KeyReused for a key of other values.
        """
        if key is None:
            return self._created(self._response(await make(new_id, utc_now)))
        if not _KEY.fullmatch(key):
            raise bad_request(
                f"an Idempotency-Key is 1 to {MAX_KEY_CHARACTERS} printable ASCII characters"
                " without a space."
            )
        store = caller.workspace.idempotency_store
        scope = f"{caller.principal.token_id} {self._route}"
        wanted = Reservation(new_id(), utc_now(), _fingerprint(self._route, values))
        known = await idempotency.reserve(store, scope, key, wanted)
        if known.response is not None:
            return self._created(known.response, replayed=True)
        is_first = known.entity_id == wanted.entity_id
        entry = None if is_first else await find(known)
        if entry is None:
            try:
                entry = await make(lambda: known.entity_id, lambda: known.created_at)
            except AlreadyExists:
                entry = await find(known)  # another request with this key was faster
                if entry is None:
                    raise
        response = self._response(entry)
        await store.finish(scope, key, response)
        if not is_first:
            # Of several at once one's answer was kept; all of them give that one.
            kept = await idempotency.reserve(store, scope, key, wanted)
            response = kept.response or response
        return self._created(response, replayed=not is_first)

    def _response(self, entry: E) -> idempotency.Response:
        return idempotency.Response(201, dumped(self._render(entry)), self._location(entry))

    def _created(self, response: idempotency.Response, *, replayed: bool = False) -> Response:
        headers = {"Location": response.location or ""}
        if replayed:
            headers["Idempotency-Replayed"] = "true"
        return Response(response.body, response.status, headers, "application/json")


def _fingerprint(route: str, values: dict[str, Any]) -> bytes:
    canonical = json.dumps([route, values], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).digest()
