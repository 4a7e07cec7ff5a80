"""Manifests: what was written comes back, and what was damaged or is newer is told."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nakamura_misaki.domain.errors import BackupFailed
from nakamura_misaki.infrastructure.backup.manifest import Manifest, difference
from nakamura_misaki.infrastructure.backup.properties import DatabaseProperties, Grant, Setting

PROPERTIES = DatabaseProperties(
    owner="nakamura_misaki_owner",
    encoding="UTF8",
    provider="icu",
    collate="C",
    ctype="C.UTF-8",
    locale="ja-JP",
    icu_rules="&V << w",
    tablespace="速い",
    connection_limit=50,
    grants=(Grant(None, "CONNECT", False), Grant("nakamura_misaki", "CREATE", True)),
    settings=(Setting(None, "search_path=a, b"), Setting("役", "work_mem=8MB")),
)
MANIFEST = Manifest(
    dump="nakamura-misaki-20261125T023000Z.dump",
    sha256="0" * 64,
    size_bytes=1234,
    created_at=datetime(2026, 11, 25, 2, 30, 0, 123456, tzinfo=UTC),
    database="nakamura_misaki",
    schema_revision="0006",
    rows={"notes": 62, "他.表": 1},
    roles=("nakamura_misaki", "役"),
    properties=PROPERTIES,
    server_version="16.14",
    program_version="pg_dump (PostgreSQL) 16.14",
    package_version="0.1.0",
)


@pytest.mark.parametrize(
    "manifest",
    [
        MANIFEST,
        replace(MANIFEST, properties=replace(PROPERTIES, grants=None, settings=(), locale=None)),
        replace(MANIFEST, properties=replace(PROPERTIES, grants=()), rows={}, roles=()),
    ],
)
def test_what_was_written_comes_back(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(manifest.as_text(), "utf-8")
    assert Manifest.read(path) == manifest


def test_missing_manifest_is_none_and_an_unreadable_one_an_error(tmp_path: Path) -> None:
    assert Manifest.read(tmp_path / "none.json") is None
    with pytest.raises(BackupFailed, match="can't be read: Is a directory"):
        Manifest.read(tmp_path)


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(MANIFEST.as_text()) | changes)


def with_properties(**changes: Any) -> str:
    properties = json.loads(MANIFEST.as_text())["properties"]
    return changed(properties=properties | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        "[" * 100_000,
        changed(created_at="2026-11-25T02:30:00"),
        changed(created_at="yesterday"),
        changed(rows=[]),
        changed(rows={"notes": "many"}),
        changed(size_bytes=None),
        changed(properties=None),
        with_properties(grants=[["x"]]),
        with_properties(grants=[["x", "ALL; DROP DATABASE y", False]]),
        with_properties(provider="libc; DROP DATABASE y"),
        with_properties(settings=[1]),
        with_properties(connection_limit="few"),
    ],
)
def test_damaged_manifest_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(BackupFailed) as caught:
        Manifest.read(path)
    assert str(caught.value) == (
        f"The manifest {path} is damaged; move it away to use the dump without it."
    )


def test_manifest_of_a_newer_release_is_told(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(changed(format=2))
    with pytest.raises(BackupFailed, match="it was made by a newer one"):
        Manifest.read(path)


_ALL_OF_THREE = (
    "a has 0 rows instead of 1 row, b has 0 rows instead of 2 rows, c has 0 rows instead of 3 rows"
)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, ""),
        ({"a": 0, "b": 2, "c": 3, "d": 4, "e": 5}, "a has 0 rows instead of 1 row"),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, "e has no table instead of 5 rows"),
        (
            {"a": 1, "b": 2000, "c": 3, "d": 4, "e": 5, "f": 1},
            "b has 2,000 rows instead of 2 rows, f has 1 row instead of no table",
        ),
        (
            {"a": 0, "b": 0, "c": 0},
            f"{_ALL_OF_THREE} and 2 more tables differ",
        ),
    ],
)
def test_difference_names_the_first_tables(found: dict[str, int], words: str) -> None:
    assert difference({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, found) == words
