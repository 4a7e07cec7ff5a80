"""What the measuring found: tables for a person, JSON for whoever tunes."""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from performance.golden_measures import FIRST, Quality, interval, mean, quality, separation
from performance.golden_rivals import Scored
from performance.golden_set import HALVES, TAGS, GoldenSet, Question

LEXICAL = "words leg"
YARDSTICK = "BM25, janome"
_TOLD_APART_BY_SCORE = (
    LEXICAL,
    "vector leg, hashing",
    "vector leg, e5",
    YARDSTICK,
    "BM25, bigrams",
)
_MEASURES = {"ndcg": "nDCG", "mrr": "MRR", "recall": "R@10", "answered": f"≤{FIRST}"}


@dataclass(slots=True)
class Results:
    """The answers of every system to every question, by the system's name."""

    golden: GoldenSet
    facts: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, dict[str, Scored]] = field(default_factory=dict)
    qualities: dict[str, dict[str, Quality]] = field(default_factory=dict)

    async def ask(self, system: str, search: Callable[[str], Awaitable[Scored]]) -> None:
        answers = {question.name: await search(question.text) for question in self.golden.questions}
        self.answers[system] = answers
        self.qualities[system] = {
            question.name: quality(question, [name for name, _ in answers[question.name]])
            for question in self.answerable()
        }

    def answerable(self, half: str | None = None, tag: str | None = None) -> list[Question]:
        return [
            question
            for question in self.golden.questions
            if question.is_answerable
            and half in {None, question.half}
            and (tag is None or tag in question.tags)
        ]

    def quality(self, system: str, questions: Iterable[Question]) -> Quality:
        return mean(self.qualities[system][question.name] for question in questions)

    def difference(self, one: str, other: str, measure: str, half: str) -> dict[str, float]:
        """How much better ``one`` is, and where that lies with 95 %."""
        differences = [
            getattr(self.qualities[one][question.name], measure)
            - getattr(self.qualities[other][question.name], measure)
            for question in self.answerable(half)
        ]
        low, high = interval(differences)
        mean_difference = sum(differences) / len(differences)
        return {"mean": round(mean_difference, 4), "low": round(low, 4), "high": round(high, 4)}

    def best_scores(self, system: str) -> tuple[list[float], list[float]]:
        """The first one's score for each question with an answer, and for each without."""
        parts: tuple[list[float], list[float]] = ([], [])
        for question in self.golden.questions:
            found = self.answers[system][question.name]
            parts[not question.is_answerable].append(found[0][1] if found else 0.0)
        return parts

    def losses(self) -> list[Question]:
        """Questions that the yardstick answers better than the words leg, the worst first.

        Only of the half to tune on: whoever reads those of the other would tune on it, too.
        """

        def lost(question: Question) -> float:
            ours, theirs = (self.qualities[s][question.name] for s in (LEXICAL, YARDSTICK))
            return theirs.ndcg - ours.ndcg

        found = [question for question in self.answerable(HALVES[0]) if lost(question) > 1e-9]
        return sorted(found, key=lambda question: (-lost(question), question.name))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self._as_json(), ensure_ascii=False, indent=1) + "\n", "utf-8")

    def _as_json(self) -> dict[str, Any]:
        systems = {
            system: {
                **{half: self.quality(system, self.answerable(half)).as_json() for half in HALVES},
                "by_tag": {
                    tag: {
                        part or "all": self.quality(system, self.answerable(part, tag)).as_json()
                        for part in (None, *HALVES)
                    }
                    for tag in TAGS
                    if tag != "none"
                },
                "found_for_none": self.found_for_none(system),
                "best_score": separation(*self.best_scores(system)),
            }
            for system in self.answers
        }
        return {
            "facts": self.facts,
            "systems": systems,
            "questions": [
                {
                    "id": question.name,
                    "question": question.text,
                    "half": question.half,
                    "tags": question.tags,
                    "grades": question.grades,
                    "answers": {
                        system: [[name, round(score, 5)] for name, score in answers[question.name]]
                        for system, answers in self.answers.items()
                    },
                }
                for question in self.golden.questions
            ],
        }

    def found_for_none(self, system: str) -> float:
        """To which share of the questions without an answer the system gives notes all the same."""
        without = [question for question in self.golden.questions if not question.is_answerable]
        given = sum(bool(self.answers[system][question.name]) for question in without)
        return round(given / len(without), 3)


def show(results: Results, console: Console, losses: int) -> None:
    console.print(_halves(results))
    console.print(_tags(results))
    console.print(_differences(results))
    console.print(_scores(results))
    if losses:
        _show_losses(results, console, losses)


def _halves(results: Results) -> Table:
    sizes = {half: len(results.answerable(half)) for half in HALVES}
    table = Table(
        title=f"{len(results.golden.notes)} notes; questions with an answer: "
        + ", ".join(f"{half} {size}" for half, size in sizes.items()),
    )
    table.add_column("")
    for half in HALVES:
        for label in _MEASURES.values():
            table.add_column(f"{half} {label}", justify="right")
    for system in results.answers:
        cells = [
            f"{getattr(results.quality(system, results.answerable(half)), measure):.3f}"
            for half in HALVES
            for measure in _MEASURES
        ]
        table.add_row(system, *cells)
    return table


def _tags(results: Results) -> Table:
    table = Table(title=f"by tag, both halves: MRR (share answered in the first {FIRST})")
    table.add_column("")
    tags = [tag for tag in TAGS if tag != "none"]
    for tag in tags:
        table.add_column(f"{tag} {len(results.answerable(tag=tag))}", justify="right")
    for system in results.answers:
        means = [results.quality(system, results.answerable(tag=tag)) for tag in tags]
        table.add_row(system, *(f"{one.mrr:.2f} ({one.answered:.2f})" for one in means))
    return table


def _differences(results: Results) -> Table:
    table = Table(title="differences, with where they lie with 95 % (paired bootstrap)")
    for name in ("", "", *(f"{half} {measure}" for half in HALVES for measure in ("nDCG", "MRR"))):
        table.add_column(name, justify="left" if not name else "right")
    pairs = [(LEXICAL, YARDSTICK), (LEXICAL, "BM25, bigrams")]
    for model in ("hashing", "e5"):
        pairs += [(f"both legs, {model}", LEXICAL), (f"both legs, {model}", f"vector leg, {model}")]
    for one, other in pairs:
        if one not in results.answers:
            continue
        found = [
            results.difference(one, other, measure, half)
            for half in HALVES
            for measure in ("ndcg", "mrr")
        ]
        cells = [f"{d['mean']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})" for d in found]
        table.add_row(one, f"over {other}", *cells)
    return table


def _scores(results: Results) -> Table:
    table = Table(title="can the best score tell that there is no answer?")
    for name in (
        "",
        "with an answer: p10, median",
        "without: median, p90",
        "told apart",
        "rejected when 90 % are kept",
        "without: any note given",
    ):
        table.add_column(name, justify="right" if name else "left")
    for system in _TOLD_APART_BY_SCORE:
        if system not in results.answers:
            continue
        found: Any = separation(*results.best_scores(system))
        table.add_row(
            system,
            f"{found['with_answer']['p10']:.3f}, {found['with_answer']['median']:.3f}",
            f"{found['without']['median']:.3f}, {found['without']['p90']:.3f}",
            f"{found['chance']:.2f}",
            f"{found['rejected']:.2f} below {found['kept_90']:.3f}",
            f"{results.found_for_none(system):.2f}",
        )
    return table


def _show_losses(results: Results, console: Console, most: int) -> None:
    lost = results.losses()
    console.print(
        f"{YARDSTICK} is better than the {LEXICAL} at {len(lost)} of the {HALVES[0]} half:"
    )
    for question in lost[:most]:
        console.print(
            f"\n{question.name} {question.text!r} ({', '.join(question.tags)})",
            markup=False,
        )
        for system in (LEXICAL, YARDSTICK):
            names = [
                f"{name}[{question.grades.get(name, 0)}]"
                for name, _ in results.answers[system][question.name][:6]
            ]
            console.print(f"  {system}: {' '.join(names)}", markup=False)
