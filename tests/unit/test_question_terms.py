"""What a question is taken to ask for: in SQL and in Python alike."""

import pytest

from nakamura_misaki.adapters.secondary.postgresql_note_repository import PostgreSQLNoteRepository
from nakamura_misaki.adapters.secondary.word_search import query_terms, subject
from nakamura_misaki.infrastructure.database.manager import DatabaseManager
from repository_backend import note

SUBJECTS = [
    ("DB移行について教えてください", "db移行"),
    ("DB移行の決定事項は？", "db移行の決定事項は?"),
    ("請求書の締めって何でしたっけ？", "請求書の締め"),
    ("リリース手順を知りたい", "リリース手順"),
    ("リリース手順を知りたいです。", "リリース手順"),
    ("バックアップの復元に関して詳しく説明してください！", "バックアップの復元"),
    ("本番の接続先はどこですか", "本番の接続先"),
    ("税とは何ですか", "税"),
    ("ＰｏｓｔｇｒｅＳＱＬ　16", "postgresql 16"),
    ("教えて", "教えて"),
    ("何ですか？", "何ですか?"),
    ("How do we deploy?", "how do we deploy?"),
    ("いつ送る？", "いつ送る?"),
    ("移行。" + " " * 2000 + "税", "移行。" + " " * 997),
]


@pytest.mark.parametrize(("question", "expected"), SUBJECTS)
async def test_the_subject_of_a_question(
    manager: DatabaseManager, question: str, expected: str
) -> None:
    assert subject(question) == expected
    sql = await manager.run(lambda c: c.fetchval("SELECT nakamura_misaki_subject($1)", question))
    assert sql == expected


@pytest.mark.parametrize(
    "question",
    [
        *(question for question, _ in SUBJECTS),
        "サーバーのウィンドウを開く",
        "ヴァイオリンのインターフェース",
        "を",
        "税",
        "使い方と書き方",
        "api_key v2.4.1 の違い",
        "ひらがなだけのしつもん",
        "🎉",
        "",
    ],
)
async def test_terms_and_weights_are_the_same_in_both(
    manager: DatabaseManager, question: str
) -> None:
    rows = await manager.run(
        lambda c: c.fetch("SELECT term, weight FROM nakamura_misaki_subject_terms($1)", question)
    )
    assert dict(map(tuple, rows)) == pytest.approx(query_terms(question))


@pytest.mark.parametrize(
    ("question", "answer", "others"),
    [
        ("サーバの台数", "サーバーの台数は3台", ["サービスの台帳", "台数の数え方"]),
        ("ウインドウ", "ウィンドウを閉じる", ["ドア", "ポイント"]),
        ("バイオリン", "ヴァイオリンの調弦", ["バイトの面接", "オリンピック"]),
        ("ﾃﾞｰﾀ連携", "データ連携の仕様", ["連絡先のデータ", "提携の話"]),
        ("PostgreSQL 16", "PostgreSQL 16 の設定", ["PostgreSQL 17 の設定は16行", "MySQL 16 台"]),
        ("v2.4.1", "v2.4.1 を出した", ["v2.4.2 を出した", "v2.1.4 を出した"]),
        ("税について教えてください", "消費税の端数", ["教え方についての研修", "くださいと言う"]),
        ("担当は誰ですか", "担当は佐藤", ["誰でも入れる", "誰かの傘"]),
        ("go", "go の版", ["mongodb の版", "google の版"]),
    ],
)
async def test_the_note_that_answers_comes_first(
    manager: DatabaseManager, question: str, answer: str, others: list[str]
) -> None:
    repository = PostgreSQLNoteRepository(manager, None)
    await repository.save_many([note(text) for text in (answer, *others)])
    found = await repository.search(question, "U1", 10)
    assert found[0].content == answer


async def test_of_equal_notes_the_newer_comes_first(manager: DatabaseManager) -> None:
    repository = PostgreSQLNoteRepository(manager, None)
    older, newer = note("請求書の締めは月末"), note("請求書の締めは月末")
    await repository.save_many([newer, older])
    assert older.created_at <= newer.created_at
    found = await repository.search("請求書の締め", "U1", 10)
    assert [one.id for one in found] == [newer.id, older.id]


async def test_the_whole_phrase_comes_before_its_scattered_words(manager: DatabaseManager) -> None:
    repository = PostgreSQLNoteRepository(manager, None)
    await repository.save_many(
        [note("DB移行と請求の件"), note("移行とDB請求の件"), note("請求のDBと移行件")]
    )
    found = await repository.search("DB移行", "U1", 10)
    assert found[0].content == "DB移行と請求の件"
