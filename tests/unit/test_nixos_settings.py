"""What modules/nakamura-misaki knows of the program's settings is what the program has."""

import re
from itertools import chain
from pathlib import Path
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import SecretStr

from nakamura_misaki.infrastructure.settings import Settings
from nakamura_misaki.infrastructure.settings_sources import CredentialsSource, environment_name

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "modules" / "nakamura-misaki"
_COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
_WORD = re.compile(r'"([a-z][a-z0-9-]*)"')


def _nix(name: str) -> str:
    return _COMMENT.sub("", (MODULE / name).read_text("utf-8"))


def _groups() -> dict[str, list[str]]:
    """Group of setting-names.nix → the names in it."""
    source = _nix("setting-names.nix")
    free = re.search(r"^  free = \[\n(.*?)^  \];$", source, re.MULTILINE | re.DOTALL)
    assert free
    tables = re.findall(r"^  (\w+) = \{\n(.*?)^  \};$", source, re.MULTILINE | re.DOTALL)
    groups = {name: re.findall(r"^    (\w+) = ", body, re.MULTILINE) for name, body in tables}
    return {"free": re.findall(r'"(\w+)"', free[1]), **groups}


def _options() -> dict[str, str]:
    """Setting → the option that setting-names.nix gives it."""
    return dict(re.findall(r'^    (\w+) = "([\w.]+)";$', _nix("setting-names.nix"), re.MULTILINE))


def _holds_secret(annotation: object) -> bool:
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return any(_holds_secret(part) for part in get_args(annotation))
    return annotation is SecretStr


def _program_settings() -> dict[str, bool]:
    """Setting → whether it may hold a secret."""
    return {
        environment_name(name): _holds_secret(field.annotation)
        for name, field in Settings.model_fields.items()
    }


def _taken_credentials() -> set[str]:
    """The names that units ask for: in lists that are given to `credentials`."""
    lists = [
        found
        for path in MODULE.glob("*.nix")
        for found in re.findall(
            r"\bcredentials\s*(?:=|\+\+)\s*\[(.*?)\]", _nix(path.name), re.DOTALL
        )
    ]
    return {name for found in lists for name in _WORD.findall(found)}


def _given_credentials() -> set[str]:
    """The names that options fill: NAME = ….somethingFile."""
    return {
        name
        for path in MODULE.glob("*.nix")
        for name in re.findall(r"\b([a-z][a-z-]*-[a-z-]+) = [\w.]+File;", _nix(path.name))
    }


def _read_credential(tmp_path: Path, name: str) -> str:
    """The setting that a credential of this name is read as."""
    directory = tmp_path / name
    directory.mkdir()
    (directory / name).write_text("value")
    (field,) = CredentialsSource(Settings, str(directory))()
    return environment_name(field)


def test_nixos_module_names_each_setting_of_the_program_in_one_group() -> None:
    groups = _groups()

    assert set(groups) == {"free", "dedicated", "secret"}
    assert sorted(chain.from_iterable(groups.values())) == sorted(_program_settings())


def test_nixos_module_knows_which_settings_may_hold_a_secret() -> None:
    secret = {name for name, holds_secret in _program_settings().items() if holds_secret}

    assert secret == set(_groups()["secret"])


def test_nixos_module_options_that_stand_for_settings_exist() -> None:
    options = _options()
    declared = "\n".join(_nix(path.name) for path in sorted(MODULE.glob("*.nix")))

    assert set(options) == set(_groups()["dedicated"]) | set(_groups()["secret"])
    for option in options.values():
        assert re.search(rf"\b{option.rpartition('.')[2]} = ", declared), option


def test_nixos_units_are_given_only_settings_of_the_program() -> None:
    given = {
        name
        for path in MODULE.glob("*.nix")
        if path.name != "setting-names.nix"
        for name in re.findall(r"\b([A-Z][A-Z_]+) = ", _nix(path.name))
    }
    # The data directory is the embedded server's, which a host with a database does not have.
    wanted = {*_groups()["dedicated"], "DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_ADMIN_URL"}

    assert given - set(_groups()["free"]) == wanted - {"NAKAMURA_MISAKI_DATA_DIR"}


def test_nixos_credentials_are_those_that_the_program_reads(tmp_path: Path) -> None:
    taken = _taken_credentials()

    assert taken == _given_credentials()
    assert {_read_credential(tmp_path, name) for name in taken} == set(_groups()["secret"])
