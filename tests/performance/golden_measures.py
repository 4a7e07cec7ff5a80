"""How good a ranking is: the measures, their means over questions, and how sure they are.

nDCG after Järvelin and Kekäläinen (TOIS 2002, https://doi.org/10.1145/582415.582418) with the
gains 3 for a note that answers and 1 for one that helps.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from performance.golden_set import Question

DEPTH = 10
"""How far down an answer is looked at, as a person does."""

FIRST = 3
_GAINS = {0: 0, 1: 1, 2: 3}
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one question, or the means over several. Each lies between 0 and 1."""

    ndcg: float
    """nDCG@10."""
    mrr: float
    """1 / the rank of the first note that answers; 0 where none is among the first ten."""
    recall: float
    """Which share of the notes that answer or help (at most ten) is among the first ten."""
    answered: float
    """Whether a note that answers is among the first three."""

    def as_json(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def quality(question: Question, ranking: Sequence[str]) -> Quality:
    ranking = ranking[:DEPTH]
    grades = [question.grades.get(name, 0) for name in ranking]
    ideal = sorted(question.grades.values(), reverse=True)[:DEPTH]
    first = next((rank for rank, name in enumerate(ranking, 1) if name in question.answers), None)
    return Quality(
        ndcg=_gain(grades) / _gain(ideal),
        mrr=1 / first if first else 0.0,
        recall=sum(1 for grade in grades if grade) / len(ideal),
        answered=float(first is not None and first <= FIRST),
    )


def mean(qualities: Iterable[Quality]) -> Quality:
    qualities = list(qualities)
    return Quality(
        *(fmean(getattr(one, name) for one in qualities) for name in Quality.__dataclass_fields__)
    )


def interval(differences: Sequence[float], seed: int = 7) -> tuple[float, float]:
    """Where the mean of paired differences lies with 95 %, by bootstrap (percentiles)."""
    draw = random.Random(seed)
    means = sorted(fmean(draw.choices(differences, k=len(differences))) for _ in range(_RESAMPLES))
    return means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES)]


def separation(with_answer: Sequence[float], without: Sequence[float]) -> Mapping[str, object]:
    """How far the best score tells whether there is an answer at all.

    ``chance``: that a question with an answer scores higher than one without (1: always, 0.5: it
    tells nothing). ``kept_90``: the threshold that keeps 90 % of the former, and ``rejected``
    the share of the latter that it would turn away.
    """
    wins = sum((a > b) + (a == b) / 2 for a in with_answer for b in without)
    threshold = sorted(with_answer)[len(with_answer) // 10]
    return {
        "chance": round(wins / (len(with_answer) * len(without)), 3),
        "kept_90": round(threshold, 4),
        "rejected": round(sum(score < threshold for score in without) / len(without), 3),
        "with_answer": _spread(with_answer),
        "without": _spread(without),
    }


def _spread(scores: Sequence[float]) -> dict[str, float]:
    ordered = sorted(scores)
    last = len(ordered) - 1
    return {
        name: round(ordered[round(share * last)], 4)
        for name, share in (("least", 0), ("p10", 0.1), ("median", 0.5), ("p90", 0.9), ("most", 1))
    }


def _gain(grades: Sequence[int]) -> float:
    return math.fsum(_GAINS[grade] / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
