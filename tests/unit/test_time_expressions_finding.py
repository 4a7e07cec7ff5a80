"""Finding a time inside a text, other zones than Tokyo's, describing a time, and any text at all."""

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.application.time_expressions import (
    describe_time,
    find_time,
    find_time_at_end,
    read_time,
)
from nakamura_misaki.domain.errors import InvalidInput

TOKYO = ZoneInfo("Asia/Tokyo")
NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 10, 14, 10, 30, tzinfo=TOKYO)


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        ("会議は明日15時からです", "明日15時", "10-15 15:00"),
        ("資料を１０月１５日（木）の午後３時までに送る", "１０月１５日（木）の午後３時", "10-15 15:00"),
        ("昨日の件、明日15時に話す", "明日15時", "10-15 15:00"),
        ("昨日の件を話す", "昨日", "10-13 00:00"),
        ("明日と明後日は休み", "明日", "10-15 00:00"),
        ("期限はあしたまで", "あした", "10-15 00:00"),
        ("毎週月曜の定例を明日に移す", "明日", "10-15 00:00"),
        ("9:00-10:00 の枠", "9:00", "10-15 09:00"),
        ("Let's meet tomorrow at noon, ok?", "tomorrow at noon", "10-15 12:00"),
        ("The report is due on Sat", "Sat", "10-17 00:00"),
        ("ship it Sat 3pm please", "Sat 3pm", "10-17 15:00"),
        ("v1.2 ships Oct 20", "Oct 20", "10-20 00:00"),
        ("https://example.com/2026/11/1を明日まで", "明日", "10-15 00:00"),
        ("10/15の15時に", "10/15の15時", "10-15 15:00"),
        ("🚀10/20に公開", "10/20", "10-20 00:00"),
    ],
)  # fmt: skip
def test_time_is_found_in_a_text(text: str, words: str, at: str) -> None:
    found = find_time(text, NOW)
    assert found is not None
    assert text[found.start : found.end] == words
    assert f"{found.at:%m-%d %H:%M}" == at


@pytest.mark.parametrize(
    "text",
    [
        *("PostgreSQL 16.14 に上げる", "Python 3.11.7", "v3日本語対応", "SQL:2016 に従う", "ISO 8601"),
        *("24/7 サポート", "1/2のコストを見積もる", "1/2 of the budget", "比は 16:9", "and/or", "TCP/IP"),
        *("id 7c3dace1 を見る", "0199c3a2-7b1e-7c3d-ace1-0123456789ab", "#1234", "電話 03-1234-5678"),
        *("https://example.com/2026/10/15/notes", "file.2026-10-15.log", "`sleep 10:30`", "127.0.0.1:8080"),
        *("user.10/15@example.com", "you may be right", "he sat down in the sun", "wed to an idea"),
        *("march on", "mon ami", "the second item", "a month", "good morning", "夜間バッチ", "夕方の光"),
        *("3日間の合宿", "1日3回", "会議の10分前", "15時間かかる", "一日の流れ", "月末処理を自動化", "今週の予定"),
        *("毎週月曜の定例", "毎日9時に動く", "every Monday at 9", "明日香さん", "あすか", "きょうだい"),
        *("3pm PST", "15:00 EST", "12月のカレンダー画像", "Octopus 15", "3.5日後", "2/30", "13/45", "25:99", "#10/15"),
        *("", " ", "明", "水月金", "第三日", "A/10/15", "10/15-20", "第2四半期の売上", "100%", "$10/15"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_time_is_left_out(text: str) -> None:
    assert find_time(text, NOW) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("レポート 明日15時", "明日15時"),
        ("write report by next Friday", "next Friday"),
        ("2026年10月15日", "2026年10月15日"),
        ("お祭り 夕方", "夕方"),  # weak words count where one asks for them
        ("x" * 500 + " 10/15 9:00", "10/15 9:00"),
        ("明日の会議", None),
        ("Python 3.11", None),
        ("release v3日", None),
        ("毎週月曜", None),
        ("https://example.com/2026/10/15", None),
        ("", None),
    ],
)
def test_time_at_the_end_reaches_to_the_last_character(text: str, words: str | None) -> None:
    found = find_time_at_end(text, NOW)
    assert (text[found.start : found.end] if found else None) == words
    assert found is None or found.end == len(text)


def test_time_of_day_never_lies_in_an_hour_that_comes_twice_and_has_passed() -> None:
    now = datetime(2026, 11, 1, 1, 15, tzinfo=NEW_YORK, fold=1)  # for the second time
    assert read_time("1:30", now).at.isoformat() == "2026-11-02T01:30:00-05:00"


@pytest.mark.parametrize(
    ("zone", "now", "text", "expected"),
    [
        # Clocks go forward at 2:00 on 8 March, back at 2:00 on 1 November 2026.
        ("America/New_York", "2026-03-07T12:00", "tomorrow 2:30", "2026-03-08T03:30-04:00"),
        ("America/New_York", "2026-03-08T01:00", "in 2 hours", "2026-03-08T04:00-04:00"),
        ("America/New_York", "2026-10-31T12:00", "tomorrow 1:30", "2026-11-01T01:30-04:00"),
        ("America/New_York", "2026-11-01T00:30", "2時間後", "2026-11-01T01:30-05:00"),
        ("America/New_York", "2026-03-07T12:00", "1日後", "2026-03-08T00:00-05:00"),
        # Midnight was left out in São Paulo, a whole day in Samoa.
        ("America/Sao_Paulo", "2018-11-03T12:00", "明日", "2018-11-04T01:00-02:00"),
        ("Pacific/Apia", "2011-12-29T12:00", "明日", "2011-12-31T00:00+14:00"),
        # A zone that the text names.
        ("Asia/Tokyo", "2026-10-14T10:30", "2026-10-15T15:00Z", "2026-10-16T00:00+09:00"),
        ("Asia/Tokyo", "2026-10-14T10:30", "2026-10-15T15:00-0430", "2026-10-16T04:30+09:00"),
        ("Asia/Tokyo", "2026-10-14T10:30", "tomorrow 15:00 UTC", "2026-10-16T00:00+09:00"),
        ("Asia/Tokyo", "2026-10-14T10:30", "2:00 UTC", "2026-10-14T11:00+09:00"),
        ("America/New_York", "2026-10-14T10:30", "明日9:00 JST", "2026-10-14T20:00-04:00"),
    ],
)
def test_time_is_that_of_clocks_in_the_zone(zone: str, now: str, text: str, expected: str) -> None:
    found = read_time(text, datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone)))
    assert found.at.isoformat(timespec="minutes") == expected


@pytest.mark.parametrize(
    ("at", "language", "has_time", "expected"),
    [
        ("2026-10-16 15:00", "ja", True, "10月16日(金) 15:00"),
        ("2026-10-16 15:00", "en", True, "Fri, Oct 16, 15:00"),
        ("2026-10-16 00:00", "ja", False, "10月16日(金)"),
        ("2026-10-16 00:00", "en", False, "Fri, Oct 16"),
        ("2026-10-14 09:05", "ja", True, "今日 10月14日(水) 09:05"),
        ("2026-10-15 15:00", "ja", True, "明日 10月15日(木) 15:00"),
        ("2026-10-14 15:00", "en", True, "today, Wed, Oct 14, 15:00"),
        ("2026-10-15 00:00", "en", False, "tomorrow, Thu, Oct 15"),
        ("2027-01-02 15:00", "ja", True, "2027年1月2日(土) 15:00"),
        ("2027-01-02 15:00", "en", True, "Sat, Jan 2, 2027, 15:00"),
        ("2026-10-13 15:00", "ja", True, "10月13日(火) 15:00"),
    ],
)
def test_time_is_described(
    at: str, language: Literal["ja", "en"], has_time: bool, expected: str
) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=TOKYO)
    assert describe_time(moment, NOW, language, has_time=has_time) == expected
    assert describe_time(moment.astimezone(NEW_YORK), NOW, language, has_time=has_time) == expected


def test_time_at_the_calendars_end_is_described() -> None:
    last = datetime(9999, 12, 31, 23, tzinfo=UTC)
    assert describe_time(last, NOW, "ja") == "9999年12月31日(金) 23:00"


ZONES: list[tzinfo] = [
    *(TOKYO, NEW_YORK, UTC, ZoneInfo("Pacific/Apia"), ZoneInfo("Pacific/Kiritimati")),
    *(ZoneInfo("America/Sao_Paulo"), ZoneInfo("Europe/Dublin"), ZoneInfo("Africa/Monrovia")),
    *(ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(hours=-12))),
]
nows = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001  (the zone is added)
    datetime(2200, 12, 31),  # noqa: DTZ001  (the zone is added)
    timezones=st.sampled_from(ZONES),
)
pieces = st.lists(
    st.sampled_from(
        [
            *("今日", "明日", "あさって", "来週", "再来週", "の", "月曜", "(水)", "曜", "来月", "末", "中", "月末", "年末"),
            *("15", "99999999", "2", "三十一", "二〇二六", "時", "分", "半", "日", "月", "年", "後", "前", "以内", "時間"),
            *("午後", "夜", "深夜", "正午", "今朝", "まで", "から", "、", " ", "　", "：", ":", "/", "-", "T", "Z", "+09:00"),
            *("10/15", "2/29", "9999/12/31", "0001-01-01", "24:00", "29:59", "９", "令和", "元", "ヶ", "毎週", "every "),
            *("tomorrow", "next ", "this ", "last ", "Monday", "Sat", "Oct ", "15th", "in ", "3 ", "an ", "days", "hours"),
            *(" and a half", " from now", " ago", "at ", "3pm", "noon", "end of ", "the ", "week", "year", "by ", "tonight"),
        ]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(st.one_of(st.text(st.characters(), max_size=30), pieces), nows)
def test_any_text_is_a_time_or_is_refused(text: str, now: datetime) -> None:
    for found in (find_time(text, now), find_time_at_end(text, now)):
        if found is not None:
            assert 0 <= found.start < found.end <= len(text)
            assert found.at.tzinfo is now.tzinfo
    try:
        read = read_time(text, now)
    except InvalidInput:
        return
    assert read.at.utcoffset() is not None
    assert 0 <= read.start < read.end <= len(text)


@given(nows, st.integers(0, 300 * 24 * 60), st.sampled_from(["ja", "en"]))
def test_described_time_is_read_again(
    now: datetime, minutes: int, language: Literal["ja", "en"]
) -> None:
    later = now.astimezone(UTC) + timedelta(minutes=minutes)
    at = later.astimezone(now.tzinfo).replace(second=0, microsecond=0, fold=0)
    if at.astimezone(UTC).astimezone(now.tzinfo) != at:
        return  # in the second of two equal hours: the first one is read
    assert read_time(describe_time(at, now, language), now).at == at


@given(nows, st.sampled_from(["15時", "3pm", "0:00", "正午", "25:30", "夜8時", "noon"]))
def test_time_of_day_alone_is_the_next_one(now: datetime, text: str) -> None:
    found = read_time(text, now)
    assert found.has_time
    assert timedelta(0) < found.at.astimezone(UTC) - now.astimezone(UTC) < timedelta(hours=52)


@pytest.mark.parametrize(
    "unit", [" ", "1", "七", "明日", "明日 ", "10/15 ", "1日と", "in 3 days and ", "月", "「", "https://", "毎週"]
)  # fmt: skip
def test_long_text_takes_no_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.perf_counter()
    find_time(text, NOW)
    find_time_at_end(text, NOW)
    with pytest.raises(InvalidInput):
        read_time(text, NOW)
    assert time.perf_counter() - began < 5.0
