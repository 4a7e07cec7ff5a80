"""``kill -9`` of a backup at any moment: every older one stays, and the next run cleans up."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from database_server import connect
from integration.backup_stage import BackupStage, Gate, started, until, wait_for

KILLS = 12


def files(stage: BackupStage) -> dict[str, bytes]:
    return {name: (stage.directory / name).read_bytes() for name in stage.names()}


def leftovers(stage: BackupStage) -> list[str]:
    """What is neither a dump nor the manifest of one."""
    names = set(stage.names())
    return [
        name
        for name in names
        if name.startswith(".") or (name.endswith(".json") and f"{name[:-5]}.dump" not in names)
    ]


def is_clean_after_one_more(stage: BackupStage, before: dict[str, bytes]) -> None:
    told = stage.cli("backup", "--json").json
    assert leftovers(stage) == []
    assert before.items() <= files(stage).items()
    assert stage.dumps()[-1] == Path(told["file"])
    assert stage.cli("verify-backup").code == 0


@pytest.mark.parametrize(
    ("name", "when", "before"),
    [
        ("pg_dump", "--snapshot", True),
        ("pg_dump", "--snapshot", False),
        ("pg_restore", "--list", True),
        ("pg_restore", "--list", False),
    ],
    ids=["nothing written", "all written", "before it is read back", "read back"],
)
def test_backup_killed_at_each_step_leaves_the_old_ones(
    stage: BackupStage, name: str, when: str, before: bool
) -> None:
    stage.back_up()
    old = files(stage)
    gate = Gate(stage, name, when=when, before=before)
    with started(stage.command(POSTGRESQL_PROGRAMS=str(gate.directory)), "backup") as process:
        gate.wait()
        process.kill()
        process.wait()
    assert old.items() <= files(stage).items()
    assert len(leftovers(stage)) == 1
    is_clean_after_one_more(stage, old)


def test_backup_killed_while_it_waits_for_a_table_leaves_nothing(stage: BackupStage) -> None:
    async def kill_waiting() -> None:
        connection = await connect(stage.server.url(stage.database))
        waits = (
            "SELECT EXISTS (SELECT FROM pg_locks"
            " WHERE relation = 'tasks'::regclass AND mode = 'AccessShareLock' AND NOT granted)"
        )
        async with connection.transaction():
            await connection.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
            with started(stage.command(), "backup") as process:
                await until(lambda: connection.fetchval(waits))
                process.kill()
                process.wait()
        await connection.close()

    asyncio.run(kill_waiting())
    assert stage.names() == []
    is_clean_after_one_more(stage, {})


@contextmanager
def slow_renames(stage: BackupStage) -> Iterator[dict[str, str]]:
    """Make every rename and unlink of the command take a while, so that a kill falls between them."""
    site = stage.root / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(
        "import pathlib, time\n"
        "for name in ('rename', 'unlink'):\n"
        "    real = getattr(pathlib.Path, name)\n"
        "    def slowly(self, *args, real=real, **named):\n"
        "        real(self, *args, **named)\n"
        "        time.sleep(0.25)\n"
        "    setattr(pathlib.Path, name, slowly)\n"
    )
    others = os.environ.get("PYTHONPATH")
    yield {"PYTHONPATH": f"{site}:{others}" if others else str(site)}


def test_backup_killed_between_its_names_is_complete_or_ignored(stage: BackupStage) -> None:
    """Between manifest and dump, and between the parts of an older one that goes."""
    stage.back_up()
    stage.back_up()
    first, second = stage.dumps()
    expected = (second.read_bytes(), second.with_suffix(".json").read_bytes())
    with slow_renames(stage) as settings:
        command = stage.command(**settings, BACKUP_KEEP="2")
        with started(command, "backup") as process:
            wait_for(lambda: len(list(stage.directory.glob("nakamura-misaki-*.json"))) == 3)
            process.kill()
            process.wait()
        assert stage.dumps() == [first, second]
        assert len(leftovers(stage)) == 2  # a manifest, and the dump without its name
        assert stage.cli("verify-backup", "--json").json["file"] == str(second)

        with started(command, "backup") as process:
            wait_for(lambda: not first.exists())
            process.kill()
            process.wait()
    assert leftovers(stage) == [first.with_suffix(".json").name]
    assert len(stage.dumps()) == 2
    assert (second.read_bytes(), second.with_suffix(".json").read_bytes()) == expected
    is_clean_after_one_more(stage, {})


def test_backup_killed_at_random_moments_never_loses_one(stage: BackupStage) -> None:
    started_at = time.monotonic()
    stage.command().json("backup")
    lasted = time.monotonic() - started_at
    seed = random.randrange(2**32)
    print(f"seed {seed}, undisturbed {lasted:.2f} s")
    chance = random.Random(seed)
    complete = files(stage)
    for _ in range(KILLS):
        with started(stage.command(BACKUP_KEEP="100"), "backup") as process:
            time.sleep(chance.uniform(0.3, 1.1) * lasted)
            process.kill()
            process.wait()
        assert complete.items() <= files(stage).items()
        complete |= {
            name: content
            for name, content in files(stage).items()
            if name.endswith((".dump", ".json")) and name not in leftovers(stage)
        }
    is_clean_after_one_more(stage, complete)
