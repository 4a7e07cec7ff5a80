"""``task``: what is to be done, by whom, by when."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from uuid import UUID

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import (
    TEXT,
    TEXT_OR_STDIN,
    json_option,
    parse_time,
    user_option,
)
from nakamura_misaki.application.tasks import TaskService
from nakamura_misaki.domain.task import Task, TaskStatus

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di import App


@click.group()
def task() -> None:
    """Add, list, start and complete tasks.

    An ID is what 'task list' shows, a UUID, or at least 4 of a UUID's first or last digits.
    """


@task.command()
@click.argument("title", type=TEXT_OR_STDIN)
@click.option(
    "--due",
    metavar="TIME",
    type=TEXT,
    help="When it is to be done: a date, a time, or words such as 明日15時.",
)
@click.option(
    "--for", "assignee", metavar="USER", type=TEXT, help="Who is to do it. [default: you]"
)
@click.option(
    "--description", metavar="TEXT", type=TEXT_OR_STDIN, default="", help="More about it."
)
@user_option("Who asks for it.")
@json_option
@click.pass_obj
def add(
    call: Invocation, title: str, due: str | None, assignee: str | None, description: str, user: str
) -> None:
    """Add a task. TITLE (or --description) may be - to read it from standard input.

    TIME is ISO 8601, in the team's time zone unless it names another; a day alone means its end.

    \b
    Example:
      nakamura-misaki task add "見積もりを送る" --due "2026-10-15 15:00"

    Exits with 2 if a value breaks a rule.
    """
    due_at = None if due is None else parse_time(due, call.zone, end_of_day=True)

    async def work(app: "App") -> Task:
        return await app.tasks.add(
            title=title,
            assignee_user_id=assignee or user,
            creator_user_id=user,
            description=description,
            due_at=due_at,
        )

    _show(call, call.run(work), "Added")


@task.command("list")
@click.option(
    "--status",
    type=click.Choice([str(status) for status in TaskStatus]),
    help="Only tasks that stand there. [default: those to be done]",
)
@click.option("--all", "everything", is_flag=True, help="Completed and cancelled ones, too.")
@click.option("--today", is_flag=True, help="Only those due today that are still to be done.")
@user_option("Whose tasks.")
@json_option
@click.pass_obj
def list_tasks(
    call: Invocation, status: str | None, everything: bool, today: bool, user: str
) -> None:
    """List tasks, earliest due first.

    \b
    Examples:
      nakamura-misaki task list --today
      nakamura-misaki task list --status completed --json

    Exits with 0, also when there are none.
    """
    if today + everything + (status is not None) > 1:
        raise click.UsageError("give one of --status, --all and --today.")
    open_only = not everything and status is None

    async def work(app: "App") -> list[Task]:
        if today:
            return await app.tasks.list_due_today(user)
        if open_only:
            return await app.tasks.list_open(user)
        return await app.tasks.list_for(user, status)

    from nakamura_misaki.adapters.primary.cli.render import Times, task_json, task_table

    tasks = call.run(work)
    times = Times(call.zone)
    if call.as_json:
        output.print_json([task_json(each, times) for each in tasks])
    elif tasks:
        output.print_human(task_table(tasks, times))
    else:
        what = "due today" if today else f"that are {status}" if status else "to be done"
        output.print_human(output.styled(f"{user} has no tasks{'' if everything else f' {what}'}."))


@task.command()
@click.argument("task_id", metavar="ID", type=TEXT)
@json_option
@click.pass_obj
def show(call: Invocation, task_id: str) -> None:
    """Show one task.

    \b
    Example:
      nakamura-misaki task show 9f3b21c7

    Exits with 3 if there is none, 2 if several have that ID.
    """

    async def work(app: "App") -> Task:
        return await app.tasks.show(await app.tasks.find_id(task_id))

    _show(call, call.run(work))


def _step(
    name: str, sentence: str, step: Callable[[TaskService, UUID], Awaitable[Task]], done: str
) -> None:
    """Make a command that takes a task one step on."""

    @task.command(
        name,
        help=f"{sentence}\n\n\b\nExample:\n  nakamura-misaki task {name} 9f3b21c7\n\n"
        "Exits with 3 if there is none, 2 if it can't go there from where it stands.",
    )
    @click.argument("task_id", metavar="ID", type=TEXT)
    @json_option
    @click.pass_obj
    def command(call: Invocation, task_id: str) -> None:
        async def work(app: "App") -> Task:
            return await step(app.tasks, await app.tasks.find_id(task_id))

        _show(call, call.run(work), done)


_step("start", "Put a pending task in progress.", TaskService.start, "Started")
_step("done", "Complete a task.", TaskService.complete, "Completed")
_step("cancel", "Cancel a task.", TaskService.cancel, "Cancelled")
_step("reopen", "Put a task in progress back to pending.", TaskService.reopen, "Reopened")


@task.command()
@click.argument("task_id", metavar="ID", type=TEXT)
@json_option
@click.pass_obj
def delete(call: Invocation, task_id: str) -> None:
    """Delete a task and its handoffs for good. To keep a record, cancel it instead.

    \b
    Example:
      nakamura-misaki task delete 9f3b21c7

    Exits with 3 if there is none, 2 if several have that ID.
    """

    async def work(app: "App") -> Task:
        return await app.tasks.delete(await app.tasks.find_id(task_id))

    _show(call, call.run(work), "Deleted")


def _show(call: Invocation, shown: Task, done: str = "") -> None:
    from nakamura_misaki.adapters.primary.cli.render import Times, task_fields, task_json, task_line

    times = Times(call.zone)
    if call.as_json:
        output.print_json(task_json(shown, times))
    elif done:
        output.print_human(task_line(done, shown, times))
    else:
        output.print_human(task_fields(shown, times))
