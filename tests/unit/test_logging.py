"""The log: one line a record, and never a secret in it."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nakamura_misaki.infrastructure import logging as subject
from nakamura_misaki.infrastructure.database.pool import SteadyQueuePool
from nakamura_misaki.infrastructure.logging import (
    LOG_FORMATS,
    configure_logging,
    default_format,
    redact,
    register_secret,
)

logger = logging.getLogger("nakamura_misaki.test")


@pytest.fixture(autouse=True)
def restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the tests change is global; afterwards it is as before."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in subject._NOISY_LIBRARIES}
    monkeypatch.setattr(subject, "_secrets", set())
    monkeypatch.setattr(subject, "_secrets_pattern", None)
    # Configuring closes the root's handlers; those of the test runner are not ours to close.
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


class Stderr:
    """What was written to stderr during the test."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Stderr:
    return Stderr(capsys)


def fail_with(text: str) -> None:
    """Log an exception whose text, cause and note hold ``text``."""
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            failure = RuntimeError(f"failed with {text}")
            failure.add_note(f"note {text}")
            raise failure from cause
    except RuntimeError:
        logger.exception("it failed: %s", text)


def test_plain_names_time_level_logger_and_message(stderr: Stderr) -> None:
    configure_logging("info", "plain")
    logger.info("%d notes imported", 3)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d INFO     nakamura_misaki\.test: 3 notes imported\n",
        stderr.getvalue(),
    )


@pytest.mark.parametrize(
    ("level", "prefix"),
    [("debug", "<7>"), ("info", "<6>"), ("warning", "<4>"), ("error", "<3>"), ("critical", "<2>")],
)
def test_journald_begins_with_the_syslog_priority(stderr: Stderr, level: str, prefix: str) -> None:
    configure_logging("debug", "journald")
    getattr(logger, level)("移行が終わった")
    assert stderr.getvalue() == f"{prefix}nakamura_misaki.test: 移行が終わった\n"


def test_json_is_an_object_with_an_aware_utc_time(stderr: Stderr) -> None:
    configure_logging("info", "json")
    logger.warning("移行が\n終わった")
    record = json.loads(stderr.getvalue())
    assert datetime.fromisoformat(record.pop("time")).utcoffset() == timedelta(0)
    assert record == {
        "level": "warning",
        "logger": "nakamura_misaki.test",
        "message": "移行が\n終わった",
    }


@pytest.mark.parametrize("log_format", LOG_FORMATS)
@given(text=st.text())
def test_a_record_is_one_line_whatever_it_says(log_format: str, text: str) -> None:
    line = formatted(log_format, text)
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", line)


def formatted(log_format: str, message: str) -> str:
    formatter = subject._RedactingFormatter(subject._renderer(log_format))
    return formatter.format(
        logging.LogRecord("test", logging.INFO, __file__, 1, "%s", (message,), None)
    )


@pytest.mark.parametrize("log_format", ["journald", "json"])
def test_a_traceback_stays_in_the_line_of_its_record(stderr: Stderr, log_format: str) -> None:
    configure_logging("info", log_format)
    fail_with("x\ny")
    assert len(stderr.getvalue().splitlines()) == 1
    assert "RuntimeError: failed with x" in stderr.getvalue()


def test_a_traceback_for_people_follows_indented(stderr: Stderr) -> None:
    configure_logging("info", "plain")
    fail_with("x")
    first, *rest = stderr.getvalue().splitlines()
    assert first.endswith("it failed: x")
    assert rest[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in rest)


SECRETS = [
    "postgresql+asyncpg://misaki:hunter2secret@localhost:5432/db",
    "postgres://misaki:hunter2secret@/db?host=/run/postgresql",
    "could not connect to 'postgresql://u:hunter2secret/with@and@host/db'",
    "http://user:hunter2secret@proxy:3128",
    "postgresql:///db?user=u&password=hunter2secret",
    "password='hunter2secret' host=localhost",
    "PGPASSWORD=hunter2secret",
    "the key sk-proj-hunter2secret_abc is wrong",
    "token xoxb-12345-hunter2secret",
    "token xapp-1-A0-hunter2secret",
    f"GET /v1/tasks?token=nmk.ZGVmYXVsdA.{'0123456789abcdef' * 2}.hunter2secret-_x HTTP/1.1",
    "トークンnmk.ZGVmYXVsdA.0123456789abcdef.hunter2secretは無効",
    "cut off: nmk.hunter2secret",
    "Authorization: Bearer hunter2secret",
    "authorization: Basic hunter2secret==",
    "{'Authorization': 'Bearer hunter2secret'}",
    "[(b'authorization', b'Bearer hunter2secret')]",
    "sent bearer hunter2secret to the server",
]


@pytest.mark.parametrize("log_format", LOG_FORMATS)
@pytest.mark.parametrize("text", SECRETS)
def test_known_kinds_of_secrets_are_masked_everywhere(
    stderr: Stderr, log_format: str, text: str
) -> None:
    configure_logging("info", log_format)
    logger.info(text)
    logger.info("argument %s", text)
    fail_with(text)
    assert "hunter2secret" not in stderr.getvalue()
    assert stderr.getvalue().count("***") >= 3


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://localhost:5432/db is up",
        "task-sk and disk-full and risk-free",
        "a token begins with nmk. and so does no column nmk.id of a table",
        "http://localhost:8080/users/@me",
        'password authentication failed for user "misaki"',
        "mail to misaki@example.org at 10:30",
    ],
)
def test_what_holds_no_secret_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_masking_keeps_what_helps_to_find_the_mistake() -> None:
    url = "postgresql+asyncpg://misaki:hunter2@db.example.org:5432/notes"
    assert redact(url) == "postgresql+asyncpg://misaki:***@db.example.org:5432/notes"


def test_masking_a_long_hostile_text_takes_no_time() -> None:
    text = "postgres://a:" * 20_000 + "authorization:" * 20_000 + "http://x:" * 20_000
    assert len(redact(text)) > 0


# Of letters that no fixed part of a line is made of, so that finding them means a leak.
secrets = st.text(st.characters(codec="utf-8"), min_size=4, max_size=60).filter(
    lambda value: len(value.strip()) >= 4 and "*" not in value
)


@given(secret=secrets, before=st.text(max_size=10), after=st.text(max_size=10))
@pytest.mark.parametrize("log_format", LOG_FORMATS)
def test_a_registered_secret_is_never_in_the_output(
    log_format: str, secret: str, before: str, after: str
) -> None:
    nothing = formatted(log_format, "")
    assume(not any(secret in place for place in (nothing, nothing.replace("INFO", "ERROR"))))
    subject._secrets.clear()
    register_secret(secret)
    register_secret("another secret")
    for message in (
        f"{before}{secret}{after}",
        f"{before}{secret!r}{after}",
        f"{before}{json.dumps(secret)}{after}",
        f"{before}{[secret]}{after}",
    ):
        line = formatted(log_format, message)
        shown = json.loads(line)["message"] if log_format == "json" else line
        for spelling in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
            assert spelling not in shown


@given(
    secret=st.text("#@/\\\"'\n %あ", min_size=6, max_size=20).filter(lambda v: len(v.strip()) > 5)
)
@pytest.mark.parametrize("log_format", LOG_FORMATS)
def test_a_registered_secret_is_not_in_a_traceback_either(log_format: str, secret: str) -> None:
    subject._secrets.clear()
    register_secret(secret)
    formatter = subject._RedactingFormatter(subject._renderer(log_format))
    try:
        raise KeyError(secret) from ValueError(f"bad {secret}")
    except KeyError:
        record = logging.LogRecord("test", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    line = formatter.format(record)
    shown = json.loads(line)["exception"] if log_format == "json" else line
    assert "KeyError" in shown
    assert secret not in shown
    assert repr(secret)[1:-1] not in shown


def test_each_line_of_a_long_key_is_masked(stderr: Stderr) -> None:
    register_secret("-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n")
    configure_logging("info", "plain")
    logger.error("got kqhkiG9w0BAQEF")
    assert "kqhkiG9w0BAQEF" not in stderr.getvalue()


def test_a_value_too_short_to_be_a_secret_masks_nothing() -> None:
    register_secret("a")
    register_secret("")
    assert redact("a banana") == "a banana"


def test_arguments_that_do_not_fit_lose_neither_the_record_nor_a_secret(
    stderr: Stderr,
) -> None:
    configure_logging("info", "journald")
    logger.info("%d notes", "sk-hunter2secret")
    assert "%d notes" in stderr.getvalue()
    assert "hunter2secret" not in stderr.getvalue()


def test_configuring_twice_writes_every_record_once(stderr: Stderr) -> None:
    configure_logging("info", "json")
    configure_logging("warning", "journald")
    logger.info("not this")
    logger.warning("this")
    assert stderr.getvalue() == "<4>nakamura_misaki.test: this\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("httpx2", "HTTP Request: POST"),
        (f"{SteadyQueuePool.__module__}.SteadyQueuePool", "Pool disposed."),
        ("alembic.runtime.plugins", "setup plugin alembic.autogenerate.schemas"),
        ("alembic.runtime.migration", "Context impl PostgresqlImpl."),
    ],
)
def test_what_libraries_say_all_the_time_is_only_shown_when_debugging(
    name: str, message: str, stderr: Stderr
) -> None:
    configure_logging("info", "journald")
    logging.getLogger(name).info(message)
    assert stderr.getvalue() == ""
    configure_logging("debug", "journald")
    logging.getLogger(name).info(message)
    assert message in stderr.getvalue()


def test_the_journal_says_which_revision_is_being_applied(stderr: Stderr) -> None:
    configure_logging("info", "journald")
    logging.getLogger("alembic.runtime.migration").info("Running upgrade 0001 -> 0002, words")
    assert "Running upgrade 0001 -> 0002" in stderr.getvalue()


@pytest.mark.parametrize(("level", "log_format"), [("loud", "plain"), ("info", "xml")])
def test_an_unknown_level_or_format_is_refused(level: str, log_format: str) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        configure_logging(level, log_format)


def test_the_journal_is_recognised_by_its_own_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    status = subject.os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert default_format() == "journald"
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert default_format() == "plain"
    monkeypatch.delenv("JOURNAL_STREAM")
    assert default_format() == "plain"
