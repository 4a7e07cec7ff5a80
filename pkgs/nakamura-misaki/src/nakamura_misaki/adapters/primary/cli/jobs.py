"""``remind`` and ``prune``: what a timer runs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option

if TYPE_CHECKING:
    from nakamura_misaki.application.housekeeping import Pruned
    from nakamura_misaki.application.reminders import (
        Notifier,
        Outcome,
        ReminderReport,
        ReminderService,
    )
    from nakamura_misaki.domain.handoff import Handoff
    from nakamura_misaki.infrastructure.di import App

_NOTHING = "No handoff is to be reminded of now."


@click.command()
@click.option("--dry-run", is_flag=True, help="List what is due; send nothing.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Send at most so many messages."
)
@json_option
@click.pass_obj
def remind(call: Invocation, dry_run: bool, limit: int | None) -> None:
    """Remind the receivers of due handoffs, in Slack.

    Each gets one direct message, REMINDER_LEAD_MINUTES before the handoff's time. Meant for a
    timer, once a minute; several may run at the same time. What can't be delivered is tried
    again by a later run.

    \b
    Examples:
      nakamura-misaki remind
      nakamura-misaki remind --dry-run

    Exits with 0, also when nothing is due; 9 if a message could not be delivered, 5 if Slack
    refuses the token. Asked to end (SIGTERM, Ctrl-C) it first finishes the messages under way.
    """
    if dry_run:
        _show_due(call, limit)
        return

    from nakamura_misaki.application.reminders import DeliveryFailed
    from nakamura_misaki.infrastructure.di.notifier import build_notifier

    notifier = build_notifier(call.settings)
    report = call.run(lambda app: _remind(call, app, notifier, limit))
    if call.as_json:
        output.print_json(
            {
                "sent": report.sent,
                "already_sent": report.already_sent,
                "failed": [
                    {
                        "handoff_id": str(each.handoff.id),
                        "to_user_id": each.handoff.to_user_id,
                        "reason": each.reason,
                    }
                    for each in report.failed
                ],
            }
        )
    else:
        _tell(call, report)
    if report.failed:
        raise click.exceptions.Exit(DeliveryFailed.exit_code)


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=1),
    help="How long a session was without activity.  [default: SESSION_RETENTION_DAYS, 30]",
)
@json_option
@click.pass_obj
def prune(call: Invocation, days: int | None) -> None:
    """Delete what is kept for a time only.

    That is everybody's sessions without activity (their notes stay), the ids of Slack events
    handled a week ago, and the Idempotency-Keys of the day before. Meant for a timer, once a day.

    \b
    Example:
      nakamura-misaki prune

    Exits with 0, also when there is nothing to delete.
    """
    kept_days = call.settings.session_retention_days if days is None else days

    async def work(app: "App") -> "Pruned":
        from nakamura_misaki.infrastructure.di.jobs import build_housekeeping

        return await build_housekeeping(app).prune(kept_days)

    pruned = call.run(work)
    if call.as_json:
        output.print_json(
            {
                "sessions": pruned.sessions,
                "events": pruned.events,
                "keys": pruned.keys,
                "days": kept_days,
            }
        )
    else:
        output.print_human(
            output.styled(
                f"Deleted {output.count(pruned.sessions, 'session')} without activity for"
                f" {kept_days} days, {output.count(pruned.events, 'handled event')} and"
                f" {output.count(pruned.keys, 'request key')}."
            )
        )


def _show_due(call: Invocation, limit: int | None) -> None:
    async def work(app: "App") -> "list[Handoff]":
        return await app.own.handoff_repository.list_pending_reminders()

    from nakamura_misaki.adapters.primary.cli.render import Times, handoff_json, handoff_table

    due = call.run(work)[:limit]
    times = Times(call.zone)
    if call.as_json:
        output.print_json([handoff_json(each, times) for each in due])
    elif due:
        output.print_human(handoff_table(due, times))
    else:
        output.print_human(output.styled(_NOTHING))


async def _remind(
    call: Invocation, app: "App", notifier: "Notifier", limit: int | None
) -> "ReminderReport":
    from nakamura_misaki.adapters.primary.cli.progress import progress_bars
    from nakamura_misaki.infrastructure.di.jobs import build_reminders

    done = 0
    with progress_bars(call) as on_progress:

        def on_reminder(outcome: "Outcome", lag: float | None) -> None:
            nonlocal done
            done += 1
            on_progress("reminding", done, None)

        reminders = build_reminders(app, notifier, on_reminder)
        try:
            with _stopped_by_sigterm(reminders):
                return await reminders.run(limit)
        finally:
            await notifier.close()


@contextmanager
def _stopped_by_sigterm(reminders: "ReminderService") -> Iterator[None]:
    """Let a timer's unit be stopped without a message of which nobody knows whether it was sent."""
    import asyncio

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, reminders.stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _tell(call: Invocation, report: "ReminderReport") -> None:
    for each in report.failed:
        call.warn(f"handoff {each.handoff.id}: {each.reason}")
    told = report.sent + report.already_sent
    if not told and not report.failed:
        said = _NOTHING
    else:
        said = f"Sent {output.count(report.sent, 'reminder')}"
        if report.already_sent:
            said += f"; {report.already_sent:,} had been sent by a run that was interrupted"
        if report.failed:
            said += f"; {len(report.failed):,} failed and will be tried again"
        said += "."
    output.print_human(output.styled(said))
