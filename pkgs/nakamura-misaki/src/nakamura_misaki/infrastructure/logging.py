"""Log records on stderr: one line each, and never a secret in them.

Three formats: ``plain`` for people, ``journald`` for systemd (a line begins with
its syslog priority, https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html)
and ``json`` (an object a line, times in UTC). A record made while a request is
answered carries the request's id (``request_id``).
"""

import json
import logging
import os
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

LOG_FORMATS = ("plain", "journald", "json")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

MASK = "***"
SHORTEST_SECRET = 4
"""A shorter value is not registered: masking it would make every line unreadable."""

_NOISY_LIBRARIES = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "openai",
    "alembic.runtime.plugins",
    # SQLAlchemy's pool logs under the name of our class; it has a line for each disposal.
    "nakamura_misaki.infrastructure.database.pool.SteadyQueuePool",
)

_PATTERNS = (
    # In a PostgreSQL URL even an unescaped @ or / may belong to the password.
    (re.compile(r"(?i)(postgres(?:ql)?(?:\+\w+)?://[^\s:/@]{0,256}:)\S{1,1024}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)(\b[a-z][\w+.-]{1,30}://[^\s:/@]{0,256}:)[^\s/@]{1,1024}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)(password[\"']?\s?[=:]\s?[\"']?)[^\s&\"',;)}]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(authorization[\"']?\s*[:=,]\s*b?[\"']?)[^\"',)}\r\n]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{6,}"), rf"\1{MASK}"),
    (re.compile(r"\bsk-[\w-]{6,}"), MASK),
    (re.compile(r"\bx(?:ox[a-z]|app)-[\w.-]+"), MASK),
    # Tokens of the API; also where one is cut off, or stands in Japanese text without a blank.
    (re.compile(r"(?<![A-Za-z0-9_])nmk\.[A-Za-z0-9_.-]{6,}"), MASK),
)

# Everything that ends a line or steers a terminal; a tab is harmless.
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0)) if code != ord("\t")
} | {ord("\n"): "\\n", ord("\r"): "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"}

# JSON lets these stand, though some readers take them for the end of a line.
_JSON_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""What is being answered; every record that is made meanwhile carries it."""

_secrets: set[str] = set()
_secrets_pattern: re.Pattern[str] | None = None


def register_secret(value: str) -> None:
    """Mask ``value`` in every record from now on, also in its usual escaped spellings.

    A value of fewer than SHORTEST_SECRET characters is left alone.
    """
    global _secrets_pattern
    spellings = {
        value,
        value.strip(),
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe="", errors="replace"),
        _one_line(value),
        # A traceback may indent each line of a key of several lines.
        *(line.strip() for line in value.splitlines() if len(line.strip()) > 2 * SHORTEST_SECRET),
    }
    _secrets.update(spelling for spelling in spellings if len(spelling) >= SHORTEST_SECRET)
    if _secrets:
        longest_first = sorted(_secrets, key=lambda secret: (-len(secret), secret))
        _secrets_pattern = re.compile("|".join(map(re.escape, longest_first)))


def redact(text: str) -> str:
    """The text with registered secrets, passwords in URLs, API keys and tokens masked."""
    if _secrets_pattern is not None:
        text = _secrets_pattern.sub(MASK, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def configure_logging(level: str = "info", format: str = "plain") -> None:  # noqa: A002  (the word for it)
    """Send every record of ``level`` and above to stderr in ``format``; takes effect at once.

    Raises ValueError for a level or format that is not in LOG_LEVELS, LOG_FORMATS.
    """
    if level not in LOG_LEVELS:
        raise ValueError(f"the log level must be one of {', '.join(LOG_LEVELS)}.")
    handler = logging.StreamHandler(_Stderr())
    handler.setFormatter(_RedactingFormatter(_renderer(format)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in _NOISY_LIBRARIES:
        logging.getLogger(library).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    migrations = logging.getLogger("alembic.runtime.migration")
    if level == "debug":
        migrations.removeFilter(_names_a_revision)
    else:
        migrations.addFilter(_names_a_revision)
    # Otherwise a failing handler prints the record's arguments, unmasked.
    logging.raiseExceptions = False


def _names_a_revision(record: logging.LogRecord) -> bool:
    """Whether alembic tells what it runs, and not which dialect it found."""
    return record.levelno > logging.INFO or record.getMessage().startswith("Running")


def default_format() -> Literal["plain", "journald"]:
    """``journald`` when stderr goes to the journal, else ``plain``.

    $JOURNAL_STREAM alone does not say so, because it is inherited
    (https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html).
    """
    try:
        stderr = os.fstat(2)
    except OSError:
        return "plain"
    is_journal = os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"
    return "journald" if is_journal else "plain"


class _Stderr:
    """The stderr of the moment, whatever it was replaced by since."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


Renderer = Callable[[logging.LogRecord, str, str], str]
"""Makes the output of a record, its message and its traceback ("" for none)."""


class _RedactingFormatter(logging.Formatter):
    """Masks secrets in message and traceback before anything is rendered."""

    def __init__(self, render: Renderer) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            message = f"{record.msg} (its arguments don't fit)"
        trace = record.exc_text or ""
        if record.exc_info:
            trace = self.formatException(record.exc_info)
        if record.stack_info:
            trace = f"{trace}\n{self.formatStack(record.stack_info)}".lstrip("\n")
        return self._render(record, redact(message), redact(trace))


def _renderer(name: str) -> Renderer:
    renderers = {"plain": _plain, "journald": _journald, "json": _json}
    try:
        return renderers[name]
    except KeyError:
        raise ValueError(f"the log format must be one of {', '.join(LOG_FORMATS)}.") from None


def _plain(record: logging.LogRecord, message: str, trace: str) -> str:
    time = datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(" ", "seconds")
    line = f"{time} {record.levelname:<8} {record.name}:{_request()} {_masked_line(message)}"
    return "\n".join([line, *(f"  {_masked_line(part)}" for part in trace.splitlines())])


def _journald(record: logging.LogRecord, message: str, trace: str) -> str:
    text = f"{message}\n{trace}" if trace else message
    return f"<{_priority(record.levelno)}>{record.name}:{_request()} {_masked_line(text)}"


def _request() -> str:
    current = request_id.get()
    return "" if current is None else f" [{_masked_line(current)}]"


def _json(record: logging.LogRecord, message: str, trace: str) -> str:
    fields = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": message,
    }
    if (current := request_id.get()) is not None:
        fields["request_id"] = current
    if trace:
        fields["exception"] = trace
    return json.dumps(fields, ensure_ascii=False).translate(_JSON_CONTROLS)


def _priority(level: int) -> int:
    """The syslog priority (RFC 5424, table 2) of a level of ``logging``."""
    for floor, priority in ((50, 2), (40, 3), (30, 4), (20, 6)):
        if level >= floor:
            return priority
    return 7


def _one_line(text: str) -> str:
    return text.translate(_CONTROLS)


def _masked_line(text: str) -> str:
    # Escaping can spell out a secret that holds a backslash, so it is looked for once more.
    line = _one_line(text)
    return line if _secrets_pattern is None else _secrets_pattern.sub(MASK, line)
