"""OpenAIEmbedder: the real client against a local server that speaks the protocol."""

import asyncio
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import hypot

import pytest

from nakamura_misaki.adapters.secondary import openai_faults
from nakamura_misaki.adapters.secondary.openai_embedder import OpenAIEmbedder
from nakamura_misaki.domain.errors import ConfigurationError, EmbeddingFailed
from openai_server import Fault, OpenAIServer

SMALL = 64


@pytest.fixture(autouse=True)
def direct_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine between client and server; short pauses between attempts."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(openai_faults, "FIRST_PAUSE", 0.005)


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(synonyms={"データベース": "db"}) as running:
        yield running


@pytest.fixture
async def embedder(server: OpenAIServer) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder(api_key=server.key, base_url=server.base_url, dimensions=SMALL)
    yield embedder
    await embedder.close()


def cosine(left: object, right: object) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


async def test_each_text_gets_its_own_vector_in_order(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    texts = ["DB移行はPostgreSQL 16で行う", "ランチは蕎麦", "release on Tuesday"]
    vectors = await embedder.embed(texts)
    for text, vector in zip(texts, vectors, strict=True):
        assert list(vector) == pytest.approx(server.vector(text, SMALL), abs=1e-6)
    (request,) = server.requests
    assert request.body["dimensions"] == SMALL
    assert request.body["model"] == "text-embedding-3-small"
    assert request.headers["authorization"] == f"Bearer {server.key}"


async def test_meaning_of_the_test_server_brings_synonyms_together(
    embedder: OpenAIEmbedder,
) -> None:
    asked, near, far = await embedder.embed(["データベースの移行", "DBの移行", "蕎麦の店"])
    assert cosine(asked, near) > 0.9 > 0.5 > cosine(asked, far)


async def test_no_texts_ask_nothing(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    assert await embedder.embed([]) == []
    assert server.requests == []


async def test_more_than_2048_texts_go_in_several_requests_and_keep_their_order(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    texts = [f"n{number}" for number in range(2_100)]
    vectors = await embedder.embed(texts)
    assert sorted(len(request.input) for request in server.requests) == [52, 2_048]
    for number in (0, 2_047, 2_048, 2_099):
        assert list(vectors[number]) == pytest.approx(server.vector(texts[number], SMALL), abs=1e-6)


async def test_a_request_never_holds_more_tokens_than_allowed(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    texts = [f"{number} " + "決" * 2_700 for number in range(80)]
    assert len(await embedder.embed(texts)) == 80
    sizes = [sum(len(text.encode()) for text in request.input) for request in server.requests]
    assert len(sizes) == 3
    assert max(sizes) <= 300_000
    assert sorted(server.texts) == sorted(texts)


async def test_requests_under_way_at_once_are_bounded(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    server.always = Fault.late(0.1)
    texts = [f"{number} " + "x" * 8_000 for number in range(37 * 7)]
    await embedder.embed(texts)
    assert len(server.requests) == 7
    assert 2 <= server.most_at_once <= 4


async def test_an_overlong_text_is_cut_to_what_surely_fits(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    await embedder.embed(["移" * 100_000, "x" * 8_191])
    cut, whole = server.texts
    assert cut == "移" * (8_191 // 3)
    assert whole == "x" * 8_191


async def test_the_longest_input_can_be_lowered_for_other_models(server: OpenAIServer) -> None:
    embedder = OpenAIEmbedder(
        api_key=server.key, base_url=server.base_url, dimensions=SMALL, max_input_tokens=512
    )
    await embedder.embed(["x" * 1_000])
    await embedder.close()
    assert server.texts == ["x" * 512]


@pytest.mark.parametrize("text", ["", "\ud800 half a pair", "\x00", "<|endoftext|>", "🎉"])
async def test_odd_texts_still_get_a_vector(embedder: OpenAIEmbedder, text: str) -> None:
    (vector,) = await embedder.embed([text])
    assert hypot(*vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.rate_limited(),
        Fault.rate_limited(retry_after=0.01),
        Fault.rate_limited(retry_after="Mon, 01 Jan 2024 00:00:00 GMT"),
        Fault.rate_limited(retry_after="soon"),
        Fault.failing(500),
        Fault.failing(503),
        Fault.failing(408),
        Fault.cut_off(),
    ],
    ids=lambda fault: f"{fault.status}-{fault.headers.get('Retry-After')}-{fault.cuts}",
)
async def test_a_passing_fault_is_tried_again(
    server: OpenAIServer, embedder: OpenAIEmbedder, fault: Fault
) -> None:
    server.script(fault, fault)
    (vector,) = await embedder.embed(["決定"])
    assert list(vector) == pytest.approx(server.vector("決定", SMALL), abs=1e-6)
    assert len(server.requests) == 3


async def test_retry_after_is_waited_for(server: OpenAIServer, embedder: OpenAIEmbedder) -> None:
    server.script(Fault.rate_limited(retry_after=0.3))
    started = asyncio.get_running_loop().time()
    await embedder.embed(["決定"])
    assert asyncio.get_running_loop().time() - started >= 0.3


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_long_retry_after_fails_at_once(
    server: OpenAIServer, embedder: OpenAIEmbedder, form: str
) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    retry_after = 3_600 if form == "seconds" else in_an_hour
    server.always = Fault.rate_limited(retry_after=retry_after)
    with pytest.raises(EmbeddingFailed, match=r"asks to wait 3[56]\d\d s"):
        await embedder.embed(["決定"])
    assert len(server.requests) == 1


async def test_retries_are_bounded_in_number(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    server.always = Fault.failing(500)
    with pytest.raises(EmbeddingFailed, match=r"answered HTTP 500 \(tried 4 times\)"):
        await embedder.embed(["決定"])
    assert len(server.requests) == 4


async def test_a_late_answer_is_asked_for_again(server: OpenAIServer) -> None:
    embedder = OpenAIEmbedder(
        api_key=server.key, base_url=server.base_url, dimensions=SMALL, timeout=0.5
    )
    server.script(Fault.late(30))
    assert len(await embedder.embed(["決定"])) == 1
    await embedder.close()
    assert len(server.requests) == 2


async def test_a_silent_server_fails_within_the_deadline(server: OpenAIServer) -> None:
    embedder = OpenAIEmbedder(
        api_key=server.key, base_url=server.base_url, dimensions=SMALL, timeout=0.2, deadline=0.5
    )
    await embedder.embed(["the connection is open and the library loaded"])
    server.always = Fault.late(30)
    started = asyncio.get_running_loop().time()
    with pytest.raises(EmbeddingFailed, match="gave no answer within"):
        await embedder.embed(["決定"])
    assert asyncio.get_running_loop().time() - started < 2
    await embedder.close()


async def test_a_server_that_is_not_there_fails_in_one_sentence() -> None:
    async with OpenAIServer() as gone:
        base_url = gone.base_url
    embedder = OpenAIEmbedder(api_key="sk-secret", base_url=base_url, max_retries=1)
    with pytest.raises(EmbeddingFailed, match=r"can't be reached .*\(tried 2 times\)\.$"):
        await embedder.embed(["決定"])
    await embedder.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.wrong_dimension(), "a vector of 3 dimensions where EMBEDDING_DIMENSIONS is 64"),
        (Fault.missing_item(), "1 vectors that do not match the 2 texts"),
        (Fault.duplicate_index(), "2 vectors that do not match the 2 texts"),
        (Fault.not_a_number(), "a vector without a direction"),
        (Fault.no_direction(), "a vector without a direction"),
        (Fault.garbage(), "not in the embeddings protocol"),
        (Fault.garbage(b"<html>busy</html>"), "not in the embeddings protocol"),
        (Fault.garbage(b"[]"), "not in the embeddings protocol"),
        (Fault.garbage(b'{"data": null}'), "not in the embeddings protocol"),
        (Fault.garbage(b'{"data": ["x", "y"]}'), "not in the embeddings protocol"),
        (
            Fault.garbage(b'{"data": [{"index": 0, "embedding": "?"}, {"index": 1}]}'),
            "not in the embeddings protocol",
        ),
        (
            Fault.garbage(
                b'{"data": [{"index": 0, "embedding": "?"}, {"index": 1, "embedding": "?"}]}'
            ),
            "not made of numbers",
        ),
        (
            Fault.garbage(
                b'{"data": [{"index": 0, "embedding": [null]}, {"index": 1, "embedding": []}]}'
            ),
            "not made of numbers",
        ),
        (Fault.out_of_quota(), "the account's quota is used up"),
        (Fault.unauthorized(), "refused the key .*check OPENAI_API_KEY"),
        (Fault.failing(404), "answered HTTP 404: scripted fault 404"),
        (Fault.failing(400), "answered HTTP 400: scripted fault 400"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_lasting_fault_fails_after_one_request(
    server: OpenAIServer, embedder: OpenAIEmbedder, fault: Fault, words: str
) -> None:
    server.always = fault
    with pytest.raises(EmbeddingFailed, match=words):
        await embedder.embed(["決定", "学び"])
    assert len(server.requests) == 1


async def test_items_out_of_order_are_put_back(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    server.script(Fault.out_of_order())
    first, second = await embedder.embed(["決定", "学び"])
    assert list(first) == pytest.approx(server.vector("決定", SMALL), abs=1e-6)
    assert list(second) == pytest.approx(server.vector("学び", SMALL), abs=1e-6)


async def test_vectors_are_brought_to_length_one(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    server.script(Fault.too_long(7.0))
    (vector,) = await embedder.embed(["決定"])
    assert hypot(*vector) == pytest.approx(1, abs=1e-6)


async def test_one_failed_batch_fails_the_call_and_stops_the_others(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    server.script(Fault.failing(400))
    server.always = Fault.late(30)
    with pytest.raises(EmbeddingFailed, match="answered HTTP 400"):
        await embedder.embed(["x" * 8_000] * (37 * 3))
    assert len(server.requests) <= 3


async def test_cancelling_ends_the_request_and_the_embedder_stays_usable(
    server: OpenAIServer, embedder: OpenAIEmbedder
) -> None:
    await embedder.embed(["the library is loaded"])
    server.script(Fault.late(30))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await embedder.embed(["決定"])
    assert len(await embedder.embed(["決定"])) == 1


async def test_models_that_take_no_dimensions_are_not_sent_any() -> None:
    async with OpenAIServer(default_dimensions=48, key=None, ignores_encoding=True) as server:
        embedder = OpenAIEmbedder(
            api_key=None, model="nomic-embed-text", dimensions=48, base_url=server.base_url
        )
        (vector,) = await embedder.embed(["決定"])
        await embedder.close()
        assert "dimensions" not in server.requests[0].body
        assert list(vector) == pytest.approx(server.vector("決定", 48), abs=1e-6)


async def test_a_closed_embedder_can_be_used_again(embedder: OpenAIEmbedder) -> None:
    before = await embedder.embed(["決定"])
    await embedder.close()
    await embedder.close()
    assert await embedder.embed(["決定"]) == before


@pytest.mark.parametrize(
    "fault", [Fault.unauthorized(), Fault.failing(400), Fault.cut_off(), Fault.garbage()]
)
async def test_the_key_is_in_no_message_repr_or_log(
    server: OpenAIServer, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-wrong-key-0123456789"
    server.always = fault
    embedder = OpenAIEmbedder(
        api_key=key, base_url=server.base_url, dimensions=SMALL, max_retries=1
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(EmbeddingFailed) as failure:
        await embedder.embed(["決定"])
    await embedder.close()
    shown = "".join(traceback.format_exception(failure.value))
    assert key not in shown + repr(failure.value) + repr(embedder)
    assert failure.value.__context__ is None
    assert "\n" not in str(failure.value)
    assert caplog.records
    assert key not in "".join(record.getMessage() for record in caplog.records)


async def test_a_key_echoed_by_the_server_is_masked(server: OpenAIServer) -> None:
    server.key = None
    embedder = OpenAIEmbedder(
        api_key="opaque-key-0123456789", base_url=server.base_url + "/opaque-key-0123456789"
    )
    with pytest.raises(EmbeddingFailed, match=r"HTTP 404: Invalid URL \(POST /v1/\*\*\*/embed"):
        await embedder.embed(["決定"])
    await embedder.close()


@pytest.mark.parametrize("key", ["sk-with space", "sk-ключ", "sk-new\nline"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as failure:
        OpenAIEmbedder(api_key=key)
    assert key not in str(failure.value)


def test_the_model_names_its_dimensions_too() -> None:
    assert OpenAIEmbedder(api_key="k").model == "text-embedding-3-small@1536"
    assert OpenAIEmbedder(api_key="k", model="text-embedding-3-large").dimensions == 3072
    assert OpenAIEmbedder(api_key="k", dimensions=512).model == "text-embedding-3-small@512"


def test_an_unknown_model_needs_its_dimensions() -> None:
    with pytest.raises(ConfigurationError, match="EMBEDDING_DIMENSIONS"):
        OpenAIEmbedder(api_key="k", model="bge-m3")


def test_importing_and_building_does_not_load_the_library() -> None:
    code = (
        "import sys\n"
        "from nakamura_misaki.adapters.secondary.openai_embedder import OpenAIEmbedder\n"
        "OpenAIEmbedder(api_key='k')\n"
        "assert 'openai' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
