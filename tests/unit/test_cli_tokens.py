"""``token``: made once, listed without secrets, revoked for good."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cli_driver import CommandLine
from nakamura_misaki.adapters.secondary.postgresql_token_repository import (
    PostgreSQLTokenRepository,
)
from nakamura_misaki.application.access import Gate, Principal
from nakamura_misaki.infrastructure.database.manager import DatabaseManager

TOKYO = ZoneInfo("Asia/Tokyo")
TOKEN = r"nmk\.[A-Za-z0-9_-]+\.[0-9a-f]{32}\.[A-Za-z0-9_-]{43}"
KEYS = {
    "id",
    "name",
    "workspace_id",
    "user_id",
    "state",
    "created_at",
    "expires_at",
    "revoked_at",
    "last_used_at",
}


def test_cli_token_is_all_of_standard_output(cli: CommandLine) -> None:
    made = cli("token", "create", "ci")
    assert made.code == 0
    assert re.fullmatch(rf"{TOKEN}\n", made.out)
    assert made.err == ("Lets in ci, until it is revoked. Keep it now: it can't be shown again.\n")
    quiet = cli("token", "create", "端末", "--user", "U1", "--expires", "2099-12-31", "--quiet")
    assert re.fullmatch(rf"{TOKEN}\n", quiet.out)
    assert quiet.err == ""
    loud = cli("token", "create", "x\ny", "--user", "U1", "--expires", "2099-12-31 15:00")
    assert loud.err.startswith("Lets in x y, as U1 only, until 2099-12-31 15:00 Asia/Tokyo. Keep")


def test_cli_token_in_json_is_shown_once(cli: CommandLine) -> None:
    made = cli("token", "create", "ci", "--user", "U1", "--json")
    token = made.json
    assert made.err == ""
    assert set(token) == {*KEYS, "token"}
    text = token.pop("token")
    assert re.fullmatch(TOKEN, text)
    assert token["workspace_id"] == "default"
    assert (token["name"], token["user_id"], token["state"]) == ("ci", "U1", "valid")
    assert (token["expires_at"], token["revoked_at"], token["last_used_at"]) == (None, None, None)
    listed = cli("token", "list", "--json")
    assert listed.json == [token]
    secret = text.rpartition(".")[2]
    digest = hashlib.sha256(secret.encode()).hexdigest()
    for output in (listed.out, cli("token", "list").out):
        assert token["id"][-8:] in output
        assert secret not in output
        assert digest not in output


@pytest.mark.parametrize(
    ("when", "hours"), [("12h", 12), ("90d", 90 * 24), ("8w", 8 * 7 * 24), (" 1d ", 24)]
)
def test_cli_token_expires_after_a_span(cli: CommandLine, when: str, hours: int) -> None:
    before = datetime.now(UTC)
    token = cli("token", "create", "ci", "--expires", when, "--json").json
    after = datetime.now(UTC)
    expires_at = datetime.fromisoformat(token["expires_at"])
    assert before <= expires_at - timedelta(hours=hours) <= after


def test_cli_token_expires_at_a_time_or_the_end_of_a_day(cli: CommandLine) -> None:
    day = cli("token", "create", "a", "--expires", "2099-12-31", "--json").json
    assert day["expires_at"] == "2099-12-31T23:59:00+09:00"
    time = cli("token", "create", "b", "--expires", "2099-12-31T09:00Z", "--json").json
    assert time["expires_at"] == "2099-12-31T18:00:00+09:00"


@pytest.mark.parametrize("when", ["0d", "2020-01-01", "999999w", "soon", "90 days", "-1d", ""])
def test_cli_expiry_that_is_none_exits_2_with_one_sentence(cli: CommandLine, when: str) -> None:
    outcome = cli("token", "create", "ci", f"--expires={when}")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert cli("token", "list", "--json").json == []


def test_cli_token_name_is_taken_until_it_is_revoked(cli: CommandLine) -> None:
    first = cli("token", "create", "ci", "--json").json
    taken = cli("token", "create", "ci", "--json")
    assert (taken.code, taken.out, taken.error["kind"]) == (4, "", "already_exists")
    assert cli("token", "revoke", "ci").out == f"Revoked {first['id'][-8:]}  ci\n"
    again = cli("token", "revoke", "ci", "--json")
    assert (again.code, again.error["kind"]) == (2, "invalid_input")
    second = cli("token", "create", "ci", "--json").json
    revoked = cli("token", "revoke", second["id"][-8:], "--json").json
    assert set(revoked) == KEYS
    assert (revoked["id"], revoked["state"]) == (second["id"], "revoked")
    states = [each["state"] for each in cli("token", "list", "--json").json]
    assert states == ["revoked", "revoked"]


def test_cli_token_that_is_not_there_exits_3(cli: CommandLine) -> None:
    outcome = cli("token", "revoke", "nobody")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == "Error: there is no token nobody; see: nakamura-misaki token list\n"


def test_cli_tokens_are_listed_for_a_person(cli: CommandLine) -> None:
    assert cli("token", "list").out == "The workspace default has no tokens.\n"
    assert cli("token", "list", "--json").json == []
    cli("token", "create", "ci")
    cli("token", "create", "one person", "--user", "U1", "--expires", "2099-12-31")
    cli("token", "revoke", "ci")
    heading, first, second = cli("token", "list").out.splitlines()
    assert heading.split() == ["ID", "STATE", "CREATED", "LAST", "USED", "EXPIRES", "USER", "NAME"]
    today = datetime.now(TOKYO).date().isoformat()
    assert first.split()[1:] == ["revoked", today, "never", "never", "any", "ci"]
    assert second.split()[1:] == [
        "valid",
        today,
        "never",
        "2099-12-31",
        "23:59",
        "U1",
        "one",
        "person",
    ]


def test_cli_token_is_of_the_workspace_of_the_settings(cli: CommandLine, database_url: str) -> None:
    cli("token", "create", "ci")
    cli.set(WORKSPACE_ID="T9")
    assert cli("token", "list", "--json").json == []
    assert cli("token", "revoke", "ci").code == 3
    token = cli("token", "create", "ci", "--json").json
    assert token["workspace_id"] == "T9"
    admitted = asyncio.run(admit(database_url, token["token"]))
    assert admitted == Principal("T9", "ci", token["id"], None)


async def admit(database_url: str, text: str) -> Principal | None:
    manager = DatabaseManager(database_url)
    try:
        return await Gate(lambda name: PostgreSQLTokenRepository(manager, name)).admit(text)
    finally:
        await manager.close()


def test_cli_token_lives_in_json_files_too(cli: CommandLine, tmp_path: Path) -> None:
    cli.set(STORAGE_BACKEND="json", JSON_DATA_DIR=str(tmp_path / "json"))
    token = cli("token", "create", "ci", "--json").json
    assert token.pop("token")
    assert cli("token", "list", "--json").json == [token]
    assert cli("token", "revoke", "ci", "--json").json["state"] == "revoked"
    assert [path.name for path in (tmp_path / "json").glob("*.json")] == ["api_tokens.json"]
