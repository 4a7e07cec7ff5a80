"""What the readers of all commands share: the message, ids, people, the ends of sentences."""

import re
from dataclasses import dataclass
from datetime import datetime

from nakamura_misaki.adapters.primary.slack.reading_markup import to_content
from nakamura_misaki.application.time_expressions.folding import Folded

ID = r"""[#`<("]{0,3}(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{4,32})
    [`>)"]{0,3}(?![0-9a-z_\-])"""
"""A verbose pattern for an id in folded text, bare or set off."""

HANDOFF = "(?:引き?継ぎ|引継|ハンドオフ)"
"""A pattern for the Japanese words for a handoff."""

_BLANKS = " \n"


@dataclass(frozen=True, slots=True)
class Message:
    """A message's plain text, folded, and the moment it is read at (in the team's time zone)."""

    folded: Folded
    now: datetime

    @property
    def text(self) -> str:
        """The folded text: what patterns are matched against."""
        return self.folded.text

    def is_question(self) -> bool:
        """Whether it ends with a question mark."""
        return self.text.rstrip(_BLANKS).endswith("?")

    def content(self, start: int, end: int | None = None) -> str:
        """A part of the message as written, for storing, without white space around it."""
        return to_content(self.folded.cut(start, end)).strip()

    def line(self, start: int, end: int | None = None) -> str:
        """A part of the message as written, on one line."""
        return " ".join(self.content(start, end).split())


def command(pattern: str) -> re.Pattern[str]:
    """A verbose pattern in folded text."""
    return re.compile(pattern, re.VERBOSE)


def trimmed(
    text: str, start: int, end: int, before: re.Pattern[str], after: tuple[str, ...]
) -> tuple[int, int]:
    """The part from ``start`` to ``end`` without what matches ``before`` and the endings ``after``.

    Takes time in proportion to what is cut off.
    """
    if match := before.match(text, start, end):
        start = match.end()
    while start < end:
        ending = next((each for each in after if text.endswith(each, start, end)), None)
        if ending is None:
            break
        end -= len(ending)
    return start, end
