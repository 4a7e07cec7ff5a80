"""Backup and deletion of the source: never a file that is not safe elsewhere."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from archives import unpack
from nakamura_misaki.adapters.secondary.legacy_source import LegacyDirectory
from nakamura_misaki.application.migration import MigrationOptions, migrate
from nakamura_misaki.domain.errors import InvalidInput
from unit.legacy_stores import SESSION_ID, json_stores, note_entry, session_entry, tree, write


def legacy_directory(root):
    write(root, "notes/decisions.json", [note_entry(), note_entry("other")])
    write(root, "notes/errors.json", [note_entry("fine"), note_entry("")])
    write(root, "notes/broken.json", b'{"user')
    write(root, "notes/deep/er/single.json", {"user_id": "U1", "content": "c"})
    write(root, "sessions/user_U1_sessions.json", {SESSION_ID: session_entry()})
    write(root, "sessions/.DS_Store", b"\x00")
    (root / "empty").mkdir()
    return root


def options(tmp_path, **fields):
    return MigrationOptions(backup=str(tmp_path / "b.tar.gz"), **fields)


def unpacked(archive, target):
    unpack(archive, target)
    return tree(target)


async def test_backup_holds_every_file(tmp_path):
    source = legacy_directory(tmp_path / "source")
    os.link(source / "notes/decisions.json", source / "notes/linked.json")
    before = tree(source)
    report = await migrate(
        LegacyDirectory(source), json_stores(tmp_path / "store"), options(tmp_path)
    )
    assert report.backup == str(tmp_path / "b.tar.gz")
    assert unpacked(report.backup, tmp_path / "unpacked") == before == tree(source)
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.tar.gz", "source", "store", "unpacked"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("there.tar.gz", "is there already"),
        ("source/b.tar.gz", "must not lie inside"),
        ("link/notes/b.tar.gz", "must not lie inside"),
        ("nowhere/b.tar.gz", "there is no directory"),
        ("x" * 300, "can't be written: File name too long"),
    ],
)
async def test_backup_that_cannot_be_written_stops_everything(tmp_path, target, reason):
    source = legacy_directory(tmp_path / "source")
    write(tmp_path, "there.tar.gz", b"somebody's")
    (tmp_path / "link").symlink_to("source")
    before = tree(tmp_path)
    with pytest.raises(InvalidInput, match=reason):
        await migrate(
            LegacyDirectory(source),
            json_stores(tmp_path / "store"),
            MigrationOptions(backup=str(tmp_path / target)),
        )
    assert tree(tmp_path) == before


def test_deletion_needs_a_backup_and_a_real_run():
    with pytest.raises(InvalidInput, match="backup"):
        MigrationOptions(delete_source=True)
    with pytest.raises(InvalidInput, match="dry run"):
        MigrationOptions(delete_source=True, backup="b.tar.gz", dry_run=True)


async def test_only_files_that_arrived_whole_are_deleted(tmp_path):
    source = legacy_directory(tmp_path / "source")
    before = tree(source)
    report = await migrate(
        LegacyDirectory(source),
        json_stores(tmp_path / "store"),
        options(tmp_path, delete_source=True),
    )
    assert report.verified is True
    assert report.deleted_files == 3
    assert report.kept_files == []
    assert list(tree(source)) == ["notes/broken.json", "notes/errors.json", "sessions/.DS_Store"]
    assert sorted(p.name for p in source.rglob("*") if p.is_dir()) == ["empty", "notes", "sessions"]
    assert unpacked(report.backup, tmp_path / "unpacked") == before


async def test_emptied_directories_go_and_the_root_stays(tmp_path):
    source = tmp_path / "source"
    write(source, "a/b/decisions.json", [note_entry()])
    report = await migrate(
        LegacyDirectory(source),
        json_stores(tmp_path / "store"),
        options(tmp_path, delete_source=True),
    )
    assert report.ok
    assert list(source.iterdir()) == []


async def test_nothing_is_deleted_when_the_store_differs(tmp_path):
    source = legacy_directory(tmp_path / "source")
    stores = json_stores(tmp_path / "store")
    await migrate(LegacyDirectory(source), stores)
    async for note in stores.notes.stream():
        await stores.notes.save(replace(note, content="tampered with"))
    before = tree(source)
    report = await migrate(LegacyDirectory(source), stores, options(tmp_path, delete_source=True))
    assert report.verified is False
    assert report.deleted_files == 0
    assert tree(source) == before


class ChangedBefore(LegacyDirectory):
    """A directory in which somebody writes at the worst moment."""

    def __init__(self, directory, moment):
        super().__init__(directory)
        self.moment = moment
        self.scans = 0

    def _change(self, moment):
        if moment == self.moment:
            with (Path(self.name) / "notes/decisions.json").open("a") as file:
                file.write("\n")

    def scan(self):
        self.scans += 1
        self._change(f"scan {self.scans}")
        yield from super().scan()

    def delete(self, files):
        self._change("delete")
        return super().delete(files)


@pytest.mark.parametrize("moment", ["scan 1", "scan 2", "delete"])
async def test_file_that_changed_meanwhile_is_not_deleted(tmp_path, moment):
    source = legacy_directory(tmp_path / "source")
    report = await migrate(
        ChangedBefore(source, moment),
        json_stores(tmp_path / "store"),
        options(tmp_path, delete_source=True),
    )
    assert not report.ok
    assert (source / "notes/decisions.json").exists()
    named = {r.path for r in (*report.kept_files, *report.rejections)}
    assert "notes/decisions.json" in named
