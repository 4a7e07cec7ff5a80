"""Lists a page at a time, by cursors that name the last entry seen.

A cursor says where the next page begins, and not how far it is: a page costs the
same wherever it stands, and an entry that comes or goes elsewhere moves nothing.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

import orjson
from fastapi import Request, Response

from nakamura_misaki.adapters.primary.api.problems import bad_request
from nakamura_misaki.adapters.primary.api.rendering import dumped, written
from nakamura_misaki.domain.repositories import Place
from nakamura_misaki.domain.rules import require_aware, require_line

_VERSION = 1
_MAX_CHARACTERS = 2048

E = TypeVar("E")


def cursor_of(kind: str, place: Place[Any]) -> str:
    """The cursor for what stands behind the place in a list of that kind."""
    time = None if place.time is None else written(place.time)
    value = orjson.dumps([_VERSION, kind, time, str(place.id)])
    return urlsafe_b64encode(value).decode().rstrip("=")


def uuid_place(kind: str, cursor: str | None, *, undated: bool = False) -> Place[UUID] | None:
    """Where a page begins; None: at the beginning. Raises Refused (400) for another text.

    ``undated``: whether the list has entries without a time.
    """
    if cursor is None:
        return None
    try:
        time, id_ = _decoded(kind, cursor)
        if time is None and not undated:
            raise ValueError
        return Place(time, UUID(id_))
    except (ValueError, TypeError):
        raise _bad_cursor() from None


def text_place(kind: str, cursor: str | None) -> Place[str] | None:
    """As ``uuid_place``, in a list whose ids are texts."""
    if cursor is None:
        return None
    try:
        time, id_ = _decoded(kind, cursor)
        require_line(id_, "an id")
        if time is None:
            raise ValueError
        return Place(time, id_)
    except (ValueError, TypeError):
        raise _bad_cursor() from None


def page(
    request: Request,
    found: Sequence[E],
    limit: int,
    *,
    kind: str,
    place: Callable[[E], Place[Any]],
    render: Callable[[E], dict[str, Any]],
) -> Response:
    """The answer with the first ``limit`` of what was ``found``, which tells if there is more."""
    shown = found[:limit]
    cursor = cursor_of(kind, place(shown[-1])) if len(found) > limit else None
    headers = {}
    if cursor is not None:
        others = [item for item in request.query_params.multi_items() if item[0] != "cursor"]
        query = urlencode([*others, ("cursor", cursor)])
        # The path came unquoted, and an id in it may hold what would end it.
        headers["Link"] = f'<{quote(request.scope["path"])}?{query}>; rel="next"'
    content = dumped({"items": [render(entry) for entry in shown], "next_cursor": cursor})
    return Response(content, headers=headers, media_type="application/json")


def _decoded(kind: str, cursor: str) -> tuple[datetime | None, str]:
    """The parts of a cursor. Raises ValueError or TypeError for one that is none of this kind."""
    if len(cursor) > _MAX_CHARACTERS or not cursor.isascii():
        raise ValueError
    value = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    version, of_kind, time, id_ = value
    if version != _VERSION or of_kind != kind or not isinstance(id_, str):
        raise ValueError
    if time is None:
        return None, id_
    moment = datetime.fromisoformat(time)
    require_aware(moment, "a cursor's time")
    return moment.astimezone(UTC), id_


def _bad_cursor() -> Exception:
    return bad_request("the cursor is none of this list's; begin anew without it.")
