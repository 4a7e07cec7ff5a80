"""The lines of a note that answer a query, as a person is shown them."""

from collections.abc import Iterable
from typing import NamedTuple

from nakamura_misaki.domain.passage import (
    MAX_SEARCHED_CHARACTERS,
    Span,
    boundary_before,
    matches,
    share_of,
    sought,
)

MAX_LINES = 4
MAX_LINE_CHARACTERS = 160
_LEAD_IN_CHARACTERS = 40


class Line(NamedTuple):
    """A line of a passage and the spans (from, to) of matched words in it."""

    text: str
    spans: tuple[Span, ...]


def passage(content: str, query: str) -> list[Line]:
    """At most four lines around the densest match; the first ones if no word of the query is there.

    Lines that were cut begin or end with three dots.
    """
    texts = [line.strip() for line in content[:MAX_SEARCHED_CHARACTERS].splitlines()]
    words = sought(query)
    lines = [Line(text, tuple(matches(text, words))) for text in texts if text]
    if len(lines) > MAX_LINES:
        start = max(
            range(len(lines) - MAX_LINES + 1),
            key=lambda at: sum(len(line.spans) for line in lines[at : at + MAX_LINES]),
        )
        lines = lines[start : start + MAX_LINES]
    return [_shortened(line) for line in lines]


def coverage(lines: Iterable[Line], query: str) -> float:
    """How much of the query's words stands in the lines of a passage, from 0 to 1: see ``share_of``."""
    return share_of(query, (text[a:b] for text, spans in lines for a, b in spans))


def _shortened(line: Line) -> Line:
    if len(line.text) <= MAX_LINE_CHARACTERS:
        return line
    first = line.spans[0][0] if line.spans else 0
    start = max(0, min(first - _LEAD_IN_CHARACTERS, len(line.text) - MAX_LINE_CHARACTERS))
    start = boundary_before(line.text, start)
    end = boundary_before(line.text, start + MAX_LINE_CHARACTERS)
    before, after = "..." if start else "", "..." if end < len(line.text) else ""
    shift = len(before) - start
    spans = tuple((a + shift, b + shift) for a, b in line.spans if start <= a and b <= end)
    return Line(f"{before}{line.text[start:end]}{after}", spans)
