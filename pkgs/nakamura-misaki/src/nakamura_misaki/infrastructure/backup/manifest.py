"""What a dump holds and how to make a database for it, written beside it as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from nakamura_misaki.domain.errors import BackupFailed
from nakamura_misaki.infrastructure.backup.properties import DatabaseProperties

FORMAT = 1
_LONGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was true of the database in the very snapshot that the dump was made from."""

    dump: str
    """The name of the dump's file."""
    sha256: str
    size_bytes: int
    created_at: datetime
    database: str
    schema_revision: str
    rows: Mapping[str, int]
    """Rows of every table."""
    roles: tuple[str, ...]
    """Roles that the dump speaks of, which must be there before it is restored."""
    properties: DatabaseProperties
    server_version: str
    program_version: str
    package_version: str

    def as_text(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "dump": self.dump,
                "sha256": self.sha256,
                "size_bytes": self.size_bytes,
                "created_at": self.created_at.astimezone(UTC).isoformat(),
                "database": self.database,
                "schema_revision": self.schema_revision,
                "rows": dict(self.rows),
                "roles": list(self.roles),
                "properties": self.properties.as_json(),
                "server_version": self.server_version,
                "program_version": self.program_version,
                "package_version": self.package_version,
            },
            ensure_ascii=False,
            indent=2,
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The manifest in the file, None if there is no such file.

        Raises BackupFailed if it is damaged, or of a newer release.
        """
        try:
            with path.open("rb") as file:
                noted = json.loads(file.read(_LONGEST))
            if noted["format"] != FORMAT:
                raise BackupFailed(
                    f"The manifest {path} has the format {noted['format']}, which this release does"
                    f" not know: it was made by a newer one. Use that release."
                )
            return cls._of(noted)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackupFailed(f"The manifest {path} can't be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BackupFailed(
                f"The manifest {path} is damaged; move it away to use the dump without it."
            ) from None

    @classmethod
    def _of(cls, noted: Any) -> Self:
        created_at = datetime.fromisoformat(noted["created_at"])
        if created_at.tzinfo is None:
            raise ValueError("a time without its offset")
        return cls(
            dump=str(noted["dump"]),
            sha256=str(noted["sha256"]),
            size_bytes=int(noted["size_bytes"]),
            created_at=created_at,
            database=str(noted["database"]),
            schema_revision=str(noted["schema_revision"]),
            rows={str(table): int(rows) for table, rows in noted["rows"].items()},
            roles=tuple(map(str, noted["roles"])),
            properties=DatabaseProperties.of_json(noted["properties"]),
            server_version=str(noted["server_version"]),
            program_version=str(noted["program_version"]),
            package_version=str(noted["package_version"]),
        )


def difference(expected: Mapping[str, int], found: Mapping[str, int]) -> str:
    """Which tables differ in their rows, the first three of them in words; empty if none does."""
    differing = [
        f"{table} has {_rows(found.get(table))} instead of {_rows(expected.get(table))}"
        for table in sorted(expected.keys() | found.keys())
        if expected.get(table) != found.get(table)
    ]
    more = f" and {len(differing) - 3} more tables differ" if len(differing) > 3 else ""
    return ", ".join(differing[:3]) + more


def _rows(number: int | None) -> str:
    if number is None:
        return "no table"
    return "1 row" if number == 1 else f"{number:,} rows"
