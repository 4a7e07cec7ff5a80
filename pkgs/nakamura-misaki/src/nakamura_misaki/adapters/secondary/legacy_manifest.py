"""The file that tells a directory to be a finished export of this project.

It holds no time of its own, so that equal data gives equal bytes, and a digest
over all other files, so that a directory changed since is known as such.
"""

import os
from collections.abc import Mapping
from hashlib import blake2b, file_digest
from typing import Any

from nakamura_misaki.adapters.secondary.legacy_files import FoundFile, open_file, walk
from nakamura_misaki.adapters.secondary.legacy_json import document, parse
from nakamura_misaki.application.legacy import Ignored, Kind
from nakamura_misaki.domain.errors import InvalidInput

MANIFEST_FILE = "nakamura-misaki-export.json"
LOCK_FILE = ".lock"
FORMAT = "nakamura-misaki-export"
VERSION = 1


def manifest(counts: Mapping[Kind, int], directory: str) -> bytes:
    """The manifest of an export of ``counts`` entries that lies in ``directory``."""
    return document(
        {
            "format": FORMAT,
            "version": VERSION,
            "counts": {kind.value: counts.get(kind, 0) for kind in Kind},
            "digest": digest(directory),
        }
    )


def check_manifest(value: Any) -> None:
    """Raise InvalidInput unless ``value`` is a manifest that this release can read."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InvalidInput("it is named like the manifest of an export, but is none.")
    version = value.get("version")
    if version != VERSION:
        raise InvalidInput(
            f"the export has format version {version!r}; this release reads version {VERSION}."
        )


def is_unchanged_export(directory: str) -> bool:
    """Whether ``directory`` holds a finished export and nothing else was written there since."""
    try:
        with open(f"{directory}/{MANIFEST_FILE}", "rb") as file:  # noqa: PTH123  (a Path each would slow imports)
            value = parse(file.read())
        check_manifest(value)
    except (OSError, InvalidInput):
        return False
    return bool(value.get("digest") == digest(directory))


def digest(directory: str) -> str:
    """A hash over the names and bytes of all files in ``directory`` but the manifest."""
    total = blake2b(digest_size=32)
    for found in walk(directory):
        if not isinstance(found, FoundFile):
            path, kind = found.path, "ignored" if isinstance(found, Ignored) else "rejected"
            total.update(f"{path}\0{kind}\0".encode())
        elif found.path not in (MANIFEST_FILE, LOCK_FILE):
            with os.fdopen(open_file(found), "rb") as file:
                content = file_digest(file, lambda: blake2b(digest_size=32)).hexdigest()
            total.update(f"{found.path}\0{content}\0".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
