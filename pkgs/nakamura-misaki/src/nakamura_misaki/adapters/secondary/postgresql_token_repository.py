"""API tokens in PostgreSQL."""

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from asyncpg.exceptions import UniqueViolationError

from nakamura_misaki.adapters.secondary.postgresql_repository import (
    PostgreSQLRepository,
    restored,
)
from nakamura_misaki.application.access import ApiToken, TokenIds
from nakamura_misaki.domain.errors import AlreadyExists
from nakamura_misaki.domain.rules import utc_now
from nakamura_misaki.infrastructure.database.manager import Connection, DatabaseManager

_COLUMNS = (
    "id",
    "name",
    "secret_hash",
    "user_id",
    "created_at",
    "expires_at",
    "revoked_at",
    "last_used_at",
)
_LIST = ", ".join(_COLUMNS)

# The index of names knows no present moment: a name that an expired token holds is freed first.
_FREE_NAME = (
    "UPDATE api_tokens SET revoked_at = expires_at WHERE workspace_id = $1 AND name = $2"
    " AND revoked_at IS NULL AND expires_at <= $3"
)
_INSERT = (
    f"INSERT INTO api_tokens (workspace_id, {_LIST}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
)
_GET = f"SELECT {_LIST} FROM api_tokens WHERE workspace_id = $1 AND id = $2"
_ALL = f"SELECT {_LIST} FROM api_tokens WHERE workspace_id = $1 ORDER BY created_at, id"
_REVOKE = (
    "UPDATE api_tokens SET revoked_at = $3 WHERE workspace_id = $1 AND id = $2"
    " AND (revoked_at IS NULL OR ($4 AND revoked_at = $3)) RETURNING true"
)
_NOTE_USE = (
    "UPDATE api_tokens SET last_used_at = $3 WHERE workspace_id = $1 AND id = $2"
    " AND (last_used_at IS NULL OR last_used_at < $3)"
)

_row: Callable[[ApiToken], tuple[Any, ...]] = attrgetter(*_COLUMNS)
_token = restored(ApiToken, _COLUMNS)


class PostgreSQLTokenRepository(PostgreSQLRepository):
    """The port ``TokenRepository``."""

    def __init__(
        self,
        manager: DatabaseManager,
        workspace_id: str | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(manager, workspace_id)
        self._clock = clock

    async def create(self, token: ApiToken) -> ApiToken:
        now = self._clock()
        attempts = 0

        async def create(connection: Connection) -> None:
            nonlocal attempts
            attempts += 1
            try:
                async with connection.transaction():
                    await connection.execute(_FREE_NAME, self._workspace_id, token.name, now)
                    await connection.execute(_INSERT, self._workspace_id, *_row(token))
            except UniqueViolationError as error:
                if attempts > 1:  # perhaps the first attempt's commit, whose answer was lost
                    stored = await connection.fetchrow(_GET, self._workspace_id, token.id)
                    if stored is not None and tuple(stored) == _row(token):
                        return
                if error.constraint_name == "uq_api_tokens_name":
                    raise AlreadyExists(
                        f"There is a token named {token.name} already;"
                        " revoke it first, or choose another name."
                    ) from None
                raise AlreadyExists(f"There is a token {token.id} already.") from None

        await self._run(create)
        return token

    async def get(self, token_id: UUID) -> ApiToken | None:
        row = await self._run(lambda c: c.fetchrow(_GET, self._workspace_id, token_id))
        return None if row is None else _token(row)

    async def list(self) -> list[ApiToken]:
        rows = await self._run(lambda c: c.fetch(_ALL, self._workspace_id))
        return [_token(row) for row in rows]

    async def revoke(self, token_id: UUID, at: datetime) -> bool:
        attempts = 0

        async def revoke(connection: Connection) -> bool:
            nonlocal attempts
            attempts += 1
            # A second attempt may meet what the first did, whose answer was lost; it is this
            # caller's if it carries this caller's time.
            revoked = await connection.fetchval(
                _REVOKE, self._workspace_id, token_id, at, attempts > 1
            )
            return bool(revoked)

        return await self._run(revoke)

    async def note_use(self, token_id: UUID, at: datetime) -> None:
        await self._run(lambda c: c.execute(_NOTE_USE, self._workspace_id, token_id, at))

    async def find_ids(self, digits: str) -> TokenIds:
        return await self._find_ids("api_tokens", digits)
