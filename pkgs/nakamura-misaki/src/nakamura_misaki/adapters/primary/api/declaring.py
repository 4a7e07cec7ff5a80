"""What the routes declare of their answers in the OpenAPI document."""

from typing import Any

from nakamura_misaki.adapters.primary.api.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}

_ALWAYS = (401, 422, 500, 503)
_WITH_BODY = (400, 413, 415)
_WITH_CURSOR = (400,)

_DESCRIPTIONS = {
    400: "The body is no JSON, or a cursor or key is none.",
    401: "No valid token was shown.",
    404: "There is no such thing, or none for this token.",
    409: "What is there already stands against it.",
    413: "The body is too long.",
    415: "The body is of another kind than JSON.",
    422: "Some values break a rule.",
    500: "Something went wrong that nobody foresaw.",
    503: "The storage can't be used at the moment.",
}

_HEADERS = {
    401: {"WWW-Authenticate": ("The scheme to use.", {"type": "string", "const": "Bearer"}, True)},
    503: {
        "Retry-After": (
            "Seconds after which to try again; absent where that would not help.",
            {"type": "string", "pattern": "^[0-9]+$"},
            False,
        )
    },
}

LINK = {
    "Link": {
        "description": 'The next page, as `<…>; rel="next"`; absent at the end (RFC 8288).',
        "schema": {"type": "string"},
    }
}
CREATED = {
    "Location": {
        "description": "Where the new entry is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Idempotency-Replayed": {
        "description": "Present if the key was seen before, and nothing was created anew.",
        "schema": {"type": "string", "const": "true"},
    },
}


def reading(*statuses: int, is_list: bool = False) -> Responses:
    """The problems of a route that takes no body, and the headers of its lists."""
    responses = _problems(*_ALWAYS, *(_WITH_CURSOR if is_list else ()), *statuses)
    if is_list:
        responses[200] = {"headers": LINK}
    return responses


def writing(*statuses: int) -> Responses:
    """The problems of a route that takes a body."""
    return _problems(*_ALWAYS, *_WITH_BODY, *statuses)


def creating(*statuses: int) -> Responses:
    """The problems of a route that creates, and the headers of what it answers."""
    return {201: {"headers": CREATED}, **writing(*statuses)}


def _problems(*statuses: int) -> Responses:
    responses: Responses = {}
    for status in sorted(set(statuses)):
        responses[status] = {"description": _DESCRIPTIONS[status], "content": _PROBLEM}
        if status in _HEADERS:
            responses[status]["headers"] = {
                name: {"description": text, "schema": schema, "required": required}
                for name, (text, schema, required) in _HEADERS[status].items()
            }
    return responses
