"""Who is let in: tokens of the stores and of the settings, and everything that is none."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from nakamura_misaki.adapters.secondary.json_token_repository import JsonTokenRepository
from nakamura_misaki.adapters.secondary.postgresql_token_repository import (
    PostgreSQLTokenRepository,
)
from nakamura_misaki.application import access
from nakamura_misaki.application.access import (
    USE_IS_NOTED_EVERY,
    Gate,
    Principal,
    TokenService,
    token_text,
)
from nakamura_misaki.application.fixed_tokens import FixedToken
from nakamura_misaki.domain.errors import (
    ConfigurationError,
    InvalidInput,
    NotFound,
    StorageUnavailable,
)
from nakamura_misaki.infrastructure import logging as masking
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from nakamura_misaki.infrastructure.di import compose
from nakamura_misaki.infrastructure.di.access import build_gate
from nakamura_misaki.infrastructure.logging import redact
from nakamura_misaki.infrastructure.settings import Settings
from repository_backend import NOON, Clock

OURS, THEIRS = "T-OURS", "T-THEIRS"
SECRET = "0123456789abcdef" * 4


class House:
    """The tokens of two workspaces, and the gate before them."""

    def __init__(self, manager: DatabaseManager) -> None:
        self.clock = Clock()
        self.manager = manager
        self.gate = Gate(self.tokens, clock=self.clock)

    def tokens(self, workspace_id: str) -> PostgreSQLTokenRepository:
        return PostgreSQLTokenRepository(self.manager, workspace_id, clock=self.clock)

    def service(self, workspace_id: str = OURS) -> TokenService:
        return TokenService(
            self.tokens(workspace_id), workspace_id=workspace_id, new_id=uuid4, clock=self.clock
        )


@pytest.fixture
def house(manager: DatabaseManager) -> House:
    return House(manager)


async def test_token_lets_in_as_what_it_was_made_for(house: House) -> None:
    anybody, text = await house.service().create("ci")
    assert await house.gate.admit(text) == Principal(OURS, "ci", str(anybody.id), None)
    one, text = await house.service(THEIRS).create("端末", user_id="U1")
    assert await house.gate.admit(text) == Principal(THEIRS, "端末", str(one.id), "U1")


async def test_only_the_hash_of_the_secret_is_stored(house: House) -> None:
    made, text = await house.service().create("ci")
    secret = text.rpartition(".")[2]
    assert made.secret_hash == hashlib.sha256(secret.encode()).digest()
    stored = await house.manager.run(
        lambda c: c.fetch("SELECT row_to_json(t)::text FROM api_tokens AS t"), workspace_id=OURS
    )
    assert str(made.id) in str(stored)
    assert secret not in str(stored)


async def test_workspace_of_any_name_can_be_let_in(house: House) -> None:
    for workspace_id in ("a", "w" * 255, "中" * 255, "😀" * 255, ".:/ %"):
        _, text = await house.service(workspace_id).create("ci")
        admitted = await house.gate.admit(text)
        assert admitted is not None
        assert admitted.workspace_id == workspace_id
        assert redact(f"{text} is wrong") == "*** is wrong"


async def test_revoked_token_lets_nobody_in(house: House) -> None:
    _, text = await house.service().create("ci")
    assert await house.gate.admit(text)
    await house.service().revoke("ci")
    assert await house.gate.admit(text) is None
    house.clock.now -= timedelta(days=1)  # a machine whose clock is behind
    assert await house.gate.admit(text) is None


async def test_token_lets_in_until_it_expires(house: House) -> None:
    _, text = await house.service().create("ci", expires_at=NOON + timedelta(days=1))
    house.clock.now = NOON + timedelta(days=1, microseconds=-1)
    assert await house.gate.admit(text)
    house.clock.now = NOON + timedelta(days=1)
    assert await house.gate.admit(text) is None


async def test_token_of_one_workspace_does_not_reach_another(house: House) -> None:
    made, text = await house.service(OURS).create("ci")
    prefix, _, *rest = text.split(".")
    theirs = urlsafe_b64encode(THEIRS.encode()).decode().rstrip("=")
    assert await house.gate.admit(".".join([prefix, theirs, *rest])) is None
    assert await house.gate.admit(token_text(THEIRS, made.id, rest[-1])) is None
    # Neither does a secret fit another id of its own workspace.
    other, other_text = await house.service(OURS).create("other")
    assert await house.gate.admit(token_text(OURS, other.id, rest[-1])) is None
    assert await house.gate.admit(other_text)


Forgery = Callable[[str], str]
FORGERIES: dict[str, Forgery] = {
    "nothing": lambda text: "",
    "no secret": lambda text: text.rpartition(".")[0],
    "empty secret": lambda text: f"{text.rpartition('.')[0]}.",
    "wrong at its end": lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
    "wrong at its beginning": lambda text: text[:-43] + ("A" * 43),
    "one character more": lambda text: text + "A",
    "a blank after": lambda text: text + " ",
    "a line break after": lambda text: text + "\n",
    "with its scheme": lambda text: f"Bearer {text}",
    "another prefix": lambda text: f"nmq{text[3:]}",
    "capital prefix": lambda text: text.replace("nmk", "NMK"),
    "unknown id": lambda text: token_text(OURS, UUID(int=7), text[-43:]),
    "id of no digits": lambda text: ".".join(["nmk", "VA", "g" * 32, text[-43:]]),
    "no base64": lambda text: ".".join(["nmk", "A", *text.split(".")[2:]]),
    "no UTF-8": lambda text: ".".join(["nmk", "_w", *text.split(".")[2:]]),
    "workspace with NUL": lambda text: ".".join(["nmk", "VAA", *text.split(".")[2:]]),
    "blank workspace": lambda text: ".".join(["nmk", "IA", *text.split(".")[2:]]),
    "padded": lambda text: text.replace(".", "=.", 2),
    "full width": lambda text: text[:-1] + "\uff21",
    "not ASCII": lambda text: f"トークン{text}",
    "half a surrogate pair": lambda text: text[:-1] + "\ud800",
    "very long": lambda text: text + "A" * 1_000_000,
    "only dots": lambda text: "." * 2048,
    "SQL": lambda text: "nmk.' OR true; --",
}


async def test_text_that_is_no_token_lets_nobody_in(house: House) -> None:
    _, text = await house.service().create("ci")
    admitted = [
        name for name, forge in FORGERIES.items() if await house.gate.admit(forge(text)) is not None
    ]
    assert admitted == []
    assert await house.gate.admit(text)


@given(text=st.text() | st.from_regex(access._FORM, fullmatch=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_arbitrary_text_never_lets_in_and_never_raises(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    tokens = JsonTokenRepository(tmp_path_factory.getbasetemp() / "none")
    fixed = [FixedToken(hashlib.sha256(SECRET.encode()).digest(), Principal("w", "n", "i", None))]
    assert await Gate(lambda _: tokens, fixed=fixed).admit(text) is None


async def test_secrets_are_compared_in_constant_time_also_for_unknown_ids(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, text = await house.service().create("ci")
    secret = text.rpartition(".")[2]
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare_digest(one, other)

    compare_digest = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    given = hashlib.sha256(secret.encode()).digest()
    assert await house.gate.admit(token_text(OURS, uuid4(), secret)) is None
    assert await house.gate.admit(token_text(THEIRS, made.id, secret)) is None
    assert await house.gate.admit(text)
    assert compared == [(given, bytes(32)), (given, bytes(32)), (given, made.secret_hash)]


async def test_use_is_noted_now_and_then(house: House) -> None:
    made, text = await house.service().create("ci")
    step = timedelta(microseconds=1)
    noted = []
    for at in (NOON, NOON + USE_IS_NOTED_EVERY - step, NOON + USE_IS_NOTED_EVERY):
        house.clock.now = at
        await house.gate.admit(text)
        stored = await house.tokens(OURS).get(made.id)
        assert stored is not None
        noted.append(stored.last_used_at)
    assert noted == [NOON, NOON, NOON + USE_IS_NOTED_EVERY]


async def test_failed_attempt_is_no_use(house: House) -> None:
    made, text = await house.service().create("ci")
    await house.gate.admit(text[:-43] + "A" * 43)
    assert await house.tokens(OURS).get(made.id) == made


async def test_use_that_can_not_be_noted_keeps_nobody_out(house: House) -> None:
    _, text = await house.service().create("ci")
    async with house.manager.connection(workspace_id=OURS) as connection:  # the only one so far
        await connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(StorageUnavailable):
        await house.service().revoke("ci")
    assert await house.gate.admit(text)


async def test_gate_without_its_database_says_so() -> None:
    manager = DatabaseManager("postgresql+asyncpg://nobody@127.0.0.1:1/none", connect_timeout=0.2)
    gate = Gate(lambda name: PostgreSQLTokenRepository(manager, name))
    with pytest.raises(StorageUnavailable):
        await gate.admit(token_text(OURS, uuid4(), "A" * 43))
    assert await gate.admit("nmk.no.token") is None
    await manager.close()


async def test_service_refuses_what_breaks_a_rule(house: House) -> None:
    service = house.service()
    for name in ("", " ", "n" * 101, "a\x00"):
        with pytest.raises(InvalidInput, match="a token's name"):
            await service.create(name)
    with pytest.raises(InvalidInput, match="a token's user"):
        await service.create("ci", user_id="")
    with pytest.raises(InvalidInput, match="must not expire before"):
        await service.create("ci", expires_at=NOON)
    assert await service.list() == []


async def test_service_revokes_by_name_or_id(house: House) -> None:
    service = house.service()
    first, _ = await service.create("ci")
    assert await service.revoke("ci") == (await service.list())[0]
    with pytest.raises(InvalidInput, match="was revoked before"):
        await service.revoke("ci")
    second, _ = await service.create("ci")
    third, _ = await service.create("a name like deadbeef")
    assert (await service.revoke("ci")).id == second.id
    assert (await service.revoke(third.id.hex[-8:])).id == third.id
    with pytest.raises(InvalidInput, match="was revoked before"):
        await service.revoke(str(first.id))
    for unknown in ("nobody", "cafe" * 8, "abc", str(uuid4()), "0" * 40, ""):
        with pytest.raises((NotFound, InvalidInput), match=r"no token|token id"):
            await service.revoke(unknown)


# --- Tokens of the settings


# --- The gate as it is composed


@pytest.fixture
def composed_settings(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.chdir(tmp_path)
    # What is masked is the process's.
    monkeypatch.setattr(masking, "_secrets", set())
    monkeypatch.setattr(masking, "_secrets_pattern", None)
    return Settings(
        database_url=SecretStr(database_url),
        embedding_provider="hashing",
        data_dir=tmp_path / "no-server-here",
        workspace_id=OURS,
        json_data_dir=tmp_path / "json",
    )


@pytest.fixture(params=["postgresql", "json"])
def either(request: pytest.FixtureRequest, composed_settings: Settings) -> Settings:
    return composed_settings.model_copy(update={"storage_backend": request.param})


async def test_composed_gate_knows_stored_and_fixed_tokens(either: Settings) -> None:
    tokens = SecretStr(f"fixed {SECRET}\n")
    async with compose(either.model_copy(update={"api_tokens": tokens})) as app:
        gate = build_gate(app)
        made, text = await app.own.tokens.create("ci", user_id="U1")
        assert await gate.admit(text) == Principal(OURS, "ci", str(made.id), "U1")
        assert await gate.admit(SECRET) == Principal(OURS, "fixed", "fixed:fixed", None)
        assert await gate.admit(token_text(THEIRS, made.id, text[-43:])) is None
        assert redact(f"it sent {SECRET}") == "it sent ***"


async def test_composed_gate_lets_other_workspaces_in(composed_settings: Settings) -> None:
    async with compose(composed_settings) as app:
        gate = build_gate(app)
        _, text = await app.of(THEIRS).tokens.create("ci")
        admitted = await gate.admit(text)
        assert admitted is not None
        assert admitted.workspace_id == THEIRS


async def test_naming_workspaces_costs_the_application_no_memory(
    composed_settings: Settings,
) -> None:
    async with compose(composed_settings) as app:
        gate = build_gate(app)
        for number in range(20):
            assert await gate.admit(token_text(f"w{number}", uuid4(), "A" * 43)) is None
        assert set(app._workspaces) <= {OURS}


async def test_fixed_token_of_a_workspace_that_is_not_there_is_refused(
    composed_settings: Settings,
) -> None:
    tokens = SecretStr(f"bot {SECRET} {THEIRS}")
    update = {"api_tokens": tokens, "storage_backend": "json"}
    async with compose(composed_settings.model_copy(update=update)) as app:
        with pytest.raises(ConfigurationError, match="but the JSON files hold only T-OURS"):
            build_gate(app)
