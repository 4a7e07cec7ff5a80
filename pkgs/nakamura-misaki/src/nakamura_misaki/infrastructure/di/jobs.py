"""The use cases that timers run, in the settings' own workspace."""

from datetime import timedelta
from typing import TYPE_CHECKING

from nakamura_misaki.application.housekeeping import Housekeeping
from nakamura_misaki.application.reminders import Notifier, OnReminder, ReminderService

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di.application import App


def build_reminders(
    app: "App",
    notifier: Notifier,
    on_reminder: OnReminder = lambda outcome, lag: None,
) -> ReminderService:
    """What reminds the receivers of handoffs, REMINDER_LEAD_MINUTES before their time."""
    return ReminderService(
        app.own.handoff_repository,
        notifier,
        lead=timedelta(minutes=app.settings.reminder_lead_minutes),
        on_reminder=on_reminder,
    )


def build_housekeeping(app: "App") -> Housekeeping:
    """What deletes sessions, handled events and request keys once they are old."""
    own = app.own
    return Housekeeping(own.session_repository, own.inbox, own.idempotency_store)
