"""What changes the model of the vectors: stores, embedders of models by name, indexes."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nakamura_misaki.application.embedding_prices import price_of
from nakamura_misaki.application.reembedding import BuildIndexes
from nakamura_misaki.domain.embedding import Embedder
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.repositories import ModelStore
from nakamura_misaki.infrastructure.di.databases import Announce, owner_url
from nakamura_misaki.infrastructure.di.repositories import build_embedder

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di.application import App
    from nakamura_misaki.infrastructure.settings import Settings

HASHING = "hashing-v"
"""How the names of the offline embedder's models begin."""


def settings_for_model(
    settings: "Settings",
    *,
    provider: str | None = None,
    model: str | None = None,
    dimensions: int | None = None,
) -> "Settings":
    """The settings with another model; what is not given stays, as far as it fits that model."""
    if model is not None and provider is None:
        provider = "openai"  # the other one has no choice of models
    chosen = provider or settings.effective_embedding_provider
    name = model or settings.embedding_model
    is_another = (chosen, name) != (
        settings.effective_embedding_provider,
        settings.embedding_model,
    )
    if dimensions is None and not is_another:
        dimensions = settings.embedding_dimensions
    return settings.model_copy(
        update={
            "embedding_provider": chosen,
            "embedding_model": name,
            "embedding_dimensions": dimensions,
        }
    )


def model_of(settings: "Settings") -> str:
    """The name of the model that the settings choose, as it is stored with the vectors."""
    return build_embedder(settings).model


def setting_lines(model: str) -> list[str]:
    """The settings, as NAME=value, that choose a stored model."""
    name, _, dimensions = model.rpartition("@")
    if name.startswith(HASHING):
        return ["EMBEDDING_PROVIDER=hashing", f"EMBEDDING_DIMENSIONS={dimensions}"]
    return [
        "EMBEDDING_PROVIDER=openai",
        f"EMBEDDING_MODEL={name}",
        f"EMBEDDING_DIMENSIONS={dimensions}",
    ]


def embedder_of(settings: "Settings", model: str) -> Embedder | None:
    """An embedder of a stored model, or None where the settings don't allow one."""
    name, _, dimensions = model.rpartition("@")
    if not (name and dimensions.isdecimal()):
        return None
    is_hashing = name.startswith(HASHING)
    chosen = settings_for_model(
        settings,
        provider="hashing" if is_hashing else "openai",
        model=settings.embedding_model if is_hashing else name,
        dimensions=int(dimensions),
    )
    try:
        embedder = build_embedder(chosen)
    except ConfigurationError:
        return None
    return embedder if embedder.model == model else None


def build_model_store(app: "App", embedder: Embedder | None) -> ModelStore:
    """The models of the settings' own workspace. Raises ConfigurationError for JSON files."""
    from nakamura_misaki.adapters.secondary.postgresql_model_store import PostgreSQLModelStore

    return PostgreSQLModelStore(app.database, embedder)


def index_builder(
    settings: "Settings", *, demo: bool = False, announce: Announce = lambda data_dir: None
) -> BuildIndexes:
    """What builds the vector indexes of a model; it raises ConfigurationError if the role may not."""

    async def build(model: str) -> list[str]:
        from nakamura_misaki.infrastructure.database.maintenance import index_model

        url = await owner_url(settings, demo=demo, announce=announce)
        return (await index_model(url, settings.workspace_id, model)).actions

    return build


def dollars_per_million(settings: "Settings") -> float | None:
    """What a million tokens cost with these settings: 0 offline; None where it is not known."""
    if settings.effective_embedding_provider == "hashing":
        return 0.0
    return price_of(settings.embedding_model) if is_paid_for(settings) else None


def is_paid_for(settings: "Settings") -> bool:
    """Whether OpenAI itself is asked, which sends a bill."""
    if settings.effective_embedding_provider != "openai":
        return False
    url = settings.openai_base_url
    return url is None or urlsplit(url).hostname == "api.openai.com"
