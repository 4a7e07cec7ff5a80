"""SlackNotifier: the real Slack client against the local server, and what a reminder looks like."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.adapters.secondary.slack_notifier import HISTORY_PAGE, SlackNotifier
from nakamura_misaki.adapters.secondary.slack_reminder import (
    escaped,
    reminder_message,
    reminder_metadata,
)
from nakamura_misaki.application.reminders import DeliveryFailed
from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.handoff import Handoff
from repository_backend import NOON, TOKYO, handoff
from slack_server import (
    BOT_TOKEN,
    BOT_USER_ID,
    EMMA,
    GENERAL,
    LEFT_THE_TEAM,
    NOBODY,
    SATO,
    SUZUKI,
    USER_TOKEN,
    Fault,
    SlackServer,
    dm,
)
from slack_server_blocks import problems, too_much_text

POST = "chat.postMessage"
HISTORY = "conversations.history"


def to_sato(**fields: object) -> Handoff:
    values = {"from_user_id": SUZUKI, "to_user_id": SATO, "handoff_at": NOON, **fields}
    return handoff(**values)


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as server:
        yield server


@pytest.fixture
async def notifier(slack: SlackServer) -> AsyncIterator[SlackNotifier]:
    made = notifier_of(slack)
    yield made
    await made.close()


def notifier_of(slack: SlackServer, token: str = BOT_TOKEN, **options: Any) -> SlackNotifier:
    values = {"time_zone": TOKYO, "clock": lambda: NOON - timedelta(minutes=8), **options}
    return SlackNotifier(token, api_url=slack.api_url, **values)


async def test_receiver_is_told_in_a_direct_message(
    slack: SlackServer, notifier: SlackNotifier
) -> None:
    given = to_sato(
        id=UUID("01999999-0000-7000-8000-00005a1c07be"),
        task_id=UUID(int=7),
        progress_note="レビュー <済>\n残りは A&B",
        next_steps="本番へ出す",
    )
    await notifier.remind(given)
    (message,) = slack.messages_in(SATO)
    assert message.words.splitlines() == [
        "引き継ぎの時間が近づいています",
        f"<@{SUZUKI}> さんからの引き継ぎ: *今日 10月7日(水) 12:00*",
        "*進捗*",
        "レビュー &lt;済&gt;",
        "残りは A&amp;B",
        "*次の手順*",
        "本番へ出す",
        "ハンドオフ `5a1c07be`  ·  タスク `00000007`",
        "完了にする",
    ]
    assert message.text == (
        f"<@{SUZUKI}> さんからの引き継ぎ: 今日 10月7日(水) 12:00: レビュー &lt;済&gt; 残りは A&amp;B"
    )
    assert message.buttons["handoff_complete"]["value"] == str(given.id)
    assert message.metadata == {
        "event_type": "nakamura_misaki_reminder",
        "event_payload": {"handoff_id": str(given.id), "workspace_id": "default"},
    }


async def test_handoff_in_english_is_told_of_in_english_in_the_teams_zone(
    slack: SlackServer,
) -> None:
    late = {"time_zone": ZoneInfo("America/New_York"), "clock": lambda: NOON + timedelta(hours=30)}
    notifier = notifier_of(slack, **late)
    await notifier.remind(to_sato(to_user_id=EMMA, from_user_id="tanaka", progress_note="half"))
    await notifier.close()
    (message,) = slack.messages_in(EMMA)
    assert message.words.splitlines()[:4] == [
        "A handoff is overdue",
        "Handoff from tanaka: *Tue, Oct 6, 23:00*",
        "*Progress*",
        "half",
    ]


async def test_persons_token_serves_as_well(slack: SlackServer) -> None:
    notifier = notifier_of(slack, USER_TOKEN)
    given = to_sato()
    await notifier.remind(given)
    assert await notifier.was_sent(given, datetime.now(UTC) - timedelta(minutes=1)) is True
    await notifier.close()
    assert len(slack.messages_in(SATO)) == 1


async def test_was_sent_tells_this_reminder_from_every_other_message(
    slack: SlackServer, notifier: SlackNotifier
) -> None:
    since, given = datetime.now(UTC) - timedelta(minutes=1), to_sato()
    assert await notifier.was_sent(given, since) is False
    await notifier.remind(to_sato())
    elsewhere = notifier_of(slack, workspace_id="elsewhere")
    await elsewhere.remind(given)
    assert await notifier.was_sent(given, since) is False
    assert await elsewhere.was_sent(given, since) is True
    await notifier.remind(given)
    assert await notifier.was_sent(given, since) is True
    assert await notifier.was_sent(given, datetime.now(UTC) + timedelta(minutes=1)) is False
    assert await notifier.was_sent(given, datetime(1, 1, 1, tzinfo=UTC)) is True
    await elsewhere.close()


async def test_was_sent_reads_on_over_many_messages(
    slack: SlackServer, notifier: SlackNotifier
) -> None:
    since, given = datetime.now(UTC) - timedelta(minutes=1), to_sato()
    await notifier.remind(given)
    (sent,) = slack.messages
    for later in range(HISTORY_PAGE + 5):
        slack.workspace.add(replace(sent, ts=f"{float(sent.ts) + later + 1:.6f}", metadata=None))
    assert await notifier.was_sent(given, since) is True
    assert [call.arguments.get("cursor") for call in slack.calls if call.method == HISTORY] == [
        None,
        slack.calls[-1].arguments["cursor"],
    ]


@pytest.mark.parametrize("method", [HISTORY, "conversations.open"])
@pytest.mark.parametrize(
    "fault",
    [Fault.refused("missing_scope"), Fault.failing(503), Fault.cut_before(), Fault.garbage(b"<")],
)
async def test_was_sent_is_unknown_where_slack_does_not_tell(
    slack: SlackServer, notifier: SlackNotifier, method: str, fault: Fault
) -> None:
    given = to_sato()
    await notifier.remind(given)
    slack.always(method, fault)
    assert await notifier.was_sent(given, NOON) is None


@pytest.mark.parametrize(
    ("user", "word"),
    [
        (LEFT_THE_TEAM, "user_disabled"),
        (NOBODY, "user_not_found"),
        (BOT_USER_ID, "cannot_dm_bot"),
    ],
)
async def test_receiver_who_can_not_be_reached_is_a_lasting_failure(
    slack: SlackServer, notifier: SlackNotifier, user: str, word: str
) -> None:
    with pytest.raises(DeliveryFailed, match=rf"{user} \({word}\)") as failure:
        await notifier.remind(to_sato(to_user_id=user))
    assert (failure.value.is_permanent, failure.value.is_general) == (True, False)
    assert slack.messages == []


@pytest.mark.parametrize("user", ["general", "#general", GENERAL, "tanaka", "<@U1>", "U0 SATO"])
async def test_no_name_of_a_channel_is_taken_for_a_receiver(
    slack: SlackServer, notifier: SlackNotifier, user: str
) -> None:
    with pytest.raises(DeliveryFailed, match="no Slack user's id") as failure:
        await notifier.remind(to_sato(to_user_id=user))
    assert failure.value.is_permanent
    assert slack.calls == []


async def test_direct_messages_are_opened_where_a_users_id_is_no_channel(
    slack: SlackServer, notifier: SlackNotifier
) -> None:
    slack.script(POST, Fault.refused("channel_not_found"))
    await notifier.remind(to_sato())
    assert [(call.method, call.arguments.get("channel")) for call in slack.calls] == [
        (POST, SATO),
        ("conversations.open", None),
        (POST, dm(SATO)),
    ]
    assert len(slack.messages_in(SATO)) == 1


async def test_short_rate_limit_is_waited_for(slack: SlackServer, notifier: SlackNotifier) -> None:
    slack.script(POST, Fault.rate_limited(retry_after=0))
    await notifier.remind(to_sato())
    assert [call.outcome for call in slack.calls] == ["http 429", "ok"]


async def test_long_rate_limit_is_told_and_not_waited_for(
    slack: SlackServer, notifier: SlackNotifier
) -> None:
    slack.script(POST, Fault.rate_limited(retry_after=30))
    with pytest.raises(DeliveryFailed, match="asks to wait 30 s") as failure:
        await notifier.remind(to_sato())
    assert failure.value.retry_after == timedelta(seconds=30)
    assert (failure.value.is_general, failure.value.is_permanent) == (True, False)
    assert len(slack.calls) == 1


@pytest.mark.parametrize("word", ["invalid_auth", "account_inactive", "token_revoked"])
async def test_refused_token_is_a_mistake_in_the_settings(
    slack: SlackServer, notifier: SlackNotifier, word: str
) -> None:
    slack.script(POST, Fault.refused(word))
    with pytest.raises(ConfigurationError, match=rf"SLACK_BOT_TOKEN \({word}\)"):
        await notifier.remind(to_sato())


@pytest.mark.parametrize(
    ("fault", "said", "is_general"),
    [
        (Fault.failing(500), "HTTP 500", True),
        (Fault.failing(503), "HTTP 503", True),
        (Fault.refused("internal_error"), "internal_error", True),
        (Fault.refused("no_such_word_yet"), "no_such_word_yet", False),
        (Fault.cut_before(), "can't be reached", True),
        (Fault.cut_after(), "can't be reached", True),
        (Fault.garbage(), "can't be read", True),
        (Fault.late_answer(60), "no answer within 0.2 s", True),
    ],
)
async def test_failure_is_told_and_the_message_never_sent_again(
    slack: SlackServer, fault: Fault, said: str, is_general: bool
) -> None:
    notifier = notifier_of(slack, request_timeout=0.2)
    slack.script(POST, fault)
    with pytest.raises(DeliveryFailed, match=said) as failure:
        await notifier.remind(to_sato())
    await notifier.close()
    assert (failure.value.is_general, failure.value.is_permanent) == (is_general, False)
    assert len(slack.calls) == 1
    assert BOT_TOKEN not in repr((failure.value, failure.value.__context__))


async def test_absent_slack_fails_at_once() -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        notifier = SlackNotifier(BOT_TOKEN, api_url=url, time_zone=TOKYO)
        with pytest.raises(DeliveryFailed, match="can't be reached"):
            await notifier.remind(to_sato())
        await notifier.close()
        await notifier.close()


async def test_closed_notifier_opens_new_connections(slack: SlackServer) -> None:
    notifier = notifier_of(slack)
    await asyncio.gather(*(notifier.remind(to_sato()) for _ in range(8)))
    await notifier.close()
    await notifier.remind(to_sato())
    await notifier.close()
    assert len(slack.messages) == 9


@given(
    progress=st.text(min_size=1).filter(lambda text: not text.isspace()),
    next_steps=st.text(),
    giver=st.text(min_size=1, max_size=255).filter(lambda text: not text.isspace()),
    factor=st.sampled_from([1, 50, 4000]),
    at=st.datetimes(timezones=st.just(UTC)),
)
def test_any_handoff_makes_a_message_that_slack_takes(
    progress: str, next_steps: str, giver: str, factor: int, at: datetime
) -> None:
    made = Handoff(
        id=uuid4(),
        from_user_id=giver.replace("\x00", "x"),
        to_user_id=SATO if giver != SATO else SUZUKI,
        progress_note=(progress * factor).replace("\x00", "x"),
        next_steps=(next_steps * factor).replace("\x00", "x"),
        handoff_at=min(max(at, datetime(1, 1, 2, tzinfo=UTC)), datetime(9999, 12, 30, tzinfo=UTC)),
    )
    message = reminder_message(made, NOON)
    assert problems(message["blocks"]) == []
    assert not too_much_text(message["blocks"])
    assert 0 < len(message["text"]) <= 4000
    assert reminder_metadata(made, "W")["event_payload"]["handoff_id"] == str(made.id)


@given(text=st.text(st.sampled_from("a&<>字\U0001f600\n"), max_size=40), most=st.integers(1, 60))
def test_escaped_text_is_whole_or_cut_at_a_whole_character(text: str, most: int) -> None:
    whole = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = escaped(text, most)
    assert len(shown.encode("utf-16-le")) // 2 <= most
    if shown != whole:
        assert len(whole.encode("utf-16-le")) // 2 > most
        kept = shown.removesuffix("…")
        assert whole.startswith(kept)
        restored = kept.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        assert text.startswith(restored)
