"""Search by words in plain Python, made for Japanese: what needs no database.

By the rules of the database's search (``nakamura_misaki_words_among``): text is
normalised (NFKC, lower case); runs of Han and kana become sliding bigrams,
everything else words. A run of one character is found wherever that character
stands. Texts are ranked by Okapi BM25
(https://doi.org/10.1561/1500000019, section 3.3).
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_JAPANESE = f"{_HAN}\u3041-\u309f{_KATAKANA}"
_RUNS = re.compile(f"[{_JAPANESE}]+|[^\\W_{_JAPANESE}]+")
_SEGMENTS = re.compile(f"[{_HAN}]{{2,}}|[{_KATAKANA}]{{2,}}")
_IS_KATAKANA = re.compile(f"[{_KATAKANA}]")
_FIRST_JAPANESE = re.compile(f"[{_JAPANESE}]")
_PARTICLES = "はがをにのでともへやか"
_GRAMMAR = re.compile(f"^[\u3041-\u309f]+$|[{_PARTICLES}]")
# A word of one character, such as 税 in 税は: no Han beside it, and then nothing or a particle.
# Before other kana it may be a verb's stem (使う, 使って).
_SINGLE = re.compile(f"(?<![{_HAN}])([{_HAN}])($|[\u3041-\u309f])")
_ONLY_ASKS = re.compile("[何誰私]")
_ENDS = re.compile(
    "((に(ついて|関して|つき))?[のをがはも]*(こと[をが]?)?(詳しく|くわしく|もう一度)?"
    "(教えて|おしえて|知りたい|しりたい|説明して|見せて|探して|調べて|まとめて|聞きたい|確認したい"
    "|お願い(します|いたします)?)(下さい|ください|くれますか|くれる|もらえますか|もらえる"
    "|いただけますか|いただけませんか|ほしい|欲しい|です|のですが|んですが|んだけど|ね|よ)*"
    "|(とは|って|は|が|を|に|の|という(もの|の)は|のは)?"
    "(何|なん|なに|誰|だれ|どこ|いつ|なぜ|どう|どれ|どんな|どういう|どのように|いくつ|いくら)"
    "(だった|でしたっけ|でした|でしょう|だっ|だ|です|なの|なん|したら|すれば|やって|やる|したい"
    "|します|する|しましょう|いう|いい|よい|良い|もの|こと|の)*(か|っけ|かな|ね)?)[?。!\\s]*$"
)
# Two ways to write one sound; each is looked for where the question has the other.
_VARIANTS = (
    ("ウィ", "ウイ"),
    ("ウェ", "ウエ"),
    ("ウォ", "ウオ"),
    ("ヴァ", "バ"),
    ("ヴィ", "ビ"),
    ("ヴェ", "ベ"),
    ("ヴォ", "ボ"),
    ("ェー", "ェイ"),
)

_MAX_QUESTION_CHARACTERS = 1000
_LENGTH_SHARE = 0.9
_SATURATION = (0.2, 1.2)
_LONG_TEXT = 250
"""From about this many different terms on, how often a term stands in a text counts in full."""
_LATIN_WEIGHT = 1.3
_SINGLE_WEIGHT = 0.7
_MIXED_WEIGHT = 0.3
_GRAMMAR_WEIGHT = 0.1


def normalise(text: str) -> str:
    """Text as it is compared: full and half width, upper and lower case are the same."""
    return unicodedata.normalize("NFKC", text).lower()


def subject(query: str) -> str:
    """What a query is about, normalised: without the words that only ask, unless it has no other."""
    said = normalise(query[:_MAX_QUESTION_CHARACTERS])
    stripped = _ENDS.sub("", _ENDS.sub("", said, count=1), count=1)
    return stripped if _RUNS.search(stripped) else said


def terms(text: str) -> list[str]:
    """The bigrams and words of a text, in order, each as often as it occurs."""
    found: list[str] = []
    for run in _RUNS.findall(normalise(text)):
        if len(run) > 1 and _FIRST_JAPANESE.match(run):
            found.extend(_pairs(run))
        else:
            found.append(run)
    return found


def query_terms(query: str) -> dict[str, float]:
    """What to look for, and how much each counts.

    Kana between two words is mostly grammar (は, の, について): it counts little
    beside Han, Katakana and Latin, and only where the query has nothing else.
    """
    found: dict[str, float] = {}

    def add(term: str, weight: float) -> None:
        found[term] = max(weight, found.get(term, 0.0))

    for run in _RUNS.findall(subject(query)):
        if not _FIRST_JAPANESE.match(run):
            add(run, _LATIN_WEIGHT)
        elif len(run) == 1:
            add(run, _GRAMMAR_WEIGHT if _GRAMMAR.match(run) else _SINGLE_WEIGHT)
        else:
            for pair in _pairs(run):
                add(pair, _GRAMMAR_WEIGHT if _GRAMMAR.search(pair) else _MIXED_WEIGHT)
            for segment in _SEGMENTS.findall(run):
                # A longer word has more pairs, and is not worth as much more.
                for pair in _pairs(segment):
                    add(pair, 1 / math.sqrt(len(segment) - 1))
                for variant in _variants(segment):
                    for pair in _pairs(variant):
                        add(pair, _MIXED_WEIGHT / math.sqrt(len(variant) - 1))
            for character, following in _SINGLE.findall(run):
                is_word = not following or following in _PARTICLES
                add(character, _SINGLE_WEIGHT if is_word else _MIXED_WEIGHT)
    telling = {term: weight for term, weight in found.items() if not _ONLY_ASKS.search(term)}
    return telling or found


def rank(query: str, texts: Sequence[str]) -> list[int]:
    """The indexes of the texts that share a telling term with the query, best first."""
    wanted = query_terms(query)
    single = {term for term in wanted if len(term) == 1 and _FIRST_JAPANESE.match(term)}
    finding = {term for term, weight in wanted.items() if weight > _GRAMMAR_WEIGHT} or set(wanted)
    counts: dict[int, Counter[str]] = {}
    sizes: dict[int, int] = {}
    occurs_in: Counter[str] = Counter()
    for index, text in enumerate(texts):
        found = terms(text)
        count = Counter(term for term in found if term in wanted)
        for character in single:
            if number := normalise(text).count(character):
                count[character] = number
        if not finding.isdisjoint(count):
            counts[index] = count
            sizes[index] = len(set(found))
            occurs_in.update(count.keys())
    if not counts:
        return []
    average = sum(sizes.values()) / len(sizes)
    least, most = _SATURATION
    saturation = min(most, max(least, average / _LONG_TEXT))
    weights = {
        term: wanted[term] * math.log(1 + (len(texts) - number + 0.5) / (number + 0.5))
        for term, number in occurs_in.items()
    }

    def score(index: int) -> float:
        length = saturation * (1 - _LENGTH_SHARE + _LENGTH_SHARE * sizes[index] / average)
        points = math.fsum(
            weights[term] * number * (saturation + 1) / (number + length)
            for term, number in counts[index].items()
        )
        return round(points, 6)

    scores = {index: score(index) for index in counts}
    return sorted(scores, key=lambda index: (-scores[index], index))


def _pairs(run: str) -> list[str]:
    return [run[start : start + 2] for start in range(len(run) - 1)]


def _variants(segment: str) -> set[str]:
    """The same katakana word as others write it."""
    if not _IS_KATAKANA.match(segment):
        return set()
    small = large = segment
    for one, other in _VARIANTS:
        small, large = small.replace(one, other), large.replace(other, one)
    return {small, large} - {segment}
