"""The passage of a note: offsets that can be relied on, whatever the text is made of."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nakamura_misaki.domain.passage import (
    MAX_PASSAGE_CHARACTERS,
    MAX_SEARCHED_CHARACTERS,
    find_passage,
    is_boundary,
    matches,
)

PIECES = (
    "移行",
    "税",
    "の",
    "データ",
    "ﾃﾞｰﾀ",
    "ハ\u309a",
    "か\u3099",
    "㍻",
    "㌔",
    "ﬁ",
    "PostgreSQL 16",
    "ＤＢ",
    "e\u0301",
    "😀",
    "👩\u200d💻",
    "👍\U0001f3fd",
    "🇯🇵🇫🇷",
    "葛\U000e0100",
    "\u1112\u1161\u11ab",
    "\r\n",
    "\n",
    "。",
    " ",
    "\u3000",
    "x" * 90,
    "あ" * 130,
    "𠮷野家",
)
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=40).map("".join)


def shown(content: str, query: str) -> list[str]:
    return [content[start:end] for start, end in find_passage(content, query).spans]


@given(content=texts, query=texts)
def test_offsets_are_valid_and_cut_no_character(content: str, query: str) -> None:
    passage = find_passage(content, query)
    assert 0 <= passage.start <= passage.end <= len(content)
    assert passage.end - passage.start <= MAX_PASSAGE_CHARACTERS
    if content and not content.isspace():
        assert passage.start < passage.end
    before = passage.start
    for start, end in passage.spans:
        assert before <= start < end <= passage.end
        before = end
    for place in {passage.start, passage.end, *(at for span in passage.spans for at in span)}:
        if 0 < place < len(content):
            assert unicodedata.combining(content[place]) == 0
            assert content[place - 1 : place + 1] != "\r\n"
            assert content[place] not in "\uff9e\uff9f\u200d"


@given(before=texts, after=texts)
def test_a_word_that_is_there_is_set_off(before: str, after: str) -> None:
    content = f"{before[:100]}。請求書、{after}"
    passage = find_passage(content, "請求書")
    assert "請求書" in [content[start:end] for start, end in passage.spans]


@pytest.mark.parametrize(
    ("content", "query", "expected"),
    [
        ("㍻の決定", "平成", ["㍻"]),
        ("㍻の決定", "平は", ["㍻"]),
        ("ﾊﾞｯｸｱｯﾌﾟ", "バックアップ", ["ﾊﾞｯｸｱｯﾌﾟ"]),
        ("か\u3099くせいの話", "がくせい", ["か\u3099くせい"]),
        ("cafe\u0301 の鍵", "café", ["cafe\u0301"]),
        ("Été à Łódź", "łódź", ["Łódź"]),
        ("한국어 노트", "한국어", ["한국어"]),
        ("ＰｏｓｔｇｒｅＳＱＬ １６", "postgresql 16", ["ＰｏｓｔｇｒｅＳＱＬ", "１６"]),
        ("一行目\r\n税が0件\r\n", "税が見つからない", ["税が"]),
        ("👩\u200d💻移行👩\u200d💻", "移行", ["移行"]),
        ("𠮷野家の売上", "売上", ["売上"]),
        ("何もない", "請求書", []),
    ],
)
def test_matched_words_are_spans_of_the_content(
    content: str, query: str, expected: list[str]
) -> None:
    assert shown(content, query) == expected


def test_the_passage_is_the_densest_place_from_its_sentence_on() -> None:
    content = (
        "移行。" + "無関係の話です。" * 60 + "DB移行の決定は金曜に出た。次の話。" + "余談。" * 90
    )
    passage = find_passage(content, "DB移行の決定")
    assert content[passage.start :].startswith("DB移行の決定は金曜")
    assert content[: passage.end].endswith("。")


def test_without_a_match_it_is_the_beginning() -> None:
    content = "\n\n  はじめの文。" + "つづき。" * 100
    passage = find_passage(content, "請求書")
    assert content[passage.start :].startswith("はじめの文。")
    assert passage.spans == ()


@pytest.mark.parametrize(
    "content",
    [
        " \u0301移行の話",
        "前置き。 \u0301移行の話",
        "x" * (MAX_SEARCHED_CHARACTERS - 10) + "。移行の話はこれでか\u3099",
    ],
    ids=["a space with a mark", "behind a sentence", "where searching ends"],
)
def test_no_passage_begins_or_ends_within_a_character(content: str) -> None:
    passage = find_passage(content, "移行")
    assert is_boundary(content, passage.start)
    assert is_boundary(content, passage.end)
    assert [content[start:end] for start, end in passage.spans] == ["移行"]


def test_of_words_that_begin_alike_the_longest_is_set_off() -> None:
    assert shown("移行計画書と移行計画", "移行 移行計画 移行計画書") == ["移行計画書", "移行計画"]


def test_hundreds_of_words_that_begin_alike_are_looked_for_together() -> None:
    """One comparison a word at every place of a long note would take seconds."""
    looked_at = 0

    class Counted(frozenset[str]):
        def __contains__(self, word: object) -> bool:
            nonlocal looked_at
            looked_at += 1
            return super().__contains__(word)

    words = {"a": Counted(f"a{n:03}" for n in range(400))}
    assert matches("a" * 1000 + " a399", words) == [(1001, 1005)]
    assert looked_at <= 1001


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("a\r\nb", 2, False),
        ("か\u3099", 1, False),
        ("ﾊﾞ", 1, False),
        ("👍\U0001f3fd", 1, False),
        ("👩\u200d💻", 1, False),
        ("👩\u200d💻", 2, False),
        ("🇯🇵🇫🇷", 1, False),
        ("🇯🇵🇫🇷", 2, True),
        ("葛\U000e0100城", 1, False),
        ("葛\U000e0100城", 2, True),
        ("ab", 1, True),
        ("ab", 0, True),
        ("ab", 2, True),
    ],
)
def test_where_a_text_may_be_cut(text: str, at: int, expected: bool) -> None:
    assert is_boundary(text, at) is expected
