"""Pages of lists that are read as a whole, as the JSON files' are."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from nakamura_misaki.domain.rules import require_limit

E = TypeVar("E")


def page(entries: Iterable[E], limit: int | None, is_behind: Callable[[E], bool] | None) -> list[E]:
    """The first ``limit`` (None: all) of those ``entries`` that stand behind a place (None: all).

    Raises InvalidInput for a limit outside 1 to 1000.
    """
    if limit is not None:
        require_limit(limit)
    if is_behind is not None:
        entries = filter(is_behind, entries)
    return list(islice(entries, limit))
