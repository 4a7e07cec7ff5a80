"""``make bench``: what the project promises about speed, measured and held against its targets."""

import asyncio
import importlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

# Run as a program, not by pytest: its siblings are found as the tests find them.
sys.path[0] = str(Path(__file__).resolve().parents[1])

SECTIONS = ("tasks", "pool", "bulk", "save", "search", "migrate", "embedded")


@click.command()
@click.option("--only", default=",".join(SECTIONS), help="Sections, separated by commas.")
@click.option("--rounds", type=int, help="Rounds of each comparison (default 5).")
@click.option("--size", type=int, help="Notes to search among (default 100000).")
@click.option("--quick", is_flag=True, help="A few rows of everything: only whether it runs.")
@click.option("--not-durable", is_flag=True, help="Measure with fsync off.")
@click.option("--shared-buffers", help="The server's; must hold the vectors (default 2GB).")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bench-results/bench.json"),
    show_default=True,
)
def main(
    only: str,
    rounds: int | None,
    size: int | None,
    quick: bool,
    not_durable: bool,
    shared_buffers: str | None,
    json_file: Path,
) -> None:
    """Measure the sections named, print a table and write it as JSON.

    Takes about six minutes, 3 GB of memory and 4 GB of disk below the system's directory for
    temporary files (as root: /var/lib).
    """
    from performance.harness import Answer
    from performance.stage import QUICK, Scale, staged

    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in SECTIONS:
            raise click.BadParameter(
                f"{name!r} is none of {', '.join(SECTIONS)}.", param_hint="only"
            )
    scale = QUICK if quick else Scale()
    scale = replace(
        scale,
        rounds=scale.rounds if rounds is None else rounds,
        notes=scale.notes if size is None else size,
    )
    if scale.rounds < 1 or scale.notes < 1000:
        raise click.UsageError("at least 1 round and 1000 notes are needed.")
    answer = Answer()
    progress = Console(stderr=True, highlight=False)
    started = time.monotonic()
    buffers = shared_buffers or ("128MB" if quick else "2GB")
    with staged(scale, progress, durable=not not_durable, shared_buffers=buffers) as stage:
        answer.facts = asyncio.run(stage.facts())
        stage.say(", ".join(f"{name} {value}" for name, value in answer.facts.items()))
        for name in names:
            section = importlib.import_module(f"performance.bench_{name}")
            asyncio.run(section.measure(stage, answer))
    answer.facts["seconds"] = round(time.monotonic() - started)
    answer.write(json_file)
    console = Console()
    if not console.is_terminal:
        console.width = 132  # a table cut to the 80 columns of a pipe can't be read
    answer.show(console)
    console.print(f"Written to {json_file}.")


if __name__ == "__main__":
    main()
