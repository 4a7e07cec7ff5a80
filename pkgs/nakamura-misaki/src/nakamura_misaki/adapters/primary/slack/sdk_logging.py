"""What Slack's libraries may write into the log.

At the level ``debug`` they write down whole messages, and in errors the address of
a websocket, whose ticket lets anybody connect. Neither belongs into a log.
"""

import logging
import re

_TICKET = re.compile(r"(ticket=)[^&\s'\")]+")


class _Reticent(logging.Filter):
    """Masks tickets, and leaves tracebacks out, which repeat them."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _TICKET.sub(r"\1***", record.getMessage())
        record.args = ()
        record.exc_info = None
        return record.levelno >= logging.INFO


SDK_LOGGER = logging.getLogger("nakamura_misaki.slack_sdk")
"""Given to slack_sdk and bolt in place of their own."""

SDK_LOGGER.setLevel(logging.INFO)
SDK_LOGGER.addFilter(_Reticent())
