"""Progress bars: on stderr, on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.application.notes import embed_all_pending

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di import App

OnProgress: TypeAlias = Callable[[str, int, int | None], None]
"""Hears what is being done, how many are done, and of how many (None while unknown)."""


@contextmanager
def progress_bars(call: Invocation, *, with_rate: bool = False) -> Iterator[OnProgress]:
    """A bar for each thing that is being done; nothing where nobody watches.

    ``with_rate``: how many a second, too, and how long it will still take.
    """
    if call.as_json or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    from nakamura_misaki.adapters.primary.cli.output import console

    columns: list[ProgressColumn] = [TextColumn("{task.description:<12}"), BarColumn(30)]
    columns.append(MofNCompleteColumn())
    if with_rate:
        columns += [TextColumn("{task.fields[rate]}"), TimeRemainingColumn()]
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console(stderr=True)) as progress:

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total, rate="")
            progress.update(bars[what], completed=done, total=total)
            if with_rate and (speed := progress.tasks[bars[what]].speed):
                progress.update(bars[what], rate=f"{speed:,.0f}/s")

        yield on_progress


async def embed_with_progress(call: Invocation, app: "App") -> int:
    """Embed what is pending; how many notes got a vector. Raises EmbeddingFailed."""
    with progress_bars(call) as on_progress:
        return await embed_all_pending(
            app.embedding_store, lambda done, total: on_progress("embedding", done, total)
        )
