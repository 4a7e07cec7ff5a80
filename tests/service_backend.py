"""What the contract suite of the service's stores is run on, twice as in two processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nakamura_misaki.adapters.secondary.json_event_inbox import JsonEventInbox
from nakamura_misaki.adapters.secondary.json_idempotency_store import JsonIdempotencyStore
from nakamura_misaki.adapters.secondary.json_token_repository import JsonTokenRepository
from nakamura_misaki.adapters.secondary.postgresql_event_inbox import PostgreSQLEventInbox
from nakamura_misaki.adapters.secondary.postgresql_idempotency_store import (
    PostgreSQLIdempotencyStore,
)
from nakamura_misaki.adapters.secondary.postgresql_token_repository import (
    PostgreSQLTokenRepository,
)
from nakamura_misaki.application.access import TokenRepository
from nakamura_misaki.application.idempotency import IdempotencyStore
from nakamura_misaki.application.inbox import EventInbox
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import Clock


@dataclass
class ServiceBackend:
    """``other_…`` are stores of another process over the same data."""

    tokens: TokenRepository
    other_tokens: TokenRepository
    keys: IdempotencyStore
    other_keys: IdempotencyStore
    inbox: EventInbox
    other_inbox: EventInbox
    clock: Clock


def json_service_backend(directory: Path) -> ServiceBackend:
    clock = Clock()
    return ServiceBackend(
        JsonTokenRepository(directory, clock=clock),
        JsonTokenRepository(directory, clock=clock),
        JsonIdempotencyStore(directory, clock=clock),
        JsonIdempotencyStore(directory, clock=clock),
        JsonEventInbox(directory, clock=clock),
        JsonEventInbox(directory, clock=clock),
        clock,
    )


@asynccontextmanager
async def postgresql_service_backend(database_url: str) -> AsyncIterator[ServiceBackend]:
    clock = Clock()
    managers = DatabaseManager(database_url), DatabaseManager(database_url)
    one, other = managers
    try:
        yield ServiceBackend(
            PostgreSQLTokenRepository(one, clock=clock),
            PostgreSQLTokenRepository(other, clock=clock),
            PostgreSQLIdempotencyStore(one, clock=clock),
            PostgreSQLIdempotencyStore(other, clock=clock),
            PostgreSQLEventInbox(one, clock=clock),
            PostgreSQLEventInbox(other, clock=clock),
            clock,
        )
        assert [manager.pool_status().in_use for manager in managers] == [0, 0]
    finally:
        for manager in managers:
            await manager.close()
