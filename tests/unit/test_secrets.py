"""The encrypted files hold no plain text, are for the keys that .sops.yaml names, and are complete."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from nakamura_misaki.application.fixed_tokens import read_fixed_tokens
from nakamura_misaki.infrastructure.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ROOT / "secrets" / "nakamura-misaki.yaml"
ROTATED = ROOT / "nixos-tests" / "keys" / "rotated.yaml"
TEST_KEY = ROOT / "nixos-tests" / "keys" / "age-test-key.txt"
ENCRYPTED = re.compile(r"ENC\[AES256_GCM,data:[^,\]]+,iv:[^,\]]+,tag:[^,\]]+,type:(str|comment)\]")


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _without_metadata(path: Path) -> str:
    return path.read_text("utf-8").partition("\nsops:\n")[0]


def _values(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _values(value)
    else:
        yield str(node)


def _known_to_the_module() -> set[str]:
    """The keys that modules/nakamura-misaki/sops.nix declares secrets for."""
    source = (ROOT / "modules" / "nakamura-misaki" / "sops.nix").read_text("utf-8")
    table = re.search(r"\n  secrets = \{\n(.*?)\n  \};\n", source, re.DOTALL)
    assert table
    return set(re.findall(r"^    ([\w-]+) = \{$", table[1], re.MULTILINE))


def _public_test_key() -> str:
    found = re.search(r"^# public key: (age1\w+)$", TEST_KEY.read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def _decrypted(path: Path) -> dict[str, str]:
    if not (sops := shutil.which("sops")):
        pytest.skip("sops is not installed")
    done = subprocess.run(
        [sops, "decrypt", str(path)],
        env={**os.environ, "SOPS_AGE_KEY_FILE": str(TEST_KEY)},
        capture_output=True,
        check=True,
    )
    return dict(yaml.safe_load(done.stdout)["nakamura-misaki"])


@pytest.mark.parametrize("path", [SECRETS, ROTATED], ids=lambda path: path.name)
def test_a_file_holds_no_plain_text(path: Path) -> None:
    content = _load(path)
    metadata = content.pop("sops")

    values = list(_values(content))
    assert values
    assert [value for value in values if not ENCRYPTED.fullmatch(value)] == []
    assert ENCRYPTED.fullmatch(metadata["mac"])
    comments = re.findall(r"#(.*)$", _without_metadata(path), re.MULTILINE)
    assert [comment for comment in comments if not ENCRYPTED.fullmatch(comment)] == []
    # What would leave a value as it is.
    assert metadata.get("unencrypted_suffix") == "_unencrypted"
    assert {"encrypted_regex", "unencrypted_regex", "encrypted_suffix"}.isdisjoint(metadata)


def test_every_secret_that_the_module_knows_is_in_the_file() -> None:
    known = _known_to_the_module()

    assert {"openai-api-key", "slack-bot-token", "api-tokens", "database-url"} <= known
    assert set(_load(SECRETS)["nakamura-misaki"]) == known
    assert set(_load(ROTATED)["nakamura-misaki"]) <= known


def test_the_file_can_be_read_by_the_keys_of_its_rule_and_no_other() -> None:
    rules = _load(ROOT / ".sops.yaml")["creation_rules"]

    for path in (SECRETS, ROTATED):
        name = path.relative_to(ROOT).as_posix()
        (group,) = next(rule for rule in rules if re.search(rule["path_regex"], name))["key_groups"]
        recipients = [key["recipient"] for key in _load(path)["sops"]["age"]]
        assert recipients == group["age"] == [_public_test_key()]


def test_the_rules_cover_every_encrypted_file_and_not_the_key() -> None:
    patterns = [rule["path_regex"] for rule in _load(ROOT / ".sops.yaml")["creation_rules"]]

    def is_covered(path: Path) -> bool:
        name = path.relative_to(ROOT).as_posix()
        return any(re.search(pattern, name) for pattern in patterns)

    files = [*(ROOT / "secrets").iterdir(), *TEST_KEY.parent.iterdir()]
    assert {path for path in files if is_covered(path)} == {SECRETS, ROTATED}


def test_the_test_key_says_what_it_is() -> None:
    comment = "\n".join(
        line for line in TEST_KEY.read_text("utf-8").splitlines() if line.startswith("#")
    )

    assert fnmatch(comment, "# TEST KEY.*protects nothing*Never put it on a host*")


def test_the_program_takes_the_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = _decrypted(SECRETS)
    for name, value in values.items():
        (tmp_path / name).write_text(value, "utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    settings = load_settings()

    assert settings.database_url
    assert settings.database_owner_url
    assert settings.effective_slack_mode == "socket"
    assert settings.effective_embedding_provider == "openai"
    assert settings.api_tokens
    tokens = read_fixed_tokens(
        settings.api_tokens.get_secret_value(), workspace_id="default", on_secret=lambda _: None
    )
    assert [token.principal.token_name for token in tokens] == ["ci", "hanako"]
    assert tokens[1].principal.user_id == "U01ABC123"


def test_the_rotated_file_changes_the_key_and_a_token_and_nothing_else() -> None:
    before, after = _decrypted(SECRETS), _decrypted(ROTATED)

    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"openai-api-key", "api-tokens"}
