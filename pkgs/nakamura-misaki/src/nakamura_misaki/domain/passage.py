"""The part of a note that answers a query: where it begins and ends, and which words match.

Offsets count code points of the note's content, so that ``content[start:end]``
is the text itself. None lies within what a reader takes for one character.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

MAX_SEARCHED_CHARACTERS = 50_000
MAX_PASSAGE_CHARACTERS = 240

_LEAD_IN_CHARACTERS = 40
_LONGEST_CLUSTER = 64
_LONGEST_RUN = 40
_BREAKS = frozenset("\n\r\v\f\x85\u2028\u2029。！？!?")
_HALF_WIDTH_VOICING = "\uff9e\uff9f"
_JOINER = "\u200d"
_FIRST_MARK = "\u0300"
_PARTICLES = frozenset("がをはにのでともへや")
# Scripts without spaces between words, and Hangul, whose particles are written without any, too.
_UNSPACED = "\u3005-\u3007\u3041-\u309f\u30a1-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_RUNS = re.compile(f"[{_UNSPACED}]+|[^\\W{_UNSPACED}]+")
_FIRST_UNSPACED = re.compile(f"[{_UNSPACED}]")

Sought: TypeAlias = Mapping[str, frozenset[str]]
"""Words worth setting off, by their first character."""

Span: TypeAlias = tuple[int, int]
"""From (included) to (excluded)."""


@dataclass(frozen=True, slots=True)
class Passage:
    """``content[start:end]`` of a note, and the spans of matched words in the content.

    The spans lie within the passage, in order, and do not touch one another's
    characters; there is none where no word of the query is in the note.
    """

    start: int
    end: int
    spans: tuple[Span, ...]


def find_passage(content: str, query: str) -> Passage:
    """The densest match and what surrounds it; the note's beginning if no word is there.

    At most 240 characters, from a sentence's beginning where one is near. Only
    the first 50,000 characters are searched.
    """
    searched = content[: boundary_before(content, MAX_SEARCHED_CHARACTERS)]
    found = matches(searched, sought(query))
    start = _begin(searched, _densest(found)) if found else 0
    while start < len(searched) and searched[start].isspace():
        start += 1
    if not is_boundary(searched, start):  # a space that carries a mark
        start -= 1
    end = _end(searched, start, found)
    inside = found[bisect_left(found, (start, start)) :]
    return Passage(start, end, tuple(span for span in inside if span[1] <= end))


@lru_cache(256)  # for every note of an answer anew
def sought(query: str) -> Sought:
    """What of a query is worth setting off in a text, for ``matches``."""
    runs = _RUNS.findall(_folded(query)[0])
    words: dict[str, set[str]] = {}
    for run in runs:
        parts = _parts(run[:_LONGEST_RUN]) if _FIRST_UNSPACED.match(run) else (run,)
        for word in parts:
            words.setdefault(word[0], set()).add(word)
    return {first: frozenset(all_) for first, all_ in words.items()} or {
        run[0]: frozenset((run,)) for run in runs
    }


def matches(text: str, words: Sought) -> list[Span]:
    """Where the longest of the words are in the text, none inside another."""
    folded, starts, ends = _folded(text)
    # A question may have hundreds of words that begin alike, but never of many lengths.
    lengths = {
        first: sorted({len(word) for word in alike}, reverse=True) for first, alike in words.items()
    }
    spans: list[Span] = []
    at = 0
    while at < len(folded):
        found = ""
        for length in lengths.get(folded[at], ()):
            word = folded[at : at + length]
            if word in words[word[0]] and _is_at(word, folded, at):
                found = word
                break
        if found:
            start, end = starts[at], ends[at + len(found) - 1]
            if spans and start < spans[-1][1]:  # two matches in one character, such as ㍻
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        at += len(found) or 1
    return spans


def share_of(query: str, matched: Iterable[str]) -> float:
    """How much of the query's words the matched texts are, from 0 to 1.

    By characters, hiragana left out as it is mostly grammar. 0 for a query of nothing else.
    """
    asked = _folded(query)[0]
    counted = {at for run in _RUNS.finditer(asked) for at in range(*run.span())}
    counted -= {at for at in counted if _script(asked[at]) == "hiragana"}
    found: set[int] = set()
    for word in {_folded(text)[0] for text in matched} - {""}:
        at = asked.find(word)
        while at >= 0:
            found.update(range(at, at + len(word)))
            at = asked.find(word, at + len(word))
    return len(found & counted) / len(counted) if counted else 0.0


def is_boundary(text: str, at: int) -> bool:
    """Whether a text may be cut here: not before a combining mark, within CRLF or an emoji.

    What Unicode calls an extended grapheme cluster
    (https://www.unicode.org/reports/tr29/), without the rarer rules of Indic scripts.
    """
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if before == "\r":
        return after != "\n"
    if after.isascii():
        return True
    if _extends(after) or before == _JOINER:
        return False
    if _is_flag(before) and _is_flag(after):
        start = at
        while start > 0 and _is_flag(text[start - 1]):
            start -= 1
        return (at - start) % 2 == 0
    return True


def boundary_before(text: str, at: int) -> int:
    """The last place up to ``at`` where the text may be cut."""
    lowest = max(0, at - _LONGEST_CLUSTER)
    while at > lowest and not is_boundary(text, at):
        at -= 1
    return at


@lru_cache(4096)
def _extends(character: str) -> bool:
    """Whether it is part of the character before it."""
    return (
        unicodedata.category(character) in {"Mn", "Me", "Mc"}
        or character in _HALF_WIDTH_VOICING
        or character == _JOINER
        or "\u1160" <= character <= "\u11ff"  # vowels and finals of Hangul
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # colours of skin
        or "\U000e0020" <= character <= "\U000e007f"  # tags of flags
    )


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _densest(spans: Sequence[Span]) -> int:
    """Where the passage's length holds most of matched text; the first such place."""
    best, most, held, last = spans[0][0], 0, 0, 0
    for first, (start, _) in enumerate(spans):
        while last < len(spans) and spans[last][1] <= start + MAX_PASSAGE_CHARACTERS // 2:
            held += spans[last][1] - spans[last][0]
            last += 1
        if held > most:
            best, most = start, held
        if last > first:
            held -= spans[first][1] - spans[first][0]
        else:  # a match longer than the passage
            last = first + 1
    return best


def _begin(text: str, at: int) -> int:
    """The beginning of the sentence or line, or a little before ``at`` where that is far."""
    earliest = max(0, at - _LEAD_IN_CHARACTERS)
    for place in range(at, earliest, -1):
        if text[place - 1] in _BREAKS and is_boundary(text, place):
            return place
    return boundary_before(text, earliest) if earliest else 0


def _end(text: str, start: int, spans: Sequence[Span]) -> int:
    """Where the passage ends: with the text, else behind the last sentence that fits."""
    latest = start + MAX_PASSAGE_CHARACTERS
    if latest >= len(text):
        end = len(text)
    else:
        end = boundary_before(text, latest)
        if end <= start:  # one character of very many marks
            end = latest
        place = bisect_right(spans, (end, end)) - 1
        if place >= 0 and spans[place][0] < end < spans[place][1] and spans[place][0] > start:
            end = spans[place][0]
        told = max((at for _, at in spans[: place + 1] if at <= end), default=start)
        for at in range(end, max(told, start + MAX_PASSAGE_CHARACTERS // 2), -1):
            if text[at - 1] in _BREAKS and is_boundary(text, at):
                end = at
                break
    while end > start + 1 and text[end - 1].isspace():
        end -= 1
    return end


def _parts(run: str) -> Iterator[str]:
    """Parts of a Japanese run that look like words.

    These begin where the script changes (送る, 決定事項は) or are at least two
    characters of one script (定事). One ideograph alone is a word where a particle
    follows it (税 in 税が). Hiragana by itself is mostly grammar.
    """
    scripts = [_script(character) for character in run]
    for start, script in enumerate(scripts):
        if script == "hiragana":
            continue
        is_first = start == 0 or scripts[start - 1] != script
        for end in range(start + 2, len(run) + 1):
            if is_first or scripts[end - 1] == script:
                yield run[start:end]
            else:
                break
        is_alone = is_first and (start + 1 == len(run) or run[start + 1] in _PARTICLES)
        if is_alone and script == "ideograph":
            yield run[start]


def _script(character: str) -> str:
    if "\u3041" <= character <= "\u309f":
        return "hiragana"
    if "\uac00" <= character <= "\ud7a3":
        return "hangul"
    return "katakana" if "\u30a1" <= character <= "\u30ff" else "ideograph"


def _is_at(word: str, text: str, at: int) -> bool:
    if not text.startswith(word, at):
        return False
    if _FIRST_UNSPACED.match(word):
        return True
    around = text[max(at - 1, 0) : at] + text[at + len(word) : at + len(word) + 1]
    return not any((c.isalnum() or c == "_") and not _FIRST_UNSPACED.match(c) for c in around)


def _folded(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """The text in NFKC and lower case; for each of its characters, where in the text it is from.

    That is from where to where: one character may become several (㍻), and
    several one (ﾊﾞ).
    """
    size = len(text)
    if text.isascii():
        return text.lower(), range(size), range(1, size + 1)
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    while at < size:
        end = at + 1
        while (
            end < size
            and text[end] >= _FIRST_MARK
            and _extends(text[end])
            and end < at + _LONGEST_CLUSTER
        ):
            end += 1
        characters = _fold(text[at:end])
        folded.append(characters)
        if len(characters) == 1:
            starts.append(at)
            ends.append(end)
        else:
            starts += [at] * len(characters)
            ends += [end] * len(characters)
        at = end
    return "".join(folded), starts, ends


@lru_cache(4096)
def _fold(piece: str) -> str:
    return unicodedata.normalize("NFKC", piece).lower()
