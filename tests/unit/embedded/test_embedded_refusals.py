"""What the embedded PostgreSQL refuses, and what root and others may expect of it."""

import fcntl
import os
import pwd
import re
import stat
import subprocess
from pathlib import Path

import pytest

from embedded_home import (
    AS_ROOT,
    PACKAGES,
    SOURCE,
    START,
    Home,
    for_root,
    one_sentence,
    python_for,
    run_as,
)
from nakamura_misaki.domain.errors import ConfigurationError, StorageUnavailable
from nakamura_misaki.infrastructure.database import embedded_installation
from nakamura_misaki.infrastructure.database.embedded import EmbeddedServer
from nakamura_misaki.infrastructure.database.embedded_postmaster import (
    Answer,
    ask,
)


@pytest.mark.skipif(AS_ROOT, reason="root writes everywhere")
def test_unwritable_data_directory_is_one_sentence(home: Home) -> None:
    closed = home.path / "closed"
    closed.mkdir(mode=0o500)

    with pytest.raises(ConfigurationError) as caught:
        home.server("closed/data").start()

    assert "Permission denied" in one_sentence(caught.value)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_file_in_place_of_the_data_directory_is_one_sentence(home: Home, name: str) -> None:
    (home.path / "file").write_text("")

    with pytest.raises(ConfigurationError) as caught:
        home.server(name).start()

    assert "NAKAMURA_MISAKI_DATA_DIR" in one_sentence(caught.value)


def test_cluster_of_another_major_version_is_refused(server: EmbeddedServer) -> None:
    server.stop()
    (server.cluster / "PG_VERSION").write_text("15\n")

    with pytest.raises(ConfigurationError) as caught:
        server.start()

    assert "PostgreSQL 15" in one_sentence(caught.value)


def test_damaged_cluster_is_refused_and_left_alone(server: EmbeddedServer) -> None:
    server.stop()
    (server.cluster / "PG_VERSION").unlink()
    before = sorted(server.cluster.rglob("*"))

    with pytest.raises(StorageUnavailable) as caught:
        server.start()

    assert "PG_VERSION is missing" in one_sentence(caught.value)
    assert sorted(server.cluster.rglob("*")) == before


def test_failing_start_gives_the_reason_and_the_log(server: EmbeddedServer) -> None:
    server.stop()
    (server.cluster / "postgresql.auto.conf").write_text("nonsense = 1\n")

    with pytest.raises(StorageUnavailable) as caught:
        server.start()

    text = one_sentence(caught.value)
    assert str(server.log_file) in text
    assert "nonsense" in server.log_file.read_text()


def test_start_held_up_by_another_process_gives_up_in_time(home: Home) -> None:
    server = home.server(start_timeout=0.1)
    server.data_dir.mkdir()
    with (server.data_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageUnavailable) as caught:
            server.start()

    assert "another process" in one_sentence(caught.value)


def test_long_log_is_put_aside(server: EmbeddedServer) -> None:
    server.stop()
    with server.log_file.open("ab") as log:
        log.truncate(11 * 1024 * 1024)

    server.start()

    assert server.log_file.stat().st_size < 1024 * 1024
    assert server.log_file.with_name("server.log.1").exists()


def test_client_programs_are_there_and_run(home: Home) -> None:
    for program in ("pg_dump", "pg_restore", "psql"):
        version = subprocess.run(
            [home.server().bin_dir / program, "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "(PostgreSQL) 16." in version.stdout


def test_socket_that_nobody_serves_is_no_answer(tmp_path: Path) -> None:
    assert ask(tmp_path / "nothing") is Answer.NONE
    assert ask(tmp_path / ("x" * 200)) is Answer.NONE


@for_root
def test_start_as_root_changes_no_mode_outside_the_data_directory(home: Home) -> None:
    watched = {*home.path.parents, *SOURCE.parents, home.path}
    programs = embedded_installation.wheel_programs()
    watched |= {*programs.parents, programs, *programs.iterdir()}
    before = {path: path.stat().st_mode for path in watched}

    home.server().start()

    assert {path: path.stat().st_mode for path in watched} == before


@for_root
def test_root_is_told_about_a_closed_parent_instead_of_opening_it(home: Home) -> None:
    closed = home.path / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(ConfigurationError) as caught:
        home.server("closed/data").start()

    assert f"can't enter {closed}" in one_sentence(caught.value)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@for_root
def test_root_is_told_about_a_closed_directory_with_other_files(home: Home) -> None:
    closed = home.path / "data"
    closed.mkdir(mode=0o700)
    (closed / "secret").write_text("")

    with pytest.raises(ConfigurationError) as caught:
        home.server().start()

    assert "holds files already" in one_sentence(caught.value)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@for_root
def test_root_starts_in_an_empty_closed_directory_of_its_own(home: Home) -> None:
    (home.path / "data").mkdir(mode=0o700)

    server = home.server()
    server.start()

    assert server.is_running()


@for_root
def test_programs_are_copied_once_for_root_and_anew_for_another_version(
    server: EmbeddedServer,
) -> None:
    [copy] = server.data_dir.glob("postgresql-16-*")
    made = copy.stat().st_ctime_ns
    server.stop()
    (server.data_dir / "postgresql-16-0.0.1").mkdir()

    server.start()

    assert list(server.data_dir.glob("postgresql-16-*")) == [copy]
    assert copy.stat().st_ctime_ns == made


@for_root
def test_disk_full_is_one_sentence_and_leaves_nothing_half_made(home: Home) -> None:
    directory = home.path / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=45m,mode=755", "tmpfs", directory], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        with pytest.raises(StorageUnavailable) as caught:
            home.server("small").start()
        assert re.search(
            "No space left on device|Check free disk space", one_sentence(caught.value)
        )
        assert not (directory / "cluster").exists()
        assert list(directory.glob("cluster-draft-*")) == []
    finally:
        subprocess.run(["umount", directory], check=True)


@for_root
def test_read_only_file_system_is_one_sentence(home: Home) -> None:
    directory = home.path / "frozen"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,mode=755", "tmpfs", directory], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        with pytest.raises(ConfigurationError) as caught:
            home.server("frozen").start()
        assert "Read-only file system" in one_sentence(caught.value)
    finally:
        subprocess.run(["umount", directory], check=True)


@for_root
def test_unprivileged_user_has_a_server_that_others_cannot_reach(home: Home) -> None:
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody)
    if python is None:
        pytest.skip("the user nobody can read no Python, or not this package")
    owned = home.path / "nobody"
    owned.mkdir()
    os.chown(owned, nobody.pw_uid, nobody.pw_gid)
    server = home.server("nobody/data")

    done = run_as(nobody, python, START, str(server.data_dir), *PACKAGES)

    assert done.stderr == ""
    assert (Path("/proc") / done.stdout.strip()).stat().st_uid == nobody.pw_uid
    assert server.data_dir.stat().st_uid == nobody.pw_uid
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    # root attaches to it, but does not take over its data.
    server.start()
    server.stop()
    with pytest.raises(ConfigurationError) as caught:
        server.start()
    assert "run as that user" in one_sentence(caught.value)
