"""Who may ask: bearer tokens, each bound to a workspace and perhaps to one user.

A token reads ``nmk.WORKSPACE.ID.SECRET``. It names its workspace, so that it can
be looked up as that workspace and row-level security needs no exception; its
secret has 256 random bits, of which only the SHA-256 is stored (so many bits need
no slow hash: nobody can guess them).
"""

import contextlib
import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from nakamura_misaki.application.lookup import find_id
from nakamura_misaki.domain.errors import InvalidInput, NotFound, StorageUnavailable
from nakamura_misaki.domain.rules import require_line, utc_now

USE_IS_NOTED_EVERY = timedelta(minutes=5)
"""How exactly ``last_used_at`` is kept: noting each use would be a write a request."""

MAX_TOKEN_CHARACTERS = 2048
"""The longest id of a workspace takes 1,360 of them."""

_ID_LIKE = re.compile(r"[0-9A-Fa-f-]{4,}")
_PREFIX = "nmk"
_FORM = re.compile(
    rf"{_PREFIX}\.([A-Za-z0-9_-]{{1,1360}})\.([0-9a-f]{{32}})\.([A-Za-z0-9_-]{{43}})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """What is stored of a token. ``user_id`` None: it may act for every user of its workspace."""

    id: UUID
    name: str
    secret_hash: bytes
    user_id: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Whether it lets anybody in, and if not, what ended it first."""
        if self.is_valid(now):
            return "valid"
        has_expired = self.expires_at is not None and (
            self.revoked_at is None or self.expires_at <= self.revoked_at
        )
        return "expired" if has_expired else "revoked"


class Principal(NamedTuple):
    """Who asks, as far as a token tells: it reaches this workspace, and as this user only if set."""

    workspace_id: str
    token_name: str
    token_id: str
    """A UUID, or ``fixed:NAME`` for a token of the settings."""
    user_id: str | None


TokenIds: TypeAlias = list[UUID]
"""Within a class that has a method ``list`` the name means that."""


class TokenRepository(Protocol):
    """Tokens of one workspace. Every method may raise StorageUnavailable."""

    async def create(self, token: ApiToken) -> ApiToken:
        """Store a new token. Raises AlreadyExists if its id is taken, or its name by a valid one.

        An expired token that holds the name counts as revoked when it expired.
        """
        ...

    async def get(self, token_id: UUID) -> ApiToken | None: ...

    async def list(self) -> list[ApiToken]:
        """Every token, revoked ones too, in the order of their creation."""
        ...

    async def revoke(self, token_id: UUID, at: datetime) -> bool:
        """Whether the token was there and not revoked before."""
        ...

    async def note_use(self, token_id: UUID, at: datetime) -> None:
        """Remember the latest use; an earlier one than is known changes nothing."""
        ...

    async def find_ids(self, digits: str) -> TokenIds:
        """As ``TaskRepository.find_ids``."""
        ...


class TokenService:
    """Tokens of one workspace, for the operator."""

    def __init__(
        self,
        tokens: TokenRepository,
        *,
        workspace_id: str,
        new_id: Callable[[], UUID],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tokens = tokens
        self._workspace_id = workspace_id
        self._new_id = new_id
        self._clock = clock

    async def create(
        self, name: str, *, user_id: str | None = None, expires_at: datetime | None = None
    ) -> tuple[ApiToken, str]:
        """A new token, and its text, which can't be had again.

        Raises InvalidInput, or AlreadyExists if a valid token has the name.
        """
        require_line(name, "a token's name", max_characters=100)
        if user_id is not None:
            require_line(user_id, "a token's user")
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidInput("a token must not expire before it is created.")
        secret = secrets.token_urlsafe(32)
        token = ApiToken(
            id=self._new_id(),
            name=name,
            secret_hash=hash_of(secret),
            user_id=user_id,
            created_at=now,
            expires_at=expires_at,
        )
        stored = await self._tokens.create(token)
        return stored, token_text(self._workspace_id, stored.id, secret)

    async def list(self) -> list[ApiToken]:
        """Every token, revoked ones too, in the order of their creation."""
        return await self._tokens.list()

    async def revoke(self, name_or_id: str) -> ApiToken:
        """End the token of that name or id at once. Raises NotFound, or InvalidInput if it was before."""
        token = await self._find(name_or_id)
        now = self._clock()
        if not await self._tokens.revoke(token.id, now):
            raise InvalidInput(f"the token {token.name} was revoked before.")
        return replace(token, revoked_at=now)

    async def _find(self, name_or_id: str) -> ApiToken:
        named = [each for each in await self._tokens.list() if each.name == name_or_id]
        if named:
            return next((each for each in named if each.revoked_at is None), named[-1])
        token = None
        if _ID_LIKE.fullmatch(name_or_id):
            token = await self._tokens.get(await find_id(name_or_id, self._tokens, "token"))
        if token is None:
            raise NotFound(f"there is no token {name_or_id}; see: nakamura-misaki token list")
        return token


class Gate:
    """Lets in whoever shows a valid token.

    ``tokens_of`` gives the tokens of a workspace, or raises NotFound where there
    can be none; ``fixed`` are those that the operator's settings hold, by the
    hash of their whole text.
    """

    def __init__(
        self,
        tokens_of: Callable[[str], TokenRepository],
        *,
        fixed: Sequence[tuple[bytes, Principal]] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tokens_of = tokens_of
        self._fixed = tuple(fixed)
        self._clock = clock

    async def admit(self, text: str) -> Principal | None:
        """Who shows this token; None if nobody may with it. Raises StorageUnavailable.

        Takes the same time for a secret that is wrong at its beginning as for
        one that is wrong at its end.
        """
        if len(text) > MAX_TOKEN_CHARACTERS:
            return None
        given = hash_of(text)
        admitted = None
        for expected, principal in self._fixed:
            if hmac.compare_digest(given, expected):
                admitted = principal
        if admitted is not None:
            return admitted
        parts = _parts(text)
        if parts is None:
            return None
        workspace_id, token_id, secret = parts
        try:
            tokens = self._tokens_of(workspace_id)
        except NotFound:
            return None
        token = await tokens.get(token_id)
        expected = token.secret_hash if token is not None else _NO_HASH
        is_right = hmac.compare_digest(hash_of(secret), expected)
        now = self._clock()
        if token is None or not is_right or not token.is_valid(now):
            return None
        if token.last_used_at is None or now - token.last_used_at >= USE_IS_NOTED_EVERY:
            with contextlib.suppress(StorageUnavailable):  # who has the right comes in all the same
                await tokens.note_use(token.id, now)
        return Principal(workspace_id, token.name, str(token.id), token.user_id)


def hash_of(secret: str) -> bytes:
    """What is stored of a secret: its SHA-256."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


_NO_HASH = bytes(32)
"""Compared with where there is no token, so that a guessed id takes as long as a known one."""


def token_text(workspace_id: str, token_id: UUID, secret: str) -> str:
    """The text that a client sends."""
    workspace = urlsafe_b64encode(workspace_id.encode()).decode().rstrip("=")
    return f"{_PREFIX}.{workspace}.{token_id.hex}.{secret}"


def _parts(text: str) -> tuple[str, UUID, str] | None:
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    encoded, token_id, secret = match.groups()
    try:
        workspace_id = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        require_line(workspace_id, "a workspace's id")
    except ValueError:  # not base64, not UTF-8, or no id
        return None
    return workspace_id, UUID(token_id), secret
