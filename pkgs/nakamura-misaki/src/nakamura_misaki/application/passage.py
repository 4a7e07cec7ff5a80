"""The part of a note that answers a query, and where the query's words are in it."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_LINES = 4
MAX_LINE_CHARACTERS = 160
MAX_SEARCHED_CHARACTERS = 50_000
_LEAD_IN_CHARACTERS = 40

_VOICING = "\u3099\u309a\uff9e\uff9f"
_PARTICLES = frozenset("がをはにのでともへや")
_RUNS = re.compile(r"[a-z0-9_]+|[\u3041-\u309f\u30a1-\u30ffー\u3400-\u9fff\uf900-\ufaff々〆]+")
_LONGEST_RUN = 40


class Line(NamedTuple):
    """A line of a passage and the spans (from, to) of matched words in it."""

    text: str
    spans: tuple[tuple[int, int], ...]


def passage(content: str, query: str) -> list[Line]:
    """At most four lines around the densest match; the first ones if no word of the query is there.

    Lines that were cut begin or end with three dots.
    """
    words = _words(query)
    texts = [line.strip() for line in content[:MAX_SEARCHED_CHARACTERS].splitlines()]
    lines = [Line(text, _spans(text, words)) for text in texts if text]
    if len(lines) > MAX_LINES:
        start = max(
            range(len(lines) - MAX_LINES + 1),
            key=lambda at: sum(len(line.spans) for line in lines[at : at + MAX_LINES]),
        )
        lines = lines[start : start + MAX_LINES]
    return [_shortened(line) for line in lines]


def coverage(lines: Iterable[Line], query: str) -> float:
    """How much of the query's words stands in the lines of a passage, from 0 to 1.

    By characters, hiragana left out as it is mostly grammar. 0 for a query of nothing else.
    """
    asked = _folded(query)[0]
    counted = {at for run in _RUNS.finditer(asked) for at in range(*run.span())}
    counted -= {at for at in counted if _script(asked[at]) == "hiragana"}
    matched: set[int] = set()
    words = {_folded(text[a:b])[0] for text, spans in lines for a, b in spans}
    # Half of a character such as ㍻ is a match without a place of its own.
    for word in filter(None, words):
        at = asked.find(word)
        while at >= 0:
            matched.update(range(at, at + len(word)))
            at = asked.find(word, at + len(word))
    return len(matched & counted) / len(counted) if counted else 0.0


def _words(query: str) -> dict[str, set[str]]:
    """What is worth setting off, by its first character."""
    runs = _RUNS.findall(_folded(query)[0])
    words: dict[str, set[str]] = {}
    for run in runs:
        for word in (run,) if run.isascii() else _parts(run[:_LONGEST_RUN]):
            words.setdefault(word[0], set()).add(word)
    return words or {run[0]: {run} for run in runs}


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
    return "katakana" if "\u30a1" <= character <= "\u30ff" else "ideograph"


def _spans(text: str, words: dict[str, set[str]]) -> tuple[tuple[int, int], ...]:
    """Where the longest words are in the text, none inside another."""
    folded, origin = _folded(text)
    spans: list[tuple[int, int]] = []
    at = 0
    while at < len(folded):
        found = max(
            (w for w in words.get(folded[at], ()) if _is_at(w, folded, at)), key=len, default=""
        )
        if found:
            spans.append((origin[at], origin[at + len(found)]))
        at += len(found) or 1
    return tuple(spans)


def _is_at(word: str, text: str, at: int) -> bool:
    if not text.startswith(word, at):
        return False
    if not word.isascii():
        return True
    around = text[max(at - 1, 0) : at] + text[at + len(word) : at + len(word) + 1]
    return not any(c.isascii() and (c.isalnum() or c == "_") for c in around)


def _folded(text: str) -> tuple[str, list[int]]:
    """The text in NFKC and lower case, and the place in the text of each of its characters."""
    folded: list[str] = []
    origin: list[int] = []
    at = 0
    while at < len(text):
        end = at + 1
        while end < len(text) and text[end] in _VOICING:
            end += 1
        characters = unicodedata.normalize("NFKC", text[at:end]).lower()
        folded.append(characters)
        origin.extend([at] * len(characters))
        at = end
    origin.append(len(text))
    return "".join(folded), origin


def _shortened(line: Line) -> Line:
    if len(line.text) <= MAX_LINE_CHARACTERS:
        return line
    first = line.spans[0][0] if line.spans else 0
    start = max(0, min(first - _LEAD_IN_CHARACTERS, len(line.text) - MAX_LINE_CHARACTERS))
    end = start + MAX_LINE_CHARACTERS
    before, after = "..." if start else "", "..." if end < len(line.text) else ""
    shift = len(before) - start
    spans = tuple((a + shift, b + shift) for a, b in line.spans if start <= a and b <= end)
    return Line(f"{before}{line.text[start:end]}{after}", spans)
