"""What sends messages to people, as the settings choose it."""

from typing import TYPE_CHECKING

from nakamura_misaki.application.reminders import Notifier
from nakamura_misaki.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.settings import Settings


def build_notifier(settings: "Settings") -> Notifier:
    """What sends messages to people. Raises ConfigurationError without SLACK_BOT_TOKEN."""
    if settings.slack_bot_token is None:
        raise ConfigurationError(
            "reminders go out by Slack, and SLACK_BOT_TOKEN is not set; set it to the token of"
            " your Slack app."
        )
    from nakamura_misaki.adapters.secondary.slack_notifier import SlackNotifier

    return SlackNotifier(
        settings.slack_bot_token.get_secret_value(),
        api_url=settings.slack_api_url,
        time_zone=settings.time_zone,
        workspace_id=settings.workspace_id,
    )
