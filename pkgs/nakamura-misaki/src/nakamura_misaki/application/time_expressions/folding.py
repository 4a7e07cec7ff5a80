"""Text as its readers need it, with the way back to the text that was written.

People write １５時 and 15時, ﾒﾓ and メモ, Tomorrow and tomorrow, and paste zero-width
characters. Rules are matched against a folded form in which these are the same;
what is kept is always cut from the text as written.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_VOICING = "\u3099\u309a\uff9e\uff9f"
_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff")
_QUOTES = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}


@dataclass(frozen=True, slots=True)
class Folded:
    """A text in NFKC and lower case, and the place of each of its characters in the original.

    Typographic quotes are plain ones, white space other than a line break is one
    kind of blank, and invisible characters are gone. Offsets are code points.
    """

    original: str
    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters from ``start`` to ``end`` of the folded text came from."""
        if start >= end:
            at = self.starts[start] if start < len(self.starts) else len(self.original)
            return at, at
        return self.starts[start], self.ends[end - 1]

    def cut(self, start: int, end: int | None = None) -> str:
        """The part of the original that folded to the characters from ``start`` to ``end``.

        Without an end it is all the rest, invisible characters at its end included.
        """
        first, last = self.span(start, len(self.text) if end is None else end)
        return self.original[first : None if end is None else last]


def fold(text: str) -> Folded:
    """Fold a text. Takes time in proportion to its length."""
    if text.isascii() and text.isprintable():
        places = range(len(text))
        return Folded(text, text.lower(), tuple(places), tuple(place + 1 for place in places))
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    while at < len(text):
        end = at + 2 if at + 1 < len(text) and text[at + 1] in _VOICING else at + 1
        characters = _fold_one(text[at:end])
        folded.append(characters)
        starts.extend([at] * len(characters))
        ends.extend([end] * len(characters))
        at = end
    return Folded(text, "".join(folded), tuple(starts), tuple(ends))


@lru_cache(maxsize=8192)
def _fold_one(character: str) -> str:
    """The folded form of one character, which may carry a voicing mark of its own."""
    if character in _INVISIBLE:
        return ""
    if character.isspace():
        return "\n" if character == "\n" else " "
    return unicodedata.normalize("NFKC", _QUOTES.get(character, character)).lower()
