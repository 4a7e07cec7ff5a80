"""Tokens that the operator's settings hold, for machines whose secrets come from files.

The setting API_TOKENS has one token a line, ``NAME SECRET [WORKSPACE [USER]]``,
blank lines and lines that begin with ``#`` aside. SECRET is what a client sends,
or ``sha256:`` and the 64 hexadecimal digits of its SHA-256, so that the file
need not hold it.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from nakamura_misaki.application.access import MAX_TOKEN_CHARACTERS, Principal, hash_of
from nakamura_misaki.domain.errors import ConfigurationError, InvalidInput
from nakamura_misaki.domain.rules import require_line

SETTING = "API_TOKENS"
MIN_SECRET_CHARACTERS = 32

_HASH_PREFIX = "sha256:"
_HASH = re.compile(r"[0-9A-Fa-f]{64}")
_SENDABLE = re.compile(r"[!-~]+")
"""What a header field may hold (RFC 9110, section 5.5) without blanks, which part the words here."""


class FixedToken(NamedTuple):
    """The SHA-256 of what a client sends, and who it is then."""

    secret_hash: bytes
    principal: Principal


def read_fixed_tokens(
    text: str, *, workspace_id: str, on_secret: Callable[[str], None]
) -> list[FixedToken]:
    """The tokens of the setting; those that name no workspace are of ``workspace_id``.

    ``on_secret`` hears each plain secret, before anything can fail over it.
    Raises ConfigurationError, which names the line and never shows a secret.
    """
    tokens: list[FixedToken] = []
    line_of_name: dict[str, int] = {}
    line_of_secret: dict[bytes, int] = {}
    for number, words in _lines(text):
        token = _token(number, words, workspace_id, on_secret)
        first = line_of_name.setdefault(token.principal.token_name, number)
        _require_new(number, "its name", first)
        first = line_of_secret.setdefault(token.secret_hash, number)
        _require_new(number, "its secret", first)
        tokens.append(token)
    return tokens


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _token(
    number: int, words: list[str], workspace_id: str, on_secret: Callable[[str], None]
) -> FixedToken:
    # Whatever stands in the second place may be a secret, however wrong the line is.
    if len(words) > 1 and not _is_hash(words[1]):
        on_secret(words[1])
    if not 2 <= len(words) <= 4:
        raise _mistake(number, "it must read NAME SECRET [WORKSPACE [USER]]")
    name, secret = words[:2]
    workspace_id = words[2] if len(words) > 2 else workspace_id
    user_id = words[3] if len(words) > 3 else None
    try:
        require_line(name, "the name", max_characters=100)
        require_line(workspace_id, "the workspace's id")
        if user_id is not None:
            require_line(user_id, "the user")
    except InvalidInput as error:
        raise _mistake(number, str(error).rstrip(".")) from None
    return FixedToken(
        _hash(number, secret), Principal(workspace_id, name, f"fixed:{name}", user_id)
    )


def _is_hash(secret: str) -> bool:
    # In capitals, too: taken for a secret, the hash itself would let in whoever reads it.
    return secret.lower().startswith(_HASH_PREFIX)


def _hash(number: int, secret: str) -> bytes:
    if _is_hash(secret):
        digits = secret[len(_HASH_PREFIX) :]
        if not _HASH.fullmatch(digits):
            raise _mistake(number, f"after {_HASH_PREFIX} there must be 64 hexadecimal digits")
        return bytes.fromhex(digits)
    if not MIN_SECRET_CHARACTERS <= len(secret) <= MAX_TOKEN_CHARACTERS:
        raise _mistake(
            number,
            f"the secret must have from {MIN_SECRET_CHARACTERS} to {MAX_TOKEN_CHARACTERS}"
            " characters; openssl rand -hex 32 makes one",
        )
    if not _SENDABLE.fullmatch(secret):
        raise _mistake(number, "the secret may hold only visible ASCII characters")
    return hash_of(secret)


def _require_new(number: int, what: str, first: int) -> None:
    if first != number:
        raise _mistake(number, f"{what} stands in line {first} already")


def _mistake(number: int, what: str) -> ConfigurationError:
    return ConfigurationError(f"{SETTING}, line {number}: {what}.")
