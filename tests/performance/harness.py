"""Measuring side by side: rounds, medians, a table, a JSON file.

A figure alone says more about the machine than about the code. So wherever
something can be compared, it is measured against a baseline in the same
process, in turns, and what counts is the ratio of the two within a round.
"""

import gc
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

Measure: TypeAlias = Callable[[], Awaitable[float]]
"""Does the work once and gives its figure, such as seconds or calls a second."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the answer. ``figures`` are those of the rounds, and are held to ``target``.

    With a ``baseline`` they are ratios to it. ``is_ceiling`` tells whether the
    target is the most (else the least) that the median may be.
    """

    section: str
    what: str
    unit: str
    measured: float
    figures: Sequence[float]
    target: float
    is_ceiling: bool
    baseline: float | None = None
    detail: str = ""

    @property
    def figure(self) -> float:
        return median(self.figures)

    @property
    def reached(self) -> bool:
        return self.figure <= self.target if self.is_ceiling else self.figure >= self.target

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "figure": self.figure,
            "least": min(self.figures),
            "most": max(self.figures),
            "reached": self.reached,
        }


@dataclass(slots=True)
class Answer:
    """All rows of a run, and what they were measured on."""

    facts: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def ratio(
        self,
        section: str,
        what: str,
        unit: str,
        pairs: Sequence[tuple[float, float]],
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        detail: str = "",
    ) -> None:
        """A row of pairs (measured, baseline), one a round."""
        target, is_ceiling = _target(at_most, at_least)
        self.rows.append(
            Row(
                section,
                what,
                unit,
                median(ours for ours, _ in pairs),
                [ours / theirs for ours, theirs in pairs],
                target,
                is_ceiling,
                median(theirs for _, theirs in pairs),
                detail,
            )
        )

    def figure(
        self,
        section: str,
        what: str,
        unit: str,
        figures: Sequence[float],
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        detail: str = "",
    ) -> None:
        """A row without a baseline: the figures themselves are what the target speaks of."""
        target, is_ceiling = _target(at_most, at_least)
        self.rows.append(
            Row(section, what, unit, median(figures), figures, target, is_ceiling, None, detail)
        )

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = {"facts": self.facts, "rows": [row.as_json() for row in self.rows]}
        path.write_text(json.dumps(answer, ensure_ascii=False, indent=2) + "\n", "utf-8")

    def show(self, console: Console) -> None:
        table = Table(title=" · ".join(f"{name} {value}" for name, value in self.facts.items()))
        for name in ("", "what", "measured", "baseline", "ratio", "min–max", "target", "reached"):
            table.add_column(name, justify="left" if name in {"", "what"} else "right")
        section = ""
        for row in self.rows:
            if row.section != section:
                table.add_section()
            table.add_row(row.section if row.section != section else "", *_cells(row))
            section = row.section
        console.print(table)
        missed = [row for row in self.rows if not row.reached]
        console.print(
            f"{len(self.rows) - len(missed)} of {len(self.rows)} targets reached."
            + "".join(f"\n  missed: {row.section}, {row.what}" for row in missed)
        )


def _cells(row: Row) -> Iterable[str]:
    is_ratio = row.baseline is not None
    low, high = min(row.figures), max(row.figures)
    yield f"{row.what} [dim]{row.detail}[/dim]" if row.detail else row.what
    yield f"{number(row.measured)} {row.unit}"
    yield f"{number(row.baseline)} {row.unit}" if row.baseline is not None else ""
    yield f"{row.figure:.2f}" if is_ratio else ""
    yield f"{low:.2f}–{high:.2f}" if is_ratio else f"{number(low)}–{number(high)}"
    yield f"{'≤' if row.is_ceiling else '≥'} {row.target:g}"
    yield "[green]yes[/green]" if row.reached else "[red]no[/red]"


def _target(at_most: float | None, at_least: float | None) -> tuple[float, bool]:
    if (at_most is None) is (at_least is None):
        raise ValueError("a target is either the most or the least")
    return (at_most, True) if at_most is not None else (at_least or 0.0, False)


def number(value: float) -> str:
    """Three digits that count, thousands with separators."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


async def in_turns(rounds: int, first: Measure, second: Measure) -> list[tuple[float, float]]:
    """The figures of both, a pair a round; who begins alternates, so that drift favours neither."""
    pairs = []
    for turn in range(rounds):
        if turn % 2 == 0:
            ours = await undisturbed(first)
            theirs = await undisturbed(second)
        else:
            theirs = await undisturbed(second)
            ours = await undisturbed(first)
        pairs.append((ours, theirs))
    return pairs


async def undisturbed(measure: Measure) -> float:
    """Measure with the garbage collector at rest, and nothing of before left to collect."""
    gc.collect()
    gc.disable()
    try:
        return await measure()
    finally:
        gc.enable()


async def latencies(calls: Iterable[Callable[[], Awaitable[object]]]) -> list[float]:
    """How long each call takes, in milliseconds, one after the other."""
    taken = []
    clock = time.perf_counter
    for call in calls:
        start = clock()
        await call()
        taken.append((clock() - start) * 1000)
    return taken


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which ``share`` of them lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
