"""HashingEmbedder: the same vectors everywhere, never zero, near what shares words."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from array import array
from math import hypot
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nakamura_misaki
from nakamura_misaki.adapters.secondary.hashing_embedder import (
    DEFAULT_DIMENSIONS,
    MAX_CHARACTERS,
    HashingEmbedder,
)

TEXTS = (
    "DB移行の決定事項は？",
    "決定: DB移行はPostgreSQL 16で行う",
    "売上、税、々、〇、カタカナ、ﾊﾝｶｸ、ｆｕｌｌ",
    "Retries use exponential backoff; naïve café Straße",
    "Привет мир, 안녕하세요, สวัสดี",
    "🎉🎉!?",
    "の a の a の a",
    "\ud800",
    "",
)
DIGEST = "c7317f92d9b1b2bbfb4db8ff46dc609cb8ff194f5fae5cd3b61b6f81945daf2f"

any_text = st.text(st.characters(codec=None))


def digest(dimensions: int = DEFAULT_DIMENSIONS) -> str:
    """One hash of the vectors of TEXTS, in little-endian order."""
    embedder = HashingEmbedder(dimensions)
    collected = hashlib.sha256()
    for text in TEXTS:
        vector = array("f", embedder.vector(text))
        if sys.byteorder == "big":
            vector.byteswap()
        collected.update(vector.tobytes())
    return collected.hexdigest()


def nearness(left: str, right: str) -> float:
    embedder = HashingEmbedder()
    return sum(a * b for a, b in zip(embedder.vector(left), embedder.vector(right), strict=True))


def test_vectors_are_those_that_were_ever_stored_under_this_model_name() -> None:
    """If this fails, vectors in databases no longer match: ALGORITHM needs a new name."""
    assert HashingEmbedder().model == "hashing-v1@1024"
    assert digest() == DIGEST


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_vectors_are_the_same_in_another_process(seed: str) -> None:
    package = str(Path(nakamura_misaki.__file__).parents[1])
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path[:0] = [{package!r}, {here!r}]; import test_hashing_embedder as t; print(t.digest())"
    output = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.strip() == DIGEST


def test_what_was_embedded_before_changes_nothing() -> None:
    used = HashingEmbedder()
    for text in reversed(TEXTS):
        used.vector(text)
    assert [used.vector(text) for text in TEXTS] == [HashingEmbedder().vector(t) for t in TEXTS]


@given(any_text)
def test_any_text_has_a_vector_of_length_one(text: str) -> None:
    vector = HashingEmbedder(64).vector(text)
    assert len(vector) == 64
    assert hypot(*vector) == pytest.approx(1, abs=1e-5)


@given(any_text, st.integers(1, 3))
def test_colliding_grams_never_leave_a_zero_vector(text: str, dimensions: int) -> None:
    assert hypot(*HashingEmbedder(dimensions).vector(text)) == pytest.approx(1, abs=1e-5)


NOTES = (
    "決定: DB移行はPostgreSQL 16で行う",
    "エラー: 消費税の端数処理が誤っており、合計が1円ずれる",
    "学び: 顧客との打ち合わせでは先に議題を共有すると早く終わる",
    "TODO: 売上レポートのグラフを修正する",
    "TODO: バックアップの復元手順を文書化する",
    "決定: リリースは毎週火曜日の午前中に行う",
    "Changed: pagination added to the search endpoint",
    "Error: the deployment failed because the secret file was not readable",
    "ランチは駅前の蕎麦屋が安くておいしい",
)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("DB移行の決定事項は？", 0),
        ("ＤＢ移行はどうなりましたか", 0),
        ("Which PostgreSQL do we use?", 0),
        ("税", 1),
        ("消費税の計算ミスについて", 1),
        ("打ち合わせのコツは？", 2),
        ("売上", 3),
        ("ﾊﾞｯｸｱｯﾌﾟから復元するには？", 4),
        ("リリースの曜日を教えてください", 5),
        ("search endpoint paging", 6),
        ("why did the deploy fail?", 7),
        ("おすすめのランチ", 8),
    ],
)
def test_the_nearest_note_answers_the_question(question: str, expected: int) -> None:
    order = sorted(NOTES, key=lambda note: nearness(question, note), reverse=True)
    assert order[0] == NOTES[expected]


def test_one_word_counts_more_than_a_long_ending() -> None:
    assert nearness("売上について教えて", "売上") > nearness("売上について教えて", "について教えて")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("ＤＢ移行", "db移行"),
        ("ﾃﾞｰﾀ", "データ"),
        ("STRASSE", "straße"),
        ("決定、移行", "決定。 移行"),
    ],
)
def test_spellings_of_one_text_have_one_vector(left: str, right: str) -> None:
    assert HashingEmbedder().vector(left) == HashingEmbedder().vector(right)


def test_only_the_first_characters_of_a_long_text_count() -> None:
    head = "決定事項 " * (MAX_CHARACTERS // 5 + 1)
    assert len(head) >= MAX_CHARACTERS
    embedder = HashingEmbedder()
    assert embedder.vector(head + "蕎麦" * 1_000_000) == embedder.vector(head[:MAX_CHARACTERS])


def test_eight_mebibytes_take_no_longer_than_the_characters_that_count() -> None:
    long = "".join(map(chr, range(0x4E00, 0x9FA0))) * 140
    assert len(long.encode()) > 8 * 1024 * 1024
    embedder = HashingEmbedder()
    started = time.process_time()
    embedder.vector(long)
    assert time.process_time() - started < 1


async def test_many_texts_are_embedded_in_order_and_let_other_tasks_run() -> None:
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    watching = asyncio.create_task(bystander())
    embedder = HashingEmbedder()
    texts = [f"メモ {number} " * 200 for number in range(50)]
    vectors = await embedder.embed(texts)
    watching.cancel()
    await embedder.close()
    assert vectors == [embedder.vector(text) for text in texts]
    assert turns >= 5


async def test_no_texts_give_no_vectors() -> None:
    assert await HashingEmbedder().embed([]) == []


def test_the_model_tells_dimensions_apart() -> None:
    assert HashingEmbedder(256).model != HashingEmbedder(512).model
    assert HashingEmbedder(256).dimensions == 256


def test_an_embedder_without_dimensions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        HashingEmbedder(0)
