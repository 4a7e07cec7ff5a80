"""Search by words in plain Python, made for Japanese: what needs no database.

Text is normalised (NFKC, lower case); runs of Han and kana become sliding
bigrams, everything else words. A run of one character is found wherever that
character stands. Texts are ranked by Okapi BM25
(https://doi.org/10.1561/1500000019, section 3.3).
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_JAPANESE = (
    "\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUNS = re.compile(f"[{_JAPANESE}]+|[^\\W_{_JAPANESE}]+")
_FIRST_JAPANESE = re.compile(f"[{_JAPANESE}]")
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HIRAGANA = re.compile("[\u3041-\u309f]")
# A word of one character, such as 税 in 税は: no Han beside it, and then nothing or a particle, so
# that the stem of a verb (教えて) is not taken for one.
_SINGLE = re.compile(f"(?<![{_HAN}])[{_HAN}](?=$|[はがをにのでともへやか])")

_SATURATION = 1.2
_LENGTH_SHARE = 0.75
_SINGLE_WEIGHT = 0.7
_MIXED_WEIGHT = 0.4
_GRAMMAR_WEIGHT = 0.1


def normalise(text: str) -> str:
    """Text as it is compared: full and half width, upper and lower case are the same."""
    return unicodedata.normalize("NFKC", text).lower()


def terms(text: str) -> list[str]:
    """The bigrams and words of a text, in order, each as often as it occurs."""
    found: list[str] = []
    for run in _RUNS.findall(normalise(text)):
        if len(run) > 1 and _FIRST_JAPANESE.match(run):
            found.extend(run[start : start + 2] for start in range(len(run) - 1))
        else:
            found.append(run)
    return found


def query_terms(query: str) -> dict[str, float]:
    """What to look for, and how much each counts.

    Kana between two words is mostly grammar (は, の, について): it counts little
    beside Han, Katakana and Latin, and only where the query has nothing else.
    """
    found = dict.fromkeys(terms(query), 1.0)
    for run in _RUNS.findall(normalise(query)):
        if len(run) > 1 and _FIRST_JAPANESE.match(run):
            found.update(dict.fromkeys(_SINGLE.findall(run), _SINGLE_WEIGHT))
    for term in found:
        kana = len(_HIRAGANA.findall(term))
        if kana:
            found[term] = _GRAMMAR_WEIGHT if kana == len(term) else _MIXED_WEIGHT
    telling = {term: weight for term, weight in found.items() if weight > _GRAMMAR_WEIGHT}
    return telling if any(weight > _MIXED_WEIGHT for weight in telling.values()) else found


def rank(query: str, texts: Sequence[str]) -> list[int]:
    """The indexes of the texts that share a term with the query, best first."""
    wanted = query_terms(query)
    single = {term for term in wanted if len(term) == 1 and _FIRST_JAPANESE.match(term)}
    counts: list[Counter[str]] = []
    lengths: list[int] = []
    occurs_in: Counter[str] = Counter()
    for text in texts:
        found = terms(text)
        count = Counter(term for term in found if term in wanted)
        for character in single:
            if number := normalise(text).count(character):
                count[character] = number
        counts.append(count)
        lengths.append(len(found))
        occurs_in.update(count.keys())
    average = sum(lengths) / len(lengths) if any(lengths) else 1.0
    weights = {
        term: wanted[term] * math.log(1 + (len(texts) - number + 0.5) / (number + 0.5))
        for term, number in occurs_in.items()
    }

    def score(index: int) -> float:
        length = 1 - _LENGTH_SHARE + _LENGTH_SHARE * lengths[index] / average
        return math.fsum(
            weights[term] * number * (_SATURATION + 1) / (number + _SATURATION * length)
            for term, number in counts[index].items()
        )

    scores = {index: score(index) for index, count in enumerate(counts) if count}
    return sorted(scores, key=lambda index: (-scores[index], index))
