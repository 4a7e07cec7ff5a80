"""Calls the command line inside the test's process, as the console script does."""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nakamura_misaki.adapters.primary.cli.main import main

USER = "U01ABC123"
_SETTINGS = (
    "DATABASE_OWNER_URL",
    "DATABASE_ADMIN_URL",
    "BACKUP_DIR",
    "BACKUP_KEEP",
    "BACKUP_STATUS_FILE",
    "POSTGRESQL_PROGRAMS",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "STORAGE_BACKEND",
    "JSON_DATA_DIR",
    "TIME_ZONE",
    "WORKSPACE_ID",
    "CREDENTIALS_DIRECTORY",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
)


@dataclass(frozen=True)
class Outcome:
    """How a call ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The error of a call with --json."""
        return json.loads(self.err.strip().splitlines()[-1])


class CommandLine:
    """``nakamura-misaki`` for one test, with settings of its own."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        directory: Path,
        database_url: str | None,
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.chdir(directory)
        for name in _SETTINGS:
            monkeypatch.delenv(name, raising=False)
        self.set(
            EMBEDDING_PROVIDER="hashing",
            NAKAMURA_MISAKI_USER=USER,
            NAKAMURA_MISAKI_DATA_DIR=str(directory / "no-server-here"),
        )
        if database_url is None:
            monkeypatch.delenv("DATABASE_URL", raising=False)
        else:
            self.set(DATABASE_URL=database_url)

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> Outcome:
        if stdin is not None:
            self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert isinstance(end.value.code, int)
        return Outcome(end.value.code, *self._capsys.readouterr())
