"""What can go wrong with an answer of ``openai_server``, one fault a request."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one request. Seconds where a time is given."""

    status: int = 200
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cuts: bool = False
    damage: Callable[[Items], Items] | None = None
    body: bytes | None = None

    @classmethod
    def rate_limited(cls, retry_after: float | str | None = None) -> "Fault":
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return cls(status=429, code="rate_limit_exceeded", headers=headers)

    @classmethod
    def out_of_quota(cls) -> "Fault":
        return cls(status=429, code="insufficient_quota")

    @classmethod
    def failing(cls, status: int = 500) -> "Fault":
        return cls(status=status, code="server_error")

    @classmethod
    def unauthorized(cls) -> "Fault":
        return cls(status=401, code="invalid_api_key")

    @classmethod
    def late(cls, seconds: float) -> "Fault":
        return cls(delay=seconds)

    @classmethod
    def cut_off(cls) -> "Fault":
        return cls(cuts=True)

    @classmethod
    def garbage(cls, body: bytes = b'{"object": "list", "data": [') -> "Fault":
        return cls(body=body)

    @classmethod
    def wrong_dimension(cls) -> "Fault":
        return cls(damage=lambda items: [{**i, "embedding": i["embedding"][:3]} for i in items])

    @classmethod
    def missing_item(cls) -> "Fault":
        return cls(damage=lambda items: items[:-1])

    @classmethod
    def duplicate_index(cls) -> "Fault":
        return cls(damage=lambda items: [{**item, "index": 0} for item in items])

    @classmethod
    def out_of_order(cls) -> "Fault":
        return cls(damage=lambda items: items[::-1])

    @classmethod
    def not_a_number(cls) -> "Fault":
        return cls(damage=lambda items: [_filled(item, math.nan) for item in items])

    @classmethod
    def no_direction(cls) -> "Fault":
        return cls(damage=lambda items: [_filled(item, 0.0) for item in items])

    @classmethod
    def too_long(cls, factor: float = 7.0) -> "Fault":
        """Vectors whose length is not 1."""
        return cls(
            damage=lambda items: [
                {**item, "embedding": [factor * value for value in item["embedding"]]}
                for item in items
            ]
        )


def _filled(item: dict[str, Any], value: float) -> dict[str, Any]:
    return {**item, "embedding": [value] * len(item["embedding"])}
