"""``reembed`` as a person or a script calls it, against a real database."""

from pathlib import Path

import pytest

from cli_driver import CommandLine
from integration.command import Command
from integration.terminal import answered
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.progress import progress_bars
from nakamura_misaki.infrastructure.di.models import (
    dollars_per_million,
    embedder_of,
    is_paid_for,
    setting_lines,
    settings_for_model,
)
from nakamura_misaki.infrastructure.settings import Settings
from openai_server import OpenAIServer

OLD, NEW = "hashing-v1@64", "hashing-v1@48"


@pytest.fixture
def filled(cli: CommandLine) -> CommandLine:
    cli.set(EMBEDDING_DIMENSIONS="64")
    for text in ("売上の集計", "税の計算", "税の計算"):
        assert cli("note", "add", text).code == 0
    return cli


def test_cli_reembed_goes_there_and_back(filled: CommandLine) -> None:
    dry = filled("reembed", "--dimensions", "48", "--dry-run", "--json").json
    assert dry == {
        "model": NEW,
        "active": OLD,
        "notes": 3,
        "texts": 2,
        "tokens": 11,
        "dollars": 0.0,
        "switched": False,
    }
    done = filled("reembed", "--dimensions", "48", "--json").json
    assert (done["model"], done["replaced"], done["switched"]) == (NEW, OLD, True)
    assert (done["embedded"], done["texts"], done["missing"]) == (3, 2, 0)
    assert done["settings"] == ["EMBEDDING_PROVIDER=hashing", "EMBEDDING_DIMENSIONS=48"]

    refused = filled("note", "search", "税")
    assert (refused.code, refused.err.strip().endswith("nakamura-misaki reembed")) == (5, True)
    filled.set(EMBEDDING_DIMENSIONS="48")
    assert filled("note", "search", "税", "--json").json["skipped"] == {}
    assert filled("reembed").out == f"{NEW} is in use, and no note lacks a vector of it.\n"
    assert filled("note", "add", "後から").code == 0

    states = {each["model"]: each for each in filled("reembed", "--status", "--json").json}
    assert [states[m]["state"] for m in (NEW, OLD)] == ["in use", "replaced"]
    assert [states[m]["missing"] for m in (NEW, OLD)] == [0, 1]
    assert "replaced 20" in filled("reembed", "--status").out

    back = filled("reembed", "--rollback")
    assert f"{OLD} is in use now." in back.out
    assert "1 note given a vector, for 1 text" in back.out
    assert "  EMBEDDING_DIMENSIONS=64\n" in back.out
    refused = filled("reembed", "--discard-old")
    assert (refused.code, refused.out) == (2, "")
    assert "give --yes if you mean it" in refused.err
    gone = filled("reembed", "--discard-old", "--yes", "--json").json
    assert gone == {"discarded": 4}
    nothing = filled("reembed", "--rollback", "--json")
    assert (nothing.code, nothing.error["kind"]) == (3, "not_found")


def test_cli_reembed_of_nothing_takes_the_models_place(cli: CommandLine) -> None:
    assert cli("reembed", "--status").out == "No vectors are stored yet.\n"
    assert cli("reembed", "--json").json["replaced"] is None
    assert cli("reembed", "--discard-old").out == "0 vectors deleted.\n"


def test_cli_switch_model_still_works_and_says_what_to_use(filled: CommandLine) -> None:
    filled.set(EMBEDDING_DIMENSIONS="48")
    outcome = filled("embed-pending", "--switch-model", "--json")
    assert outcome.json == {"embedded": 3, "model_switched": True}
    assert "reembed --yes" in outcome.err
    assert filled("note", "search", "税", "--json").json["skipped"] == {}


@pytest.mark.parametrize(
    "arguments",
    [("--status", "--rollback"), ("--rollback", "--model", "x"), ("--dimensions", "3901")],
)
def test_cli_reembed_options_that_contradict_exit_2(
    cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    assert cli("reembed", *arguments).code == 2


def test_cli_reembed_that_costs_money_takes_a_yes_of_a_script(filled: CommandLine) -> None:
    with OpenAIServer() as server:
        filled.set(OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY=server.key or "")
        large = ("reembed", "--model", "text-embedding-3-large", "--price-per-million", "1000")
        refused = filled(*large)
        assert (refused.code, server.requests) == (2, [])
        assert "about 11 tokens, or $0.01 at $1000 a million. Without a terminal" in refused.err
        done = filled(*large, "--yes", "--json").json
        assert done["model"] == "text-embedding-3-large@3072"
        assert sorted(server.texts) == ["売上の集計", "税の計算"]
        assert "EMBEDDING_MODEL=text-embedding-3-large" in done["settings"]
        # The server is one's own, so what it costs is not known, and nobody is asked.
        small = filled("reembed", "--model", "text-embedding-3-small", "--json").json
        assert small["replaced"] == "text-embedding-3-large@3072"


def test_cli_reembed_asks_at_a_terminal_and_shows_its_progress(
    filled: CommandLine, tmp_path: Path, database_url: str
) -> None:
    command = Command(tmp_path, DATABASE_URL=database_url, EMBEDDING_DIMENSIONS="64")
    code, said = answered(command, "reembed", "--dimensions", "48", answer="n")
    assert (code, "3 notes to embed with hashing-v1@48, in place of" in said) == (130, True)
    assert "That costs nothing." in said
    assert filled("reembed", "--status", "--json").json[0]["model"] == OLD
    code, said = answered(command, "reembed", "--dimensions", "48", answer="y")
    assert (code, "embedding" in said, "3/3" in said) == (0, True, True)
    assert filled("reembed", "--status", "--json").json[0]["model"] == NEW


def test_settings_for_another_model_take_only_what_fits_it() -> None:
    settings = Settings(embedding_provider="hashing", embedding_dimensions=64)
    large = settings_for_model(settings, model="text-embedding-3-large")
    assert (large.embedding_provider, large.embedding_dimensions) == ("openai", None)
    assert settings_for_model(settings).embedding_dimensions == 64
    assert settings_for_model(settings, dimensions=48).embedding_dimensions == 48
    assert settings_for_model(large, provider="hashing").embedding_dimensions is None


def test_price_is_openais_only_where_openai_is_asked() -> None:
    key = {"openai_api_key": "sk-x", "embedding_provider": "openai"}
    openai = Settings(**key)
    assert (dollars_per_million(openai), is_paid_for(openai)) == (0.02, True)
    own = Settings(**key, openai_base_url="http://localhost:1/v1")
    assert (dollars_per_million(own), is_paid_for(own)) == (None, False)
    named = Settings(**key, openai_base_url="https://api.openai.com/v1")
    assert dollars_per_million(named) == 0.02
    unknown = Settings(**key, embedding_model="text-embedding-9", embedding_dimensions=8)
    assert (dollars_per_million(unknown), is_paid_for(unknown)) == (None, True)
    assert dollars_per_million(Settings(embedding_provider="hashing")) == 0


def test_embedder_of_a_stored_model_is_made_of_its_name() -> None:
    offline = Settings(embedding_provider="hashing", embedding_dimensions=64)
    made = embedder_of(offline, OLD)
    assert made is not None
    assert (made.model, made.dimensions) == (OLD, 64)
    assert embedder_of(offline, "text-embedding-3-small@512") is None  # there is no key
    online = Settings(openai_api_key="sk-x")
    remote = embedder_of(online, "text-embedding-3-small@512")
    assert remote is not None
    assert remote.model == "text-embedding-3-small@512"
    for unknown in ("hashing-v0@64", "nonsense", "@", "x@y"):
        assert embedder_of(offline, unknown) is None
    assert setting_lines("text-embedding-3-small@512")[1:] == [
        "EMBEDDING_MODEL=text-embedding-3-small",
        "EMBEDDING_DIMENSIONS=512",
    ]


def test_progress_is_nothing_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars(Invocation(), with_rate=True) as on_progress:
        on_progress("embedding", 1, 2)
    assert capsys.readouterr() == ("", "")
