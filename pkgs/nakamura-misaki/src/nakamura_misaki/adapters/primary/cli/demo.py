"""``demo``: the whole thing once, from nothing, on a small team's old notes."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

import nakamura_misaki
from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.calling import command_line
from nakamura_misaki.adapters.primary.cli.context import Invocation, present_user
from nakamura_misaki.adapters.primary.cli.options import json_option
from nakamura_misaki.adapters.primary.cli.progress import embed_with_progress
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import FoundNote, SearchAnswer
from nakamura_misaki.domain.task import Task

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nakamura_misaki.adapters.primary.cli.render import Times
    from nakamura_misaki.infrastructure.di import App

QUESTIONS = ("DB移行の決定事項は？", "引き継ぎのリマインダーはいつ送る？", "rollback plan")
"""What the demo asks of its notes."""

_COLLEAGUES = ("U02DEF456", "U01ABC123")
_INDENT = 3


@click.command()
@json_option
@click.pass_obj
def demo(call: Invocation) -> None:
    """Show the whole thing once, in a few seconds.

    Starts the embedded PostgreSQL, makes the database nakamura_misaki_demo anew, imports a small
    team's old notes, asks three questions, shows tasks and a handoff. Your own data is not
    touched, and no key is needed. Afterwards, --demo before any command asks the demo's data.

    \b
    Example:
      nakamura-misaki demo

    Exits with 5 if the embedded PostgreSQL is not installed.
    """
    call.demo = True
    told = call.wait_for(_tell(call))
    if call.as_json:
        output.print_json(told)


async def _tell(call: Invocation) -> dict[str, Any]:
    from nakamura_misaki.adapters.primary.cli.render import Times
    from nakamura_misaki.infrastructure.di import compose

    begun = time.perf_counter()
    times = Times(call.zone)
    told: dict[str, Any] = {}
    _say(call, output.styled("nakamura-misaki: a team's old notes, asked again", "bold"))
    told["database"] = await _make_database(call)
    async with compose(call.settings, demo=True) as app:
        told["migration"] = await _import_notes(call, app)
        told["answers"] = await _ask(call, app, times)
        told |= await _plan_the_day(call, app, times)
    told["next"] = _suggest(call)
    told["seconds"] = round(time.perf_counter() - begun, 1)
    _say(call, output.blank(), output.styled(f"All of it took {told['seconds']} s.", "dim"))
    return told


async def _make_database(call: Invocation) -> dict[str, str]:
    from nakamura_misaki.infrastructure.di import local_database

    database = local_database(call.settings, demo=True)
    call.announce(database.server.data_dir)
    report = await database.recreate()
    _head(call, 1, "A database")
    _say_indented(
        call,
        output.styled(f"PostgreSQL 16 with pgvector, in {database.server.data_dir}"),
        output.styled(f"{database.name} is made anew, its schema at revision {report.to_revision}"),
    )
    return {"name": str(database.name), "revision": report.to_revision}


async def _import_notes(call: Invocation, app: "App") -> dict[str, Any]:
    from nakamura_misaki.adapters.primary.cli.migration_report import report_json, report_parts
    from nakamura_misaki.adapters.primary.cli.transfer import run_migration

    _head(call, 2, "Old notes come in")
    with _copy_of_demo_data() as directory:
        report = await run_migration(call, app, directory)
    embedded = await embed_with_progress(call, app)
    _say_indented(call, *report_parts(report))
    return report_json(report) | {"embedded": embedded}


@contextmanager
def _copy_of_demo_data() -> Iterator[Path]:
    """The packaged files where they may be written to, whatever the rights of the package's are."""
    source = Path(nakamura_misaki.__file__).parent / "demo_data"
    with tempfile.TemporaryDirectory(prefix="nakamura-misaki-demo-") as parent:
        copy = Path(parent) / "data"
        for file in sorted(source.rglob("*")):
            if file.is_file():
                target = copy / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        yield copy


async def _ask(call: Invocation, app: "App", times: "Times") -> list[dict[str, Any]]:
    from nakamura_misaki.adapters.primary.cli.answer import answer_json, how

    _head(call, 3, "Questions")
    answers = []
    for number, question in enumerate(QUESTIONS):
        began = time.perf_counter()
        answer = await app.notes.search(question, limit=1)
        milliseconds = 1000 * (time.perf_counter() - began)
        if number:
            _say(call, output.blank())
        _say_indented(
            call,
            output.blank("Q  ", "dim").append(question, "bold cyan"),
            *_best(answer, question, times),
            output.styled(f"{milliseconds:.0f} ms, {how(answer)}", "dim"),
        )
        answers.append(answer_json(question, None, answer, times))
    return answers


def _best(answer: SearchAnswer, question: str, times: "Times") -> Iterator["RenderableType"]:
    from nakamura_misaki.adapters.primary.cli.answer import found_note_parts

    for note in answer[:1]:
        yield from found_note_parts(1, cast(FoundNote, note), question, times)


async def _plan_the_day(call: Invocation, app: "App", times: "Times") -> dict[str, Any]:
    from nakamura_misaki.adapters.primary.cli.render import handoff_json, task_json, task_table

    user = present_user()
    handoff = await _make_work(app, user, times)
    tasks = await app.tasks.list_due_today(user)
    _head(call, 4, f"Today, for {user}")
    handed = output.fields(
        [
            ("handoff", f"from {handoff.from_user_id}, {times.words(handoff.handoff_at)}"),
            ("progress", handoff.progress_note),
            ("next", handoff.next_steps),
        ]
    )
    _say_indented(call, task_table(tasks, times), output.blank(), handed)
    return {
        "tasks": [task_json(task, times) for task in tasks],
        "handoff": handoff_json(handoff, times),
    }


async def _make_work(app: "App", user: str, times: "Times") -> Handoff:
    """Three tasks due today and one tomorrow, the first of them just being handed over."""
    colleague = next(each for each in _COLLEAGUES if each != user)
    now = datetime.now(UTC).astimezone(times.zone)
    midnight = now.replace(hour=23, minute=59, second=0, microsecond=0)

    async def add(title: str, due_at: datetime) -> Task:
        return await app.tasks.add(
            title=title, assignee_user_id=user, creator_user_id=colleague, due_at=due_at
        )

    first = await add("DB移行のリハーサル結果をまとめる", min(now + timedelta(hours=1), midnight))
    second = await add("復元手順書のレビュー", min(now + timedelta(hours=3), midnight))
    await add("Rotate the OpenAI key", midnight)
    await add("検索の抜き取り確認", midnight + timedelta(hours=10))
    await app.tasks.start(second.id)
    return await app.handoffs.add(
        from_user_id=colleague,
        to_user_id=user,
        task_id=first.id,
        progress_note="リハーサルは2回とも成功、所要時間は41分",
        next_steps="本番の切り替え手順を読み合わせる",
        handoff_at=now + timedelta(minutes=30),
    )


def _suggest(call: Invocation) -> list[str]:
    commands = [
        command_line("--demo", "note", "search", "税が見つからない"),
        command_line("--demo", "task", "list"),
        command_line("--demo", "doctor"),
        command_line("note", "add", "決定: 振り返りは毎週金曜の16時", "--category", "decisions"),
        command_line("--demo", "token", "create", "laptop"),
        command_line("--demo", "serve", "--with-jobs"),
        command_line("embedded", "stop"),
    ]
    _say(call, output.blank(), output.styled("What to try next", "bold"))
    if not call.as_json:
        output.print_commands(commands, _INDENT)
    return commands


def _head(call: Invocation, number: int, title: str) -> None:
    _say(call, output.blank(), output.styled(f"{number}. {title}", "bold"))


def _say(call: Invocation, *parts: "RenderableType") -> None:
    if not call.as_json:
        output.print_human(*parts)


def _say_indented(call: Invocation, *parts: "RenderableType") -> None:
    _say(call, *(output.indented(part, _INDENT) for part in parts))
