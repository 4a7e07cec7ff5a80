"""``reembed``: another model for the vectors, and the way back."""

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import TEXT, json_option
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.infrastructure.database.vector_codec import MAX_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nakamura_misaki.application.reembedding import Outcome, Plan, Reembedding
    from nakamura_misaki.domain.embedding import Embedder
    from nakamura_misaki.infrastructure.di import App
    from nakamura_misaki.infrastructure.settings import Settings


@click.command()
@click.option("--model", type=TEXT, metavar="M", help="[default: EMBEDDING_MODEL]")
@click.option(
    "--dimensions",
    type=click.IntRange(1, MAX_DIMENSIONS),
    metavar="N",
    help="[default: EMBEDDING_DIMENSIONS, else what the model has by itself]",
)
@click.option(
    "--provider", type=click.Choice(["openai", "hashing"]), help="[default: EMBEDDING_PROVIDER]"
)
@click.option(
    "--batch",
    type=click.IntRange(1, 2000),
    default=256,
    show_default=True,
    metavar="N",
    help="Notes embedded at once; what is done by a batch stays done.",
)
@click.option(
    "--allow-missing",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Switch though the model refuses the texts of so many notes.",
)
@click.option(
    "--price-per-million",
    type=click.FloatRange(min=0),
    metavar="DOLLARS",
    help="What a million tokens cost. [default: OpenAI's price, for its models]",
)
@click.option("--dry-run", is_flag=True, help="Only say what there is to do and what it costs.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--status", is_flag=True, help="List the models of which vectors are stored.")
@click.option("--rollback", is_flag=True, help="Use the model again that was replaced last.")
@click.option(
    "--discard-old", is_flag=True, help="Delete the vectors of every model but the one in use."
)
@json_option
@click.pass_obj
def reembed(
    call: Invocation,
    model: str | None,
    dimensions: int | None,
    provider: str | None,
    batch: int,
    allow_missing: int,
    price_per_million: float | None,
    dry_run: bool,
    yes: bool,
    status: bool,
    rollback: bool,
    discard_old: bool,
) -> None:
    """Embed every note with another model, then use that one.

    The new vectors are made beside the old ones, which answer every search until the switch and
    are kept afterwards. Interrupted in whatever way, run it again: it goes on where it stopped.

    \b
    Examples:
      nakamura-misaki reembed --model text-embedding-3-large --dry-run
      nakamura-misaki reembed --model text-embedding-3-large
      nakamura-misaki reembed --rollback

    Without a terminal it goes on unasked, unless it costs money: then it takes --yes. Exits with
    1 if another reembed is at work, 3 if there is nothing to go back to, 8 if the embedder fails
    or refuses a text; the old model then stays in use.
    """
    modes = status + rollback + discard_old
    if modes > 1 or (modes and (model or dimensions or provider or dry_run)):
        raise click.UsageError("--status, --rollback and --discard-old stand by themselves.")
    if modes:
        from nakamura_misaki.adapters.primary.cli import reembed_modes

        if status:
            reembed_modes.show_status(call)
        elif rollback:
            reembed_modes.roll_back(call)
        else:
            reembed_modes.discard_old(call, is_certain=yes)
        return
    from nakamura_misaki.infrastructure.di.models import settings_for_model

    settings = settings_for_model(
        call.settings, provider=provider, model=model, dimensions=dimensions
    )
    call.wait_for(
        _reembed(
            call,
            settings,
            batch=batch,
            allow_missing=allow_missing,
            price=price_per_million,
            is_dry=dry_run,
            is_certain=yes,
        )
    )


async def switch_model_of(call: Invocation, app: "App") -> int:
    """What ``embed-pending --switch-model`` does, in the words of before; how many were embedded."""
    call.warn("--switch-model will go; use: nakamura-misaki reembed --yes")
    async with reembedding(call, app, app.embedder) as work:
        outcome = await work.run()
    for warning in outcome.warnings:
        call.warn(warning)
    return outcome.embedded


@asynccontextmanager
async def reembedding(
    call: Invocation, app: "App", embedder: "Embedder | None", model: str = "", batch: int = 256
) -> "AsyncIterator[Reembedding]":
    """The use case on the application's database, with a progress bar."""
    from nakamura_misaki.adapters.primary.cli.progress import progress_bars
    from nakamura_misaki.application.reembedding import Reembedding
    from nakamura_misaki.infrastructure.di import models

    with progress_bars(call, with_rate=True) as on_progress:
        build = models.index_builder(app.settings, demo=call.demo)

        async def build_indexes(name: str) -> list[str]:
            on_progress("indexing", 0, None)
            actions = await build(name)
            on_progress("indexing", 1, 1)
            return actions

        yield Reembedding(
            models.build_model_store(app, embedder),
            model or (embedder.model if embedder else ""),
            build_indexes,
            max_bytes=app.settings.embedding_max_input_tokens,
            batch=batch,
            on_progress=lambda done, total: on_progress("embedding", done, total),
        )


async def _reembed(
    call: Invocation,
    settings: "Settings",
    *,
    batch: int,
    allow_missing: int,
    price: float | None,
    is_dry: bool,
    is_certain: bool,
) -> None:
    from nakamura_misaki.infrastructure.di import compose
    from nakamura_misaki.infrastructure.di.models import dollars_per_million, is_paid_for

    if price is None:
        price = dollars_per_million(settings)
    async with compose(settings, demo=call.demo, announce=call.announce) as app:
        async with reembedding(call, app, app.embedder, batch=batch) as work:
            plan = await work.plan()
        if is_dry or plan.is_done:
            _print_plan(call, plan, price)
            return
        cost = plan.cost(price)
        is_free = cost == 0 or (cost is None and not is_paid_for(settings)) or not plan.tokens
        _confirm(call, "\n".join(plan_lines(plan, price)), is_certain=is_certain, is_free=is_free)
        async with reembedding(call, app, app.embedder, batch=batch) as work:
            outcome = await work.run(allow_missing=allow_missing)
    print_outcome(call, outcome)


def _confirm(call: Invocation, plan: str, *, is_certain: bool, is_free: bool) -> None:
    if is_certain:
        return
    if is_at_terminal():
        click.confirm(f"{plan}\nGo on?", abort=True, err=True)
    elif not is_free:
        raise InvalidInput(f"{plan.splitlines()[-1]} Without a terminal to ask at, say --yes.")


def is_at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def plan_lines(plan: "Plan", price: float | None) -> list[str]:
    """The plan for a person: what there is to do, and in the last line what it costs."""
    if plan.is_done:
        return [f"{plan.model} is in use, and no note lacks a vector of it."]
    place = f", in place of {plan.active}" if plan.active not in (None, plan.model) else ""
    notes, texts = plan.pending.notes, plan.pending.texts
    what = f"{output.count(notes, 'note')} to embed with {plan.model}{place}"
    lines = [f"{what}; {output.count(texts, 'text')} of them not embedded before."]
    cost = plan.cost(price)
    if price == 0:
        lines.append("That costs nothing.")
    elif cost is None:
        lines.append(f"That is about {plan.tokens:,} tokens, at a price not known here.")
    else:
        lines.append(
            f"That is about {plan.tokens:,} tokens, or ${cost:,.2f} at ${price:g} a million."
        )
    return lines


def _print_plan(call: Invocation, plan: "Plan", price: float | None) -> None:
    if call.as_json:
        output.print_json(
            {
                "model": plan.model,
                "active": plan.active,
                "notes": plan.pending.notes,
                "texts": plan.pending.texts,
                "tokens": plan.tokens,
                "dollars": plan.cost(price),
                "switched": False,
            }
        )
    else:
        output.print_human(*map(output.styled, plan_lines(plan, price)))


def print_outcome(call: Invocation, outcome: "Outcome") -> None:
    """Say what was done, and what is to be done with the settings now."""
    from nakamura_misaki.infrastructure.di.models import model_of, setting_lines

    for warning in outcome.warnings:
        call.warn(warning)
    settings = [] if model_of(call.settings) == outcome.model else setting_lines(outcome.model)
    if call.as_json:
        output.print_json(
            {
                "model": outcome.model,
                "replaced": outcome.replaced,
                "embedded": outcome.embedded,
                "texts": outcome.asked,
                "missing": outcome.missing,
                "actions": outcome.actions,
                "switched": True,
                "settings": settings,
            }
        )
        return
    lines = [*outcome.actions]
    if outcome.embedded:
        asked = output.count(outcome.asked, "text")
        lines.append(f"{output.count(outcome.embedded, 'note')} given a vector, for {asked}")
    lines.append(f"{outcome.model} is in use now.")
    if outcome.missing:
        lines.append(f"{output.count(outcome.missing, 'note')} without a vector: words find them.")
    if outcome.replaced is not None:
        lines.append(
            f"{outcome.replaced} is kept: --rollback goes back to it, --discard-old ends that."
        )
    output.print_human(*map(output.styled, lines))
    if settings:
        output.print_human(output.styled("Now set, and restart the service:"))
        output.print_commands(settings, 2)
