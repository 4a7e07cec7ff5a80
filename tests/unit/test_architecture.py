"""The layers' rule, held by reading the imports: arrows only point inwards, and modules stay small.

``infrastructure/di`` (a package) alone knows which adapter stands behind a port, and
nothing knows what calls us, but for the entry points themselves.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import nakamura_misaki

PACKAGE = "nakamura_misaki"
LONGEST_MODULE = 400

_DATABASE = "infrastructure.database"
_COMPOSITION = "infrastructure.di"


@dataclass(frozen=True)
class Rule:
    """Which parts of the package a part may import, and whether libraries too."""

    layer: str
    own: tuple[str, ...]
    libraries: bool


# The first whose layer fits counts.
RULES = (
    Rule("domain", ("domain",), libraries=False),
    Rule("application", ("domain", "application"), libraries=False),
    Rule(
        "adapters.secondary",
        ("domain", "application", "adapters.secondary", _DATABASE),
        libraries=True,
    ),
    Rule(
        "adapters.primary",
        ("domain", "application", "infrastructure", "adapters.primary"),
        libraries=True,
    ),
    Rule(
        _COMPOSITION,
        ("domain", "application", "infrastructure", "adapters.secondary"),
        libraries=True,
    ),
    Rule("infrastructure", ("domain", "infrastructure"), libraries=True),
    Rule("__main__", ("adapters.primary",), libraries=False),
    Rule("", (), libraries=False),
)


def violations(source: Path) -> list[str]:
    """Every breach of the rules in a package's directory, as ``file:line: what``."""
    found = []
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source)
        text = path.read_text("utf-8")
        lines = text.count("\n")
        if lines > LONGEST_MODULE:
            found.append(
                f"{relative}:{LONGEST_MODULE + 1}: {lines} lines, more than {LONGEST_MODULE}"
            )
        module = ".".join(relative.with_suffix("").parts).removesuffix("__init__").rstrip(".")
        rule = next(rule for rule in RULES if _is_within(module, rule.layer))
        for line, imported in _imports(ast.parse(text), module, relative.name == "__init__.py"):
            if not _is_allowed(imported, rule):
                found.append(
                    f"{relative}:{line}: {rule.layer or 'the package itself'} must not import {imported}"
                )
    return found


def _is_within(module: str, layer: str) -> bool:
    return not layer or module == layer or module.startswith(f"{layer}.")


def _is_allowed(imported: str, rule: Rule) -> bool:
    top, _, rest = imported.partition(".")
    if top != PACKAGE:
        return rule.libraries or top in sys.stdlib_module_names
    return rest in ("", "__version__") or any(_is_within(rest, own) for own in rule.own)


def _imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every import, also those inside functions and conditions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module, is_package)
            for alias in node.names:
                # `from package.adapters import secondary` imports the layer, not a name of its parent.
                yield node.lineno, f"{origin}.{alias.name}"


def _origin(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    here = [PACKAGE, *module.split(".")] if module else [PACKAGE]
    up = node.level - 1 if is_package else node.level
    return ".".join([*here[: len(here) - up], *([node.module] if node.module else [])])


def test_every_layer_imports_only_what_it_may() -> None:
    source = Path(nakamura_misaki.__file__).parent

    assert (source / "domain").is_dir()
    assert violations(source) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small package that keeps all the rules."""
    modules = {
        "__init__.py": "",
        "__main__.py": "from nakamura_misaki.adapters.primary.cli.main import main\n",
        "domain/task.py": "import uuid\nfrom nakamura_misaki.domain.errors import InvalidInput\n",
        "application/tasks.py": "from nakamura_misaki.domain import task\n",
        "adapters/secondary/store.py": "import sqlalchemy\nfrom nakamura_misaki.infrastructure.database import schema\n",
        "adapters/primary/cli/main.py": "import click\nfrom nakamura_misaki import __version__\nfrom . import tasks\n",
        "infrastructure/database/schema.py": "import sqlalchemy\n",
        "infrastructure/di/repositories.py": "from nakamura_misaki.adapters.secondary.store import Store\n",
    }
    for name, text in modules.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_architecture_check_accepts_a_tree_that_keeps_the_rules(tree: Path) -> None:
    assert violations(tree) == []


@pytest.mark.parametrize(
    ("module", "line", "imported"),
    [
        ("domain/task.py", "import sqlalchemy", "sqlalchemy"),
        ("domain/task.py", "from nakamura_misaki.application import tasks", "nakamura_misaki.application.tasks"),
        ("domain/task.py", "from ..application.tasks import add", "nakamura_misaki.application.tasks.add"),
        ("domain/task.py", "from .. import application", "nakamura_misaki.application"),
        ("domain/__init__.py", "from ..infrastructure import di", "nakamura_misaki.infrastructure.di"),
        ("domain/task.py", "def late():\n    import orjson", "orjson"),
        ("domain/task.py", "if TYPE_CHECKING:\n    from pgvector import Vector", "pgvector.Vector"),
        ("application/tasks.py", "import pydantic", "pydantic"),
        ("application/tasks.py", "import nakamura_misaki.infrastructure.di", "nakamura_misaki.infrastructure.di"),
        ("application/tasks.py", "from nakamura_misaki import adapters", "nakamura_misaki.adapters"),
        ("adapters/secondary/store.py", "from nakamura_misaki.infrastructure import di", "nakamura_misaki.infrastructure.di"),
        ("adapters/secondary/store.py", "from nakamura_misaki.adapters.primary import cli", "nakamura_misaki.adapters.primary.cli"),
        ("adapters/primary/cli/main.py", "from nakamura_misaki.adapters import secondary", "nakamura_misaki.adapters.secondary"),
        ("infrastructure/database/schema.py", "from nakamura_misaki.adapters.secondary import store", "nakamura_misaki.adapters.secondary.store"),
        ("infrastructure/database/schema.py", "import nakamura_misaki.application", "nakamura_misaki.application"),
        ("infrastructure/di.py", "from nakamura_misaki.adapters.primary import cli", "nakamura_misaki.adapters.primary.cli"),
        ("__init__.py", "from nakamura_misaki.domain import task", "nakamura_misaki.domain.task"),
    ],
)  # fmt: skip
def test_architecture_check_names_file_and_line_of_a_breach(
    tree: Path, module: str, line: str, imported: str
) -> None:
    path = tree / module
    before = path.read_text() if path.exists() else ""
    path.write_text(before + line + "\n")

    [breach] = violations(tree)

    at = before.count("\n") + line.count("\n") + 1
    assert breach.startswith(f"{module}:{at}: ")
    assert breach.endswith(f" must not import {imported}")


def test_architecture_check_names_a_module_that_grew_too_long(tree: Path) -> None:
    (tree / "domain" / "task.py").write_text("\n" * 400)
    assert violations(tree) == []

    (tree / "domain" / "task.py").write_text("\n" * 401)
    assert violations(tree) == ["domain/task.py:401: 401 lines, more than 400"]
