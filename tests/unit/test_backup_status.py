"""What backups note for the metrics: never wrong by half, never an obstacle."""

import json
import logging
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from nakamura_misaki.domain.errors import AlreadyAtWork, BackupFailed
from nakamura_misaki.infrastructure.backup.status import (
    BackupStatus,
    noted_backup,
    noted_verification,
    read_status,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backup.json"


def test_success_and_failure_are_noted_beside_each_other(path: Path) -> None:
    before = time.time()
    with noted_backup(path) as noted:
        noted["size_bytes"] = 1234
    first = read_status(path)
    assert before <= first.last_success <= time.time()
    assert first == BackupStatus(last_success=first.last_success, size_bytes=1234)

    with pytest.raises(BackupFailed), noted_backup(path):
        raise BackupFailed("the disk is full")
    second = read_status(path)
    assert (second.last_success, second.size_bytes) == (first.last_success, 1234)
    assert second.last_failure >= second.last_success

    with noted_verification(path):
        pass
    third = read_status(path)
    assert third.verified >= second.last_failure
    assert third.verification_failed == 0
    with pytest.raises(KeyboardInterrupt), noted_verification(path):
        raise KeyboardInterrupt
    fourth = read_status(path)
    assert (fourth.verified, fourth.verification_failed) == (third.verified, 1)
    assert (fourth.last_success, fourth.last_failure) == (second.last_success, second.last_failure)
    with noted_verification(path):
        pass
    assert read_status(path).verification_failed == 0


def test_file_is_everybodys_to_read_and_nothing_else_is_left(path: Path) -> None:
    old = Path(path.parent, f".{path.name}.partial")
    old.write_text("of a killed run")
    before = os.umask(0o077)
    try:
        with noted_backup(path):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert set(json.loads(path.read_text())) == {
        "last_success",
        "size_bytes",
        "last_failure",
        "verified",
        "verification_failed",
    }


def test_who_came_second_notes_nothing(path: Path) -> None:
    with pytest.raises(AlreadyAtWork), noted_backup(path):
        raise AlreadyAtWork("another one is at work")
    assert not path.exists()


def test_without_a_file_nothing_is_noted(tmp_path: Path) -> None:
    with noted_backup(None), noted_verification(None):
        pass
    assert list(tmp_path.iterdir()) == []


def test_file_that_can_not_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with noted_backup(tmp_path / "nowhere" / "backup.json"):
        pass
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith("can't be written: No such file or directory")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"last_success": 5' + b" " * 100_000 + b"}",
        b'{"last_success": "yesterday", "size_bytes": null, "last_failure": -1, "verified": {}}',
        b'{"last_success": NaN, "verified": Infinity, "size_bytes": 1e999}',
        b'{"last_success": 1' + b"0" * 400 + b"}",
    ],
)
def test_damaged_file_says_that_nothing_ever_succeeded(path: Path, content: bytes) -> None:
    """So that whoever watches is told, rather than left with the last good news."""
    path.write_bytes(content)
    assert read_status(path) == BackupStatus()
    with noted_backup(path) as noted:
        noted["size_bytes"] = 7
    assert read_status(path).size_bytes == 7


def test_missing_file_and_directory_say_the_same(path: Path, tmp_path: Path) -> None:
    assert read_status(path) == BackupStatus()
    assert read_status(tmp_path) == BackupStatus()


def test_what_is_known_of_a_file_with_more_in_it_is_read(path: Path) -> None:
    path.write_text('{"last_success": 17, "of_a_newer_release": [1], "size_bytes": true}')
    assert read_status(path) == BackupStatus(last_success=17, size_bytes=1)


def test_two_at_once_lose_nothing_of_each_other(path: Path) -> None:
    def often(note: object) -> None:
        for _ in range(100):
            with note(path):
                pass

    threads = [
        threading.Thread(target=often, args=(n,)) for n in (noted_backup, noted_verification)
    ]
    with noted_backup(path) as noted:
        noted["size_bytes"] = 99
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert read_status(path).size_bytes == 99
    for thread in threads:
        thread.join()
    status = read_status(path)
    assert min(status.last_success, status.verified, status.size_bytes) > 0
