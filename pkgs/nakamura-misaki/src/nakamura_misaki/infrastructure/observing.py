"""What watches over the work as it runs: metrics and the query log implement these."""

from collections.abc import Mapping
from typing import Protocol

from nakamura_misaki.domain.note import Leg, LegSkipped


class QueryObserver(Protocol):
    """Hears of every statement and of every wait for a connection. Must be quick and never raise."""

    def queried(self, operation: str, seconds: float, *, failed: bool) -> None:
        """An operation (``task.get``) ran on a connection for so long; each attempt by itself."""
        ...

    def waited(self, seconds: float) -> None:
        """A connection was lent, or none came free, after so long."""
        ...


class Observer(QueryObserver, Protocol):
    """Hears of what the service does as well."""

    def searched(
        self, legs: tuple[Leg, ...], skipped: Mapping[Leg, LegSkipped], seconds: float
    ) -> None:
        """A search was answered by these legs; those skipped each with the reason."""
        ...

    def embedded(self, texts: int, seconds: float, *, failed: bool) -> None:
        """The embedder was asked for vectors of so many texts."""
        ...

    def embedder_suspended(self, is_suspended: bool) -> None:
        """The embedder is left alone for a while because it failed too often; or no longer."""
        ...
