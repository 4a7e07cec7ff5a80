"""The flake's lock file is whole, and says what flake.nix says. Needs no Nix.

Nix would complete a lock file without a word, by the revisions that are the newest on that day.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Lock = dict[str, Any]


@pytest.fixture(scope="module")
def lock_text() -> str:
    return (ROOT / "flake.lock").read_text("utf-8")


@pytest.fixture
def lock(lock_text: str) -> Lock:
    made: Lock = json.loads(lock_text)
    return made


def _target(lock: Lock, reference: str | list[str]) -> str | None:
    """The node that an input means: by its name, or as a path of inputs from the root on."""
    if isinstance(reference, str):
        return reference if reference in lock["nodes"] else None
    node: str | None = lock["root"]
    for step in reference:
        inputs = lock["nodes"][node].get("inputs", {}) if node is not None else {}
        node = _target(lock, inputs[step]) if step in inputs else None
    return node


def _problems(lock: Lock) -> Iterator[str]:
    """What keeps the lock file from being closed and exact."""
    reached, todo = set(), [lock["root"]]
    while todo:
        name = todo.pop()
        if name in reached:
            continue
        reached.add(name)
        for input_name, reference in lock["nodes"][name].get("inputs", {}).items():
            target = _target(lock, reference)
            if target is None:
                yield f"{name}: its input {input_name} leads nowhere"
            else:
                todo.append(target)
    yield from (f"{name} is nobody's input" for name in lock["nodes"].keys() - reached)
    for name, node in lock["nodes"].items():
        if name != lock["root"]:
            yield from _vague(name, node["locked"])


def _vague(name: str, locked: dict[str, Any]) -> Iterator[str]:
    if locked.get("type") != "github" or not locked.get("owner") or not locked.get("repo"):
        yield f"{name} is no repository on GitHub"
    if not re.fullmatch(r"[0-9a-f]{40}", locked.get("rev", "")):
        yield f"{name} has no revision"
    algorithm, _, digest = locked.get("narHash", "").partition("-")
    if algorithm != "sha256" or len(base64.b64decode(digest)) != 32:
        yield f"{name} has no hash"
    if not isinstance(locked.get("lastModified"), int):
        yield f"{name} has no date"


def _attributes(nix: str) -> dict[str, str]:
    """The strings of a set of Nix sets, by their dotted paths: { a = { b.c = "d"; }; } is a.b.c: d."""
    found: dict[str, str] = {}
    path: list[str] = []
    opened: list[int] = []
    for token in re.findall(r'"[^"]*"|[\w.-]+|[{}=;]', re.sub(r"#.*", "", nix)):
        if token == "{":
            opened.append(len(path))
        elif token == "}":
            del path[opened.pop() :]
            if not opened:
                break
        elif token == ";":
            del path[opened[-1] :]
        elif token.startswith('"'):
            found[".".join(path)] = token[1:-1]
        elif token != "=":
            path += token.split(".")
    return found


def _declared() -> dict[str, str]:
    """flake.nix's inputs: "uv2nix.url" and the like."""
    flake = (ROOT / "flake.nix").read_text("utf-8")
    _, assignment, inputs = flake.partition("inputs = ")
    assert assignment
    return _attributes(inputs)


def _as_url(original: dict[str, str]) -> str:
    parts = [original["owner"], original["repo"], *([original["ref"]] if "ref" in original else [])]
    return f"{original['type']}:{'/'.join(parts)}"


def test_flake_lock_is_closed_and_exact(lock: Lock) -> None:
    assert lock["version"] == 7
    assert list(_problems(lock)) == []


def test_flake_lock_is_written_as_nix_writes_it(lock: Lock, lock_text: str) -> None:
    assert lock_text == json.dumps(lock, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_flake_lock_has_the_inputs_of_the_flake(lock: Lock) -> None:
    nodes = lock["nodes"]
    inputs = nodes[lock["root"]]["inputs"]
    locked = {f"{name}.url": _as_url(nodes[node]["original"]) for name, node in inputs.items()}
    for name, node in inputs.items():
        for its_input, followed in nodes[node].get("inputs", {}).items():
            locked[f"{name}.inputs.{its_input}.follows"] = "/".join(followed)

    assert locked == _declared()


def test_flake_locks_what_was_asked_for(lock: Lock) -> None:
    for node in lock["nodes"].values():
        original, locked = node.get("original", {}), node.get("locked", {})
        assert {key: locked.get(key) for key in original if key != "ref"} == {
            key: value for key, value in original.items() if key != "ref"
        }


def _spoil_rev(lock: Lock) -> None:
    lock["nodes"]["uv2nix"]["locked"]["rev"] = "main"


def _spoil_hash(lock: Lock) -> None:
    lock["nodes"]["uv2nix"]["locked"]["narHash"] = "sha256-AAAA"


def _lose_node(lock: Lock) -> None:
    del lock["nodes"]["treefmt-nix"]


def _lose_user(lock: Lock) -> None:
    del lock["nodes"]["root"]["inputs"]["treefmt-nix"]


def _follow_nothing(lock: Lock) -> None:
    lock["nodes"]["uv2nix"]["inputs"]["pyproject-nix"] = ["pyproject", "nix"]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_spoil_rev, "uv2nix has no revision"),
        (_spoil_hash, "uv2nix has no hash"),
        (_lose_node, "root: its input treefmt-nix leads nowhere"),
        (_lose_user, "treefmt-nix is nobody's input"),
        (_follow_nothing, "uv2nix: its input pyproject-nix leads nowhere"),
    ],
)
def test_flake_lock_check_notices_what_is_wrong(
    lock: Lock, spoil: Callable[[Lock], None], problem: str
) -> None:
    spoil(lock)

    assert list(_problems(lock)) == [problem]
