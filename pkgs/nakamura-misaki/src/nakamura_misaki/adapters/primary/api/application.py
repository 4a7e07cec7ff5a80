"""The HTTP API, put together."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI

from nakamura_misaki import __version__
from nakamura_misaki.adapters.primary.api import handoffs, notes, sessions, tasks
from nakamura_misaki.adapters.primary.api.document import describe
from nakamura_misaki.adapters.primary.api.middleware import (
    BodyLimit,
    OnResponse,
    RequestContext,
)
from nakamura_misaki.adapters.primary.api.problems import add_handlers
from nakamura_misaki.application.access import Gate
from nakamura_misaki.infrastructure.di.application import App


def create_api(
    app: App,
    gate: Gate,
    *,
    on_response: OnResponse | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Version 1 of the API on a composed application, for whoever ``gate`` admits.

    ``on_response`` hears of every answer; ``routers`` are served beside, without a
    token. There are no pages of documentation, which would load scripts from
    elsewhere; ``/openapi.json`` is open to all.
    """
    api = FastAPI(
        title="nakamura-misaki",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state.app = app
    api.state.gate = gate
    served = (tasks.router, handoffs.router, notes.router, sessions.router, *routers)
    for router in served:
        api.include_router(router)
    add_handlers(api, [route for router in served for route in router.routes])
    describe(api)
    api.add_middleware(BodyLimit, limit=app.settings.api_max_body_bytes)
    api.add_middleware(RequestContext, on_response=on_response)  # around everything else
    return api
