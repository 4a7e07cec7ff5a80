"""The embedded server's cluster directory: made once, whole, and looked at before each start."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from nakamura_misaki.domain.errors import ConfigurationError, StorageUnavailable
from nakamura_misaki.infrastructure.database.embedded_installation import Account

_MAJOR_VERSION = "16"

# For one team's data on a machine that has other work to do; ALTER SYSTEM may change any of them.
_TUNING = {
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "100",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_PASSED_ON = frozenset({"PATH", "LD_LIBRARY_PATH", "NIX_LD", "NIX_LD_LIBRARY_PATH"})


def process_options(account: Account | None) -> dict[str, Any]:
    """How ``subprocess`` is to run PostgreSQL's programs: as whom, where, with which environment.

    They get no locale, no PG… variable and none of the caller's secrets.
    """
    environment = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
    options = account.as_subprocess_options() if account else {}
    return {
        "stdin": subprocess.DEVNULL,
        "cwd": "/",
        "env": environment | {"LC_ALL": "C", "TZ": "UTC"},
        **options,
    }


def give_to(account: Account | None, path: Path) -> None:
    """Hand a file or directory over to the server's user, if that is not ourselves."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def exists(cluster: Path) -> bool:
    """Whether anything is there that must not be written over."""
    return cluster.is_dir() and any(cluster.iterdir())


def create(cluster: Path, programs: Path, account: Account | None, *, durable: bool) -> None:
    """Run ``initdb`` beside the final place and move the finished cluster there.

    UTF-8 and the collation C whatever the caller's locale is: the order of texts
    never changes with a library. Upper and lower case are Unicode's where the
    system has the locale C.UTF-8. To be called by one process at a time.

    Raises StorageUnavailable, for example if the disk is full.
    """
    for leftover in cluster.parent.glob("cluster-draft-*"):
        shutil.rmtree(leftover)
    draft = Path(tempfile.mkdtemp(prefix="cluster-draft-", dir=cluster.parent))
    try:
        give_to(account, draft)
        reason = _initdb(draft, programs, account, "C.UTF-8", durable)
        if "invalid locale" in reason:
            reason = _initdb(draft, programs, account, "C", durable)
        if reason:
            raise StorageUnavailable(
                f"The embedded PostgreSQL can't create its data in {cluster.parent}: {reason}."
            )
        draft.rename(cluster)
        if durable:
            _sync_directory(cluster.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _initdb(
    cluster: Path, programs: Path, account: Account | None, character_types: str, durable: bool
) -> str:
    """Returns the reason of a failure, else an empty text."""
    command = [str(programs / "initdb"), "-D", str(cluster), "--username=postgres", "--auth=trust"]
    command += [
        "--encoding=UTF8",
        "--locale=C",
        f"--lc-ctype={character_types}",
        "--data-checksums",
    ]
    command += ["--no-instructions", *(() if durable else ("--no-sync",))]
    for name, value in _TUNING.items():
        command += ["--set", f"{name}={value}"]
    options = process_options(account)
    done = subprocess.run(  # noqa: S603 - no part of it is a user's
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    return "" if done.returncode == 0 else reason_in(done.stdout)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reason_in(output: bytes) -> str:
    """The first error that one of PostgreSQL's programs or its server reported, with its hint."""
    text = output.decode("utf-8", "replace")
    if found := re.search(r"(?:FATAL|PANIC|error): +(.+)(?:\n.*HINT: +(.+))?", text):
        reason, hint = (part and part.rstrip(".") for part in found.groups())
        return f"{reason} ({hint})" if hint else reason
    lines = text.splitlines()
    return lines[-1].strip().rstrip(".") if lines else "no reason was given"


def check(cluster: Path, account: Account | None) -> None:
    """Raise a clear error if the server that we would start can't work on this cluster."""
    owner = cluster.stat().st_uid
    if owner != (account.uid if account else os.geteuid()):
        raise ConfigurationError(
            f"The database in {cluster} belongs to the user with the id {owner}: "
            "run as that user, or set NAKAMURA_MISAKI_DATA_DIR to a directory of your own."
        )
    try:
        version = (cluster / "PG_VERSION").read_text("ascii", "replace").strip()
    except FileNotFoundError:
        raise StorageUnavailable(
            f"{cluster} holds files but no PostgreSQL data (PG_VERSION is missing): "
            "restore it from a backup, or move it away to begin anew."
        ) from None
    if version != _MAJOR_VERSION:
        raise ConfigurationError(
            f"The database in {cluster} is of PostgreSQL {version}, and this release runs {_MAJOR_VERSION}: "
            "set NAKAMURA_MISAKI_DATA_DIR to another directory."
        )
