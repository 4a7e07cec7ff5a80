"""A directory of backups: names in the order of time, and nothing deleted that is not ours or not old."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.domain.errors import AlreadyAtWork, BackupFailed
from nakamura_misaki.infrastructure.backup import directory as module
from nakamura_misaki.infrastructure.backup.directory import (
    BackupDirectory,
    Draft,
    manifest_of,
    time_of,
)

NOW = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
FOREIGN = (
    "nakamura-misaki.dump",
    "nakamura-misaki-20261125T023000Z.dump.bak",
    "nakamura-misaki-20261125T023000Z.json.partial",
    ".nakamura-misaki-20261125T023000Z.dump",
    "Nakamura-misaki-20261125T023000Z.dump",
    "nakamura-misaki-2026.json",
    "notes.json",
    ".nakamura-misaki-20261125T023000Z.txt.partial",
    "nakamura-misaki-20269999T999999Z.dump",
)


@pytest.fixture
def directory(tmp_path: Path) -> BackupDirectory:
    return BackupDirectory(tmp_path)


def write(directory: BackupDirectory, now: datetime, content: str = "dump") -> Path:
    draft = directory.begin(now)
    with os.fdopen(draft.create(), "w") as file:
        file.write(content)
    draft.publish("{}")
    return draft.dump


def names(directory: BackupDirectory) -> set[str]:
    return {path.name for path in directory.path.iterdir()}


def test_backups_are_named_for_their_time_in_utc(directory: BackupDirectory) -> None:
    local = NOW.astimezone().replace(microsecond=999_999)
    dump = write(directory, local)
    assert dump.name == "nakamura-misaki-20261125T023000Z.dump"
    assert names(directory) == {dump.name, "nakamura-misaki-20261125T023000Z.json"}
    assert time_of(dump) == NOW
    assert manifest_of(dump).read_text() == "{}\n"


def test_later_backup_is_later_by_name_also_where_the_clock_was_set_back(
    directory: BackupDirectory,
) -> None:
    times = [NOW, NOW, NOW - timedelta(days=9), NOW + timedelta(seconds=2), NOW]
    made = [write(directory, now) for now in times]
    assert made == sorted(made) == directory.dumps()
    assert [time_of(dump) for dump in made] == [
        NOW + timedelta(seconds=seconds) for seconds in (0, 1, 2, 3, 4)
    ]
    assert directory.newest() == made[-1]
    directory.rotate(1)
    assert directory.dumps() == made[-1:]


def test_what_has_another_name_is_not_seen_and_not_touched(directory: BackupDirectory) -> None:
    for name in FOREIGN:
        (directory.path / name).write_text("mine")
    with pytest.raises(BackupFailed, match="There is no backup in"):
        directory.newest()
    assert directory.clean() == []
    dump = write(directory, NOW)
    write(directory, NOW)
    assert directory.rotate(1) == (1, [dump.name])
    assert directory.clean() == []
    assert all((directory.path / name).read_text() == "mine" for name in FOREIGN)


def test_what_a_killed_run_has_left_is_cleaned(directory: BackupDirectory) -> None:
    complete = write(directory, NOW)
    left = {
        ".nakamura-misaki-20261125T030000Z.dump.partial",
        ".nakamura-misaki-20261125T030000Z.json.partial",
        "nakamura-misaki-20261125T030000Z.json",
    }
    for name in left:
        (directory.path / name).write_text("half")
    assert directory.newest() == complete
    assert set(directory.clean()) == left
    assert names(directory) == {complete.name, manifest_of(complete).name}


def test_dump_without_a_manifest_is_newest_but_never_deleted(directory: BackupDirectory) -> None:
    old = write(directory, NOW)
    bare = write(directory, NOW)
    manifest_of(bare).unlink()
    assert directory.newest() == bare
    assert directory.rotate(1) == (1, [])
    new = write(directory, NOW)
    assert directory.rotate(1) == (1, [old.name])
    assert directory.dumps() == [bare, new]


@given(
    complete=st.sets(st.integers(0, 40), max_size=20),
    bare=st.sets(st.integers(41, 80), max_size=5),
    keep=st.integers(1, 25),
)
def test_rotation_keeps_the_newest_and_every_one_that_is_not_complete(
    complete: set[int], bare: set[int], keep: int
) -> None:
    with TemporaryDirectory() as path:
        directory = BackupDirectory(Path(path))
        for second in complete | bare:
            dump = (
                Path(path) / f"nakamura-misaki-20261125T02{second // 60:02}{second % 60:02}Z.dump"
            )
            dump.write_text(str(second))
            if second in complete:
                manifest_of(dump).write_text("{}")
        kept, deleted = directory.rotate(keep)
        left = {int(dump.read_text()) for dump in directory.dumps()}
        expected = set(sorted(complete)[-keep:])
        assert left == expected | bare
        assert (kept, len(deleted)) == (len(expected), len(complete) - len(expected))
        assert {path.name for path in Path(path).glob("*.json")} == {
            manifest_of(dump).name
            for dump in directory.dumps()
            if int(dump.read_text()) in complete
        }


def test_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = BackupDirectory(tmp_path / "a" / "b")
    assert directory.dumps() == []
    with directory.locked():
        assert directory.path.stat().st_mode & 0o777 == 0o700
    open_to_others = tmp_path / "open"
    open_to_others.mkdir(mode=0o755)
    with BackupDirectory(open_to_others).locked():
        assert open_to_others.stat().st_mode & 0o777 == 0o755


def test_only_one_writes_at_a_time(directory: BackupDirectory) -> None:
    with (
        directory.locked(),
        pytest.raises(AlreadyAtWork, match="Another backup into"),
        directory.locked(),
    ):
        pass
    with directory.locked():
        pass


class Interrupted(BaseException):
    """Stands for a kill: nothing is cleaned up."""


@pytest.mark.parametrize(
    ("step", "visible"),
    [(0, {"nakamura-misaki-20261125T023000Z.json"}), (1, None)],
    ids=["after the manifest", "after the dump"],
)
def test_publishing_that_stops_is_complete_or_not_there(
    directory: BackupDirectory,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    visible: set[str] | None,
) -> None:
    """As a kill -9 between the steps leaves it."""
    synced = []

    def sync(path: Path) -> None:
        synced.append(path)
        if len(synced) > step:
            raise Interrupted

    monkeypatch.setattr(module, "_sync", sync)
    draft = directory.begin(NOW)
    os.close(draft.create())
    with pytest.raises(Interrupted):
        draft.publish("{}")
    shown = {name for name in names(directory) if not name.startswith(".")}
    pair = {draft.dump.name, draft.manifest.name}
    assert shown == (pair if visible is None else visible)
    assert directory.dumps() == ([draft.dump] if visible is None else [])
    directory.clean()
    assert names(directory) == (pair if visible is None else set())


@pytest.mark.parametrize("step", [0, 1])
def test_publishing_that_fails_leaves_nothing_or_a_complete_backup(
    directory: BackupDirectory, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    synced = []

    def sync(path: Path) -> None:
        synced.append(path)
        if len(synced) > step:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "_sync", sync)
    draft = Draft(directory.path, "nakamura-misaki-20261125T023000Z")
    os.close(draft.create())
    with pytest.raises(OSError, match="Input/output"):
        draft.publish("{}")
    draft.discard()
    assert names(directory) == (set() if step == 0 else {draft.dump.name, draft.manifest.name})


def test_disk_that_is_full_for_the_manifest_leaves_nothing(
    directory: BackupDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    draft = directory.begin(NOW)
    os.close(draft.create())
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        draft.publish("{}")
    draft.discard()
    assert names(directory) == set()


@pytest.mark.parametrize(
    "name", ["nakamura-misaki-20261125T023000Z.json", "other.dump", "nakamura-misaki-20261399T000000Z.dump"]
)  # fmt: skip
def test_other_names_tell_no_time(name: str) -> None:
    assert time_of(Path(name)) is None
