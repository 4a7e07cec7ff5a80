"""A database's schema as pg_dump writes it, to compare two of them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from nakamura_misaki.infrastructure.database.embedded_installation import wheel_programs

_SAID_ANEW = re.compile(r"^(--.*|\\(un)?restrict .*|)$\n", re.MULTILINE)


def program(name: str) -> Path:
    """PostgreSQL's own program that fits the tests' server, or the test is skipped."""
    if "TEST_DATABASE_URL" not in os.environ:
        return wheel_programs() / name
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} on PATH for the server of TEST_DATABASE_URL")
    return Path(found)


def libpq_url(url: str) -> str:
    plain = make_url(url).set(drivername="postgresql")
    return plain.render_as_string(hide_password=False)


def schema_dump(url: str, *, rights: bool = True) -> str:
    """Everything in the schema but Alembic's own table, owners and (if asked for) rights included."""
    done = subprocess.run(
        [
            program("pg_dump"),
            "--schema-only",
            "--exclude-table=alembic_version",
            *([] if rights else ["--no-privileges"]),
            f"--dbname={libpq_url(url)}",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return _SAID_ANEW.sub("", done.stdout)
