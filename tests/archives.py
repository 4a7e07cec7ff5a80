"""Backup archives, unpacked as a person would."""

import tarfile
from pathlib import Path
from typing import Any


def unpack(archive: Path, target: Path) -> None:
    # Python 3.11 knows the filter from 3.11.4 on, and 3.14 asks for one.
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as file:
        file.extractall(target, **safely)
