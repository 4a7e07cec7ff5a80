"""``make bench-service``: the service under load and through restarts of its database."""

import asyncio
import sys
import time
from pathlib import Path

import click
from rich.console import Console

# Run as a program, not by pytest: its siblings are found as the tests find them.
sys.path[0] = str(Path(__file__).resolve().parents[1])

SECTIONS = ("observer", "load", "chaos")


@click.command()
@click.option("--only", default=",".join(SECTIONS), help="Sections, separated by commas.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each comparison (default 5).")
@click.option("--quick", is_flag=True, help="A few requests of everything: only whether it runs.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("bench-results/service.json"),
    show_default=True,
)
def main(only: str, rounds: int | None, quick: bool, json_file: Path) -> None:
    """Measure the sections named, print a table and write it as JSON. Takes about three minutes."""
    from dataclasses import replace

    from performance.harness import Answer
    from performance.service_chaos import measure_chaos
    from performance.service_load import QUICK_LOAD, LoadScale, measure_load
    from performance.service_observer import measure_observer
    from performance.stage import QUICK, Scale, Stage, staged

    names = [name.strip() for name in only.split(",")]
    if unknown := set(names) - set(SECTIONS):
        raise click.BadParameter(f"{unknown.pop()!r} is none of {', '.join(SECTIONS)}.")
    load = QUICK_LOAD if quick else LoadScale()
    load = replace(load, rounds=rounds or load.rounds)
    answer = Answer()

    async def measure(stage: Stage) -> None:
        answer.facts = await stage.facts()
        if "observer" in names:
            turns = 2 if quick else 100
            await measure_observer(stage, answer, turns=turns, calls=400)
        if "load" in names:
            await measure_load(stage, answer, load)
        if "chaos" in names:
            await measure_chaos(stage, answer, quick=quick)

    progress = Console(stderr=True, highlight=False)
    started = time.monotonic()
    scale = QUICK if quick else Scale()
    with staged(scale, progress, durable=not quick, shared_buffers="256MB") as stage:
        asyncio.run(measure(stage))
    answer.facts["seconds"] = round(time.monotonic() - started)
    answer.write(json_file)
    console = Console()
    if not console.is_terminal:
        console.width = 150  # a table cut to the 80 columns of a pipe can't be read
    answer.show(console)
    console.print(f"Written to {json_file}.")


if __name__ == "__main__":
    main()
