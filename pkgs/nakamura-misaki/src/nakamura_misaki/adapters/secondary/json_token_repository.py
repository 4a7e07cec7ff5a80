"""API tokens in a JSON file: what ``STORAGE_BACKEND=json`` runs on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from nakamura_misaki.adapters.secondary.json_entries import (
    JsonEntries,
    certain_time_of,
    time_of,
    time_text,
)
from nakamura_misaki.adapters.secondary.json_store import ids_with
from nakamura_misaki.adapters.secondary.legacy_layout import TOKENS_FILE
from nakamura_misaki.application.access import ApiToken, TokenIds
from nakamura_misaki.domain.errors import AlreadyExists
from nakamura_misaki.domain.rules import utc_now

_MODE = 0o600
"""Only hashes lie there, but whoever could write the file could let himself in."""


class JsonTokenRepository:
    """The port ``TokenRepository`` over ``api_tokens.json``."""

    def __init__(self, directory: Path, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._entries = JsonEntries(
            directory, TOKENS_FILE, restore=_token, describe=_described, mode=_MODE
        )
        self._clock = clock

    async def create(self, token: ApiToken) -> ApiToken:
        def create(tokens: dict[str, ApiToken]) -> ApiToken:
            if str(token.id) in tokens:
                raise AlreadyExists(f"There is a token {token.id} already.")
            now = self._clock()
            if any(each.name == token.name and each.is_valid(now) for each in tokens.values()):
                raise AlreadyExists(
                    f"There is a token named {token.name} already;"
                    " revoke it first, or choose another name."
                )
            for key, each in tokens.items():
                if each.name == token.name and each.revoked_at is None:  # and expired
                    tokens[key] = replace(each, revoked_at=each.expires_at)
            tokens[str(token.id)] = token
            return token

        return await self._entries.change(create)

    async def get(self, token_id: UUID) -> ApiToken | None:
        return await self._entries.read(lambda tokens: tokens.get(str(token_id)))

    async def list(self) -> list[ApiToken]:
        return await self._entries.read(
            lambda tokens: sorted(tokens.values(), key=lambda token: (token.created_at, token.id))
        )

    async def revoke(self, token_id: UUID, at: datetime) -> bool:
        def revoke(tokens: dict[str, ApiToken]) -> bool:
            token = tokens.get(str(token_id))
            if token is None or token.revoked_at is not None:
                return False
            tokens[str(token_id)] = replace(token, revoked_at=at)
            return True

        return await self._entries.change(revoke)

    async def note_use(self, token_id: UUID, at: datetime) -> None:
        def note(tokens: dict[str, ApiToken]) -> None:
            token = tokens.get(str(token_id))
            if token is not None and (token.last_used_at is None or token.last_used_at < at):
                tokens[str(token_id)] = replace(token, last_used_at=at)

        await self._entries.change(note)

    async def find_ids(self, digits: str) -> TokenIds:
        return await self._entries.read(lambda tokens: ids_with(digits, map(UUID, tokens)))


def _described(token: ApiToken) -> dict[str, Any]:
    return {
        "name": token.name,
        "secret_hash": token.secret_hash.hex(),
        "user_id": token.user_id,
        "created_at": time_text(token.created_at),
        "expires_at": time_text(token.expires_at),
        "revoked_at": time_text(token.revoked_at),
        "last_used_at": time_text(token.last_used_at),
    }


def _token(key: str, entry: Any) -> ApiToken:
    return ApiToken(
        id=UUID(key),
        name=entry["name"],
        secret_hash=bytes.fromhex(entry["secret_hash"]),
        user_id=entry["user_id"],
        created_at=certain_time_of(entry["created_at"]),
        expires_at=time_of(entry["expires_at"]),
        revoked_at=time_of(entry["revoked_at"]),
        last_used_at=time_of(entry["last_used_at"]),
    )
