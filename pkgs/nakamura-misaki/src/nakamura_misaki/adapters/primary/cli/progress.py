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
def progress_bars(call: Invocation) -> Iterator[OnProgress]:
    """A bar for each thing that is being done; nothing where nobody watches."""
    if call.as_json or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    from nakamura_misaki.adapters.primary.cli.output import console

    columns = (TextColumn("{task.description:<12}"), BarColumn(30), MofNCompleteColumn())
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console(stderr=True)) as progress:

        def on_progress(what: str, done: int, total: int | None) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield on_progress


async def embed_with_progress(call: Invocation, app: "App") -> int:
    """Embed what is pending; how many notes got a vector. Raises EmbeddingFailed."""
    with progress_bars(call) as on_progress:
        return await embed_all_pending(
            app.embedding_store, lambda done, total: on_progress("embedding", done, total)
        )


async def switch_model_of(call: Invocation, app: "App") -> int:
    """Embed everything with the model configured now, and use it; how many notes got a vector."""
    store = app.embedding_store
    total = await store.count_pending()
    with progress_bars(call) as on_progress:
        await store.switch_model(lambda done: on_progress("embedding", done, total))
    return total
