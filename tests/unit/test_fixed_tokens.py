"""Tokens of the settings: a text of lines, each a token or one sentence that says why not."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.adapters.secondary.json_token_repository import JsonTokenRepository
from nakamura_misaki.application.access import (
    Gate,
    Principal,
)
from nakamura_misaki.application.fixed_tokens import FixedToken, read_fixed_tokens
from nakamura_misaki.domain.errors import (
    ConfigurationError,
    NotFound,
)

SECRET = "0123456789abcdef" * 4


def read(text: str, secrets: list[str] | None = None) -> list[FixedToken]:
    heard: list[str] = [] if secrets is None else secrets
    return read_fixed_tokens(text, workspace_id="own", on_secret=heard.append)


async def test_fixed_tokens_are_read_line_by_line() -> None:
    hashed = hashlib.sha256(b"sent by the client").hexdigest()
    secrets: list[str] = []
    tokens = read(
        f"\ufeff# who may ask\r\n\r\nci {SECRET}\r\n  grafana\tsha256:{hashed.upper()}  T9  \n"
        f"bot {SECRET[::-1]} T9 U1\n#old {SECRET}",
        secrets,
    )
    assert [principal for _, principal in tokens] == [
        Principal("own", "ci", "fixed:ci", None),
        Principal("T9", "grafana", "fixed:grafana", None),
        Principal("T9", "bot", "fixed:bot", "U1"),
    ]
    assert secrets == [SECRET, SECRET[::-1]]

    def nowhere(workspace_id: str) -> JsonTokenRepository:
        raise NotFound(f"no workspace {workspace_id}")

    gate = Gate(nowhere, fixed=tokens)
    assert await gate.admit(SECRET) == tokens[0].principal
    assert await gate.admit("sent by the client") == tokens[1].principal
    assert await gate.admit(SECRET[::-1]) == tokens[2].principal
    for wrong in (SECRET[:-1], f"sha256:{hashed}", hashed, "", "ci", f"{SECRET} "):
        assert await gate.admit(wrong) is None


def test_hash_in_capitals_is_a_hash_and_no_secret() -> None:
    """As a secret it would let in whoever reads the file."""
    hashed = hashlib.sha256(b"sent by the client")
    secrets: list[str] = []
    [token] = read(f"ci SHA256:{hashed.hexdigest().upper()}", secrets)
    assert token.secret_hash == hashed.digest()
    assert secrets == []


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_fixed_tokens_may_be_none(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ci", "it must read NAME SECRET"),
        (f"ci {SECRET} w u more", "it must read NAME SECRET"),
        (f"ci {SECRET[:31]}", "from 32 to 2048 characters"),
        (f"ci {SECRET * 40}", "from 32 to 2048 characters"),
        (f"ci {SECRET}秘密", "visible ASCII"),
        (f"ci {SECRET}\x7f", "visible ASCII"),
        (f"ci sha256:{SECRET[:-1]}", "64 hexadecimal digits"),
        (f"ci sha256:{SECRET}0", "64 hexadecimal digits"),
        (f"ci sha256:{SECRET[:-1]}g", "64 hexadecimal digits"),
        (f"{'n' * 101} {SECRET}", "the name is 101 characters long"),
        (f"ci {SECRET} {'w' * 256}", "the workspace's id is 256"),
        (f"ci {SECRET} w {'u' * 256}", "the user is 256"),
        (f"taken {SECRET[::-1]}", "its name stands in line 2 already"),
        (f"ci {'f' * 64}", "its secret stands in line 2 already"),
        (f"ci sha256:{hashlib.sha256(b'f' * 64).hexdigest()}", "its secret stands in line 2"),
    ],
)
def test_fixed_token_that_is_none_is_named_by_its_line(line: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^API_TOKENS, line 4: ") as failure:
        read(f"# tokens\ntaken {'f' * 64}\n\n{line}\n")
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)
    for word in line.split()[1:2]:
        assert word not in str(failure.value)


PIECES = ["ci", "bot", SECRET, SECRET[::-1], f"sha256:{SECRET}", "#", " ", " ", "\n", "\n"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join))
def test_fixed_tokens_of_any_text_are_tokens_or_one_sentence(text: str) -> None:
    said = None
    try:
        tokens = read(text)
    except ConfigurationError as error:
        said = str(error)
    if said is None:
        assert len({each.principal.token_name for each in tokens}) == len(tokens)
        assert len({each.secret_hash for each in tokens}) == len(tokens)
    else:
        assert said.startswith("API_TOKENS, line ")
        assert SECRET not in said
