"""The passage of a note that a search shows, and the words set off in it."""

import time

import pytest

from nakamura_misaki.application.passage import MAX_LINE_CHARACTERS, MAX_LINES, coverage, passage


def set_off(content: str, query: str) -> list[str]:
    return [line.text[start:end] for line in passage(content, query) for start, end in line.spans]


@pytest.mark.parametrize(
    ("content", "query", "expected"),
    [
        ("決定: PostgreSQL 16を採用", "DB移行の決定事項は？", ["決定"]),
        ("DB移行の決定事項: 移す", "DB移行の決定事項は？", ["DB", "移行の決定事項"]),
        ("ＤＢ移行", "db", ["ＤＢ"]),
        ("ﾃﾞｰﾀﾍﾞｰｽを移す", "データベース", ["ﾃﾞｰﾀﾍﾞｰｽ"]),
        ("Rollback plan: rollbacks", "rollback", ["Rollback"]),
        ("「税」が0件", "税が見つからない", ["税"]),
        ("実行のとき", "移行の", []),
        ("2回送ると", "いつ送る？", ["送る"]),
        ("これはそれ", "これは", ["これは"]),
        ("㍻の決定", "平成", ["㍻"]),
        ("何もない", "？！", []),
    ],
)
def test_passage_sets_off_what_the_query_and_the_note_share(
    content: str, query: str, expected: list[str]
) -> None:
    assert set_off(content, query) == expected


def test_passage_is_the_part_with_most_matches() -> None:
    content = "\n".join([*(f"行 {number}" for number in range(50)), "売上の報告", "", "売上は好調"])
    lines = passage(content, "売上")
    assert len(lines) == MAX_LINES
    assert [line.text for line in lines[-2:]] == ["売上の報告", "売上は好調"]


def test_passage_of_a_note_without_the_words_is_its_beginning() -> None:
    content = "\n".join(f"line {number}" for number in range(9))
    assert [line.text for line in passage(content, "売上")] == content.split("\n")[:MAX_LINES]


def test_passage_cuts_a_long_line_around_the_match() -> None:
    (line,) = passage("あ" * 500 + "移行" + "い" * 500, "移行")
    assert len(line.text) == MAX_LINE_CHARACTERS + 6
    assert line.text.startswith("...あ")
    assert line.text.endswith("い...")
    ((start, end),) = line.spans
    assert line.text[start:end] == "移行"


def test_passage_of_megabytes_takes_no_time() -> None:
    content = "移行の決定" * 500_000
    began = time.perf_counter()
    assert passage(content, "移行の決定事項は何でしたかデータベースのリハーサルの結果" * 20)
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    ("content", "query", "expected"),
    [
        ("DB移行の決定事項", "DB移行の決定事項は？", 1.0),
        ("決定: 16を採用", "DB移行の決定事項は？", 0.25),
        ("昼はカレー", "DB移行の決定事項は？", 0.0),
        ("Rollback plan", "the rollback plan", 12 / 15),
        ("ﾃﾞｰﾀﾍﾞｰｽ", "データベース", 1.0),
        ("これは", "これは", 0.0),
        ("何か", "？！", 0.0),
        ("㍻の決定", "平", 0.0),
    ],
)
def test_coverage_is_how_much_of_the_query_a_passage_holds(
    content: str, query: str, expected: float
) -> None:
    assert coverage(passage(content, query), query) == pytest.approx(expected)
