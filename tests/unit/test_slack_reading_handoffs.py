"""Handing work over in a sentence; mentions, languages, and any message at all."""

import time
from dataclasses import fields
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.adapters.primary.slack.intents import (
    AddHandoff,
    AddNote,
    Ask,
    ChangeTask,
    Command,
    CompleteHandoff,
    DeleteTask,
    Incomplete,
    Missing,
)
from nakamura_misaki.adapters.primary.slack.reading import read_message
from nakamura_misaki.application.lookup import MIN_DIGITS

NOW = datetime(2026, 10, 14, 10, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
BOT = "U0MISAKI"

# Progress note, receiver, time, task and next steps.
HANDOFFS = [
    ("「API実装」を <@U2> に明日9時から引き継ぎ", "API実装", "10-15 09:00", None, ""),
    ("「API実装」を<@U2|taro>さんに明日９時から引き継ぎます。", "API実装", "10-15 09:00", None, ""),
    ("『「A」の件』を <@U2> に10/15 9:00から引き継ぎ", "「A」の件", "10-15 09:00", None, ""),
    ("「「A」は「B」まで」を <@U2> に明日9時から引き継ぎ", "「A」は「B」まで", "10-15 09:00", None, ""),
    ("「<@U3> と確認、明日15時」を <@U2> に来週月曜10時に引き継ぎ", "<@U3> と確認、明日15時", "10-19 10:00", None, ""),
    ("「一行目\n二行目」を <@U2> に今日18時から引き継ぎ", "一行目\n二行目", "10-14 18:00", None, ""),
    ("<@U2> に明日9時から「API実装」を引き継ぎお願いします", "API実装", "10-15 09:00", None, ""),
    ("「API実装」を明日9時に <@U2> へ引き継いでください", "API実装", "10-15 09:00", None, ""),
    ("API実装を <@U2> に明日9時から引き継ぎ", "API実装", "10-15 09:00", None, ""),
    ("API実装を明日9時に <@U2> へ引き継ぎ", "API実装", "10-15 09:00", None, ""),
    ("「移行」の実装を <@U2> に明日9時から引き継ぎ", "「移行」の実装", "10-15 09:00", None, ""),
    ("引き継ぎ: API実装 <@U2> 明日9時", "API実装", "10-15 09:00", None, ""),
    ("タスク 7c3dace1 を <@U2> に明日9時から引き継ぎ", "タスク 7c3dace1", "10-15 09:00", "7c3dace1", ""),
    (
        "「API実装、次: は未定」を <@U2> に明日9時から引き継ぎ\n次の手順: デプロイ\n監視も\nタスク: 7C3DACE1",
        "API実装、次: は未定", "10-15 09:00", "7c3dace1", "デプロイ\n監視も",
    ),
    ("「A」を <@U2> に明日から引き継ぎ 次：B", "A", "10-15", None, "B"),
    ('hand off "API docs" to <@U2> tomorrow at 9am', "API docs", "10-15 09:00", None, ""),
    ("hand off “API docs” to <@U2> tomorrow at 9am next: deploy", "API docs", "10-15 09:00", None, "deploy"),
    ('Handoff "API docs" tomorrow 9am to <@U2>', "API docs", "10-15 09:00", None, ""),
    ("hand over API docs to <@U2> on Monday task: 7c3dace1", "API docs", "10-19", "7c3dace1", ""),
    ("hand off API docs tomorrow at 9am to <@U2>", "API docs", "10-15 09:00", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "note", "at", "task", "next_steps"), HANDOFFS)
def test_handoff_is_read_from_a_sentence(
    text: str, note: str, at: str, task: str | None, next_steps: str
) -> None:
    read = read_message(text, NOW, self_id=BOT).intent
    assert isinstance(read, AddHandoff)
    assert (read.progress_note, read.to_user_id) == (note, "U2")
    assert (read.task_id_text, read.next_steps) == (task, next_steps)
    assert f"{read.at.at:%m-%d %H:%M}" == at if read.at.has_time else f"{read.at.at:%m-%d}" == at


@pytest.mark.parametrize(
    ("text", "what", "detail"),
    [
        ("「API」を明日9時から引き継ぎ", Missing.PERSON, ""),
        ("「API」を田中さんに明日9時から引き継ぎ", Missing.PERSON, ""),
        ("「<@U2> の件」を明日9時から引き継ぎ", Missing.PERSON, ""),
        ("handoff: API", Missing.PERSON, ""),
        ("「API」を <@U2> に引き継ぎ", Missing.TIME, ""),
        ("hand off API to <@U2>", Missing.TIME, ""),
        ("「API」を <@U2> にそのうち引き継ぎ", Missing.UNREADABLE_TIME, "そのうち"),
        ("「API」を <@U2> に25:99から引き継ぎ", Missing.UNREADABLE_TIME, "25:99"),
        ("hand off API to <@U2> someday", Missing.UNREADABLE_TIME, "someday"),
        ("「」を <@U2> に明日引き継ぎ", Missing.CONTENT, ""),
        ("<@U2> に明日9時から引き継ぎ", Missing.CONTENT, ""),
        ("「API」を <@U2> に明日引き継ぎ タスク: ?", Missing.BAD_ID, "?"),
        ("「API」を <@U2> に明日引き継ぎ タスク:", Missing.ID, ""),
    ],
)
def test_handoff_that_lacks_something(text: str, what: Missing, detail: str) -> None:
    read = read_message(text, NOW, self_id=BOT).intent
    assert read == Incomplete(Command.ADD_HANDOFF, what, detail)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"<@{BOT}> 質問", Ask("質問")),
        (f"<@{BOT}|misaki>、メモ: x", AddNote("x")),
        (f" <@{BOT}>　<@{BOT}>: メモ: x", AddNote("x")),
        (f"メモ: <@{BOT}> は誰", AddNote(f"<@{BOT}> は誰")),
        (f"&lt;@{BOT}&gt; 質問", Ask(f"<@{BOT}> 質問")),
        ("<@U2> メモ: x", Ask("<@U2> メモ: x")),
        ("<@U2>", Ask("<@U2>")),
        ("\ufdd0U2\ufdd1", Ask("\ufffdU2\ufffd")),  # nobody is mentioned by what marks a mention
    ],
)
def test_only_the_assistants_own_mention_at_the_beginning_is_left_out(
    text: str, expected: AddNote | Ask
) -> None:
    assert read_message(text, NOW, self_id=BOT).intent == expected


def test_mention_stays_where_the_assistant_does_not_know_itself() -> None:
    assert read_message(f"<@{BOT}> x", NOW).intent == Ask(f"<@{BOT}> x")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("決定", "ja"),
        ("ｶﾅ", "ja"),
        ("deploy は？", "ja"),
        ("𠮷", "ja"),
        ("what was decided?", "en"),
        ("？", "en"),
        ("", "en"),
        ("<@U2|田中> done?", "en"),
        ("naïve café", "en"),
    ],
)
def test_language_is_that_of_the_letters(text: str, language: str) -> None:
    assert read_message(text, NOW, self_id=BOT).language == language


PIECES = [
    *("タスク", "登録", "追加", ":", "：", " ", "　", "\n", "メモ", "(決定)", "して", "期限", "担当", "by ", "due: ", "for "),
    *("<@U2>", f"<@{BOT}>", "<@U2|x>", "<#C1>", "<https://x.jp|x>", "<!here>", "<", ">", "&lt;", "&amp;", "|", "\u200b"),
    *("「", "」", "『", "』", '"', "“", "”", "を", "に", "から", "まで", "引き継ぎ", "ハンドオフ", "hand off ", "to ", "次: "),
    *("7c3dace1", "#12ab", "完了", "削除", "done", "task ", "delete ", "明日", "15時", "2/30", "99999999日後", "tomorrow "),
    *("9999/12/31", "?", "？", "next: ", "タスク: ", "handoff", "help", "ヘルプ", "一覧", "今日の", "は", "\ufdd0", "\ufdd1", "ﾞ"),
]  # fmt: skip
texts = st.one_of(
    st.text(st.characters(), max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=14).map("".join),
)


@given(texts, st.sampled_from([BOT, None, "", "U2"]))
def test_any_message_is_read(text: str, self_id: str | None) -> None:
    reading = read_message(text, NOW, self_id=self_id)
    assert reading.language in ("ja", "en")
    read = reading.intent
    for field in fields(read):
        value = getattr(read, field.name)
        if isinstance(value, str):
            assert not {"\ufdd0", "\ufdd1"} & set(value)
        if field.name in ("title", "content", "progress_note", "question", "to_user_id"):
            assert value.strip()
    if isinstance(read, ChangeTask | DeleteTask | CompleteHandoff):
        digits = read.id_text.replace("-", "")
        assert MIN_DIGITS <= len(digits) <= 32
        assert not set(digits) - set("0123456789abcdef")


@pytest.mark.parametrize(
    ("head", "unit"),
    [
        *(("", " "), ("", "「"), ("", "次: "), ("", "<"), ("", "<@U2>"), ("", "&lt;"), ("", "a ")),
        *(("タスク登録: ", "期限: "), ("タスク登録: ", "\n"), ("タスク ", "1"), ("タスク ", "　")),
        *(("メモ(", "あ"), ("note [", " "), ("「", "「"), ("「x」を <@U2> に", "を"), ("hand off ", '"')),
    ],
)  # fmt: skip
def test_long_message_takes_no_time(head: str, unit: str) -> None:
    text = head + unit * (100_000 // len(unit)) + "を引き継ぎ"
    began = time.perf_counter()
    read_message(text, NOW, self_id=BOT)
    assert time.perf_counter() - began < 5.0
