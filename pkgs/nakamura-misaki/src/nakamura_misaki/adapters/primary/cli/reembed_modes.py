"""``reembed --status``, ``--rollback``, ``--discard-old``."""

from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.reembed import (
    is_at_terminal,
    print_outcome,
    reembedding,
)
from nakamura_misaki.application.reembedding import Outcome, replaced_last
from nakamura_misaki.domain.errors import InvalidInput, NakamuraMisakiError
from nakamura_misaki.infrastructure import di
from nakamura_misaki.infrastructure.di import models

if TYPE_CHECKING:
    from nakamura_misaki.domain.repositories import StoredModel
    from nakamura_misaki.infrastructure.di import App


def show_status(call: Invocation) -> None:
    """Every model of which vectors are stored."""
    stored = call.run(_models)
    if call.as_json:
        output.print_json(
            [
                {
                    "model": each.model,
                    "dimensions": each.dimensions,
                    "state": _state(each),
                    "replaced_at": each.replaced_at and each.replaced_at.isoformat(),
                    "vectors": each.vectors,
                    "missing": each.missing,
                }
                for each in stored
            ]
        )
        return
    made = output.table("MODEL", "VECTORS", "MISSING", "STATE")
    for each in stored:
        when = ""
        if each.replaced_at is not None:
            when = f" {each.replaced_at.astimezone(call.zone):%Y-%m-%d %H:%M}"
        made.add_row(
            output.styled(each.model),
            output.styled(f"{each.vectors:,}"),
            output.styled(f"{each.missing:,}"),
            output.styled(f"{_state(each)}{when}"),
        )
    output.print_human(made if stored else output.styled("No vectors are stored yet."))


def roll_back(call: Invocation) -> None:
    """Use the model again that was replaced last."""

    async def work(app: "App") -> Outcome:
        model = replaced_last(await _models(app)).model
        embedder = models.embedder_of(call.settings, model)
        try:
            async with reembedding(call, app, embedder, model) as use_case:
                return await use_case.roll_back(can_embed=embedder is not None)
        finally:
            if embedder is not None:
                await embedder.close()

    print_outcome(call, call.run(work))


def discard_old(call: Invocation, *, is_certain: bool) -> None:
    """Delete the vectors of every model but the one in use."""

    async def work(app: "App") -> int:
        others = [each for each in await _models(app) if not each.is_active]
        if not others:
            return 0
        names = ", ".join(f"{each.model} ({each.vectors:,} vectors)" for each in others)
        if not is_certain and not is_at_terminal():
            raise InvalidInput(f"this deletes {names} for good; give --yes if you mean it.")
        if not is_certain:
            click.confirm(f"Delete {names} for good?", abort=True, err=True)
        store = models.build_model_store(app, None)
        async with store.at_work():
            return await store.discard_others()

    discarded = call.run(work)
    if discarded:
        try:
            call.wait_for(di.maintain(call.settings, demo=call.demo))
        except NakamuraMisakiError as error:
            call.warn(f"the indexes of these vectors are still there: {error}")
    if call.as_json:
        output.print_json({"discarded": discarded})
    else:
        output.print_human(output.styled(f"{output.count(discarded, 'vector')} deleted."))


async def _models(app: "App") -> "list[StoredModel]":
    return await models.build_model_store(app, None).models()


def _state(model: "StoredModel") -> str:
    if model.is_active:
        return "in use"
    return "unfinished" if model.replaced_at is None else "replaced"
