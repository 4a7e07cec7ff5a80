"""The service as the real process that systemd runs: how it starts, serves, stops, and refuses to start."""

import asyncio
import os
import pty
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.command import MODULE, Command
from integration.service_process import PATIENCE, TOKEN, ServiceProcess, metric
from openai_server import Fault, OpenAIServer

SLOW = 1.5


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> ServiceProcess:
    return ServiceProcess(tmp_path, DATABASE_URL=database_url)


async def test_serves_until_it_is_told_to_stop(service: ServiceProcess) -> None:
    with service:
        async with service.client() as client:
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).json() == {"status": "ready"}
            made = await client.post(
                "/v1/tasks",
                json={"title": "API統合テスト", "assignee_user_id": "U1", "creator_user_id": "U1"},
            )
            assert made.status_code == 201, made.text
            listed = await client.get("/v1/tasks", params={"user_id": "U1"})
            assert listed.status_code == 200
            assert "API統合テスト" in listed.text
            refused = await client.get("/v1/tasks", headers={"Authorization": "Bearer wrong"})
            assert refused.status_code == 401
            assert "server" not in refused.headers
            scraped = (await client.get("/metrics")).text
        families = {family.name for family in text_string_to_metric_families(scraped)}
        assert all(name.startswith("nakamura_misaki_") for name in families)
        assert metric(scraped, "database_up") == 1
        for method, route, status in (
            ("POST", "/v1/tasks", 201),
            ("GET", "/v1/tasks", 200),
            ("GET", "/v1/tasks", 401),
        ):
            labels = f'method="{method}",route="{route}",status="{status}"'
            assert metric(scraped, f"http_requests_total{{{labels}}}") == 1
        assert metric(scraped, 'query_duration_seconds_count{operation="task.create"}') == 1
        assert service.end() == 0
    assert "Traceback" not in service.log
    assert "<3>" not in service.log
    assert "SteadyQueuePool" not in service.log


def test_systemd_hears_that_it_is_ready_lives_and_stops(tmp_path: Path, database_url: str) -> None:
    service = ServiceProcess(tmp_path, DATABASE_URL=database_url, WATCHDOG_USEC="200000")
    with service:
        assert service.url.startswith("http://127.0.0.1:")
        service.wait_until_told("WATCHDOG=1")
        service.wait_until_told("WATCHDOG=1")
        service.signal(signal.SIGTERM)
        assert "STATUS=finishing" in service.wait_until_told("STOPPING=1")
        assert service.wait() == 0


async def test_request_in_flight_is_finished_and_no_other_let_in(
    tmp_path: Path, database_url: str
) -> None:
    with OpenAIServer() as embeddings:
        embeddings.always = Fault(delay=SLOW)
        service = ServiceProcess(
            tmp_path,
            DATABASE_URL=database_url,
            EMBEDDING_PROVIDER="openai",
            OPENAI_API_KEY=embeddings.key or "",
            OPENAI_BASE_URL=embeddings.base_url,
        )
        with service:
            async with service.client() as client:
                asked = client.get("/v1/notes/search", params={"q": "移行", "user_id": "U1"})
                slow = asyncio.create_task(asked)
                while not embeddings.requests:  # noqa: ASYNC110  (the server runs in a thread)
                    await asyncio.sleep(0.01)
                began = time.monotonic()
                service.signal(signal.SIGTERM)
                service.wait_until_told("STOPPING=1")
                answer = await slow
                assert answer.status_code == 200
                assert answer.json()["legs"] == ["vector", "words"]
            assert service.wait() == 0
            assert time.monotonic() - began < 10
            async with service.client() as client:
                with pytest.raises(httpx.ConnectError):
                    await client.get("/health/live")


async def test_second_signal_ends_it_at_once(tmp_path: Path, database_url: str) -> None:
    with OpenAIServer() as embeddings:
        embeddings.always = Fault(delay=20)
        service = ServiceProcess(
            tmp_path,
            DATABASE_URL=database_url,
            EMBEDDING_PROVIDER="openai",
            EMBEDDING_QUERY_TIMEOUT="20",
            EMBEDDING_TIMEOUT="20",
            OPENAI_API_KEY=embeddings.key or "",
            OPENAI_BASE_URL=embeddings.base_url,
        )
        with service:
            async with service.client() as client:
                asked = client.get("/v1/notes/search", params={"q": "移行", "user_id": "U1"})
                slow = asyncio.create_task(asked)
                while not embeddings.requests:  # noqa: ASYNC110  (the server runs in a thread)
                    await asyncio.sleep(0.01)
                service.signal(signal.SIGINT)
                service.wait_until_told("STOPPING=1")
                began = time.monotonic()
                service.signal(signal.SIGINT)
                assert service.wait() == 130
                assert time.monotonic() - began < 3
                [given_up] = await asyncio.gather(slow, return_exceptions=True)
                assert isinstance(given_up, httpx.HTTPError) or given_up.status_code == 503


def test_terminal_shows_where_it_listens_and_how_to_go_on(
    tmp_path: Path, database_url: str
) -> None:
    environment = Command(tmp_path, DATABASE_URL=database_url).environment | {"TERM": "xterm"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*MODULE, "serve", "--port", "0", "--with-jobs"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            shown = b""
            while b"Stop with Ctrl-C." not in shown:
                shown += terminal.read(4096)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    [port] = re.findall(r"API +http://127\.0\.0\.1:(\d+)/v1 ", text)
    assert f"http://127.0.0.1:{port}/health/ready" in text
    assert "Slack   off (set SLACK_BOT_TOKEN and SLACK_APP_TOKEN to have it)" in text
    assert "jobs    reminders, vectors and pruning run in this process" in text
    assert re.search(r"nakamura-misaki token create NAME\r\n", text)


def refusal(directory: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and the last line of a service that does not start."""
    done = Command(directory, **settings)("serve", "--port", "0", *arguments)
    assert done.stdout == ""
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_taken_port_is_one_sentence(tmp_path: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refusal(tmp_path, "--port", str(port), DATABASE_URL=database_url)
    assert code == 5
    assert error == (
        f"Error: the service can't listen on port {port} of 127.0.0.1 (address already in use):"
        " choose another with --port and --host, or API_PORT and API_HOST."
    )


def test_unknown_host_is_one_sentence(tmp_path: Path, database_url: str) -> None:
    code, error = refusal(tmp_path, "--host", "host.invalid", DATABASE_URL=database_url)
    assert code == 5
    assert error.startswith("Error: the service can't listen on port 0 of host.invalid (")


def test_database_that_does_not_come_up_is_one_sentence(tmp_path: Path) -> None:
    began = time.monotonic()
    code, error = refusal(
        tmp_path, DATABASE_URL="postgresql://u:hush-hush@127.0.0.1:1/d", STARTUP_TIMEOUT="1"
    )
    assert code == 6
    assert error.startswith("Error: The database can't be reached (")
    assert error.endswith(
        "The service waited 1 s for it: check DATABASE_URL, and that the server runs."
    )
    assert "hush-hush" not in error
    assert time.monotonic() - began < 10


def test_directory_that_can_not_be_used_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    code, error = refusal(
        tmp_path, STORAGE_BACKEND="json", JSON_DATA_DIR=str(file), STARTUP_TIMEOUT="1"
    )
    assert code == 6
    assert error == (
        f"Error: {file} can't be read and written; check JSON_DATA_DIR."
        " The service waited 1 s for it."
    )


async def test_old_schema_is_one_sentence(
    tmp_path: Path, database_url: str, look: asyncpg.Connection
) -> None:
    await look.execute("UPDATE alembic_version SET version_num = '0003'")
    code, error = await asyncio.to_thread(refusal, tmp_path, DATABASE_URL=database_url)
    assert code == 7
    assert error.endswith("run: nakamura-misaki init-db")


def test_vectors_of_another_model_are_one_sentence(tmp_path: Path, database_url: str) -> None:
    other = Command(tmp_path, DATABASE_URL=database_url, EMBEDDING_DIMENSIONS="64")
    assert other("note", "add", "覚え書き").returncode == 0
    code, error = refusal(tmp_path, DATABASE_URL=database_url)
    assert code == 5
    assert "hashing-v1@64" in error
    assert error.endswith("nakamura-misaki reembed")


def test_rollback_to_json_files_serves(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    service = ServiceProcess(tmp_path, STORAGE_BACKEND="json", JSON_DATA_DIR=str(directory))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with service:
        note = {"content": "DB移行は10月に決定した。", "user_id": "U1"}
        made = httpx.post(f"{service.url}/v1/notes", json=note, headers=headers)
        assert made.status_code == 201, made.text
        asked = {"q": "DB移行の決定事項は？", "user_id": "U1"}
        found = httpx.get(f"{service.url}/v1/notes/search", params=asked, headers=headers)
        assert found.json()["legs"] == ["words"]
        assert found.json()["skipped"] == {"vector": "not_stored"}
        assert len(found.json()["results"]) == 1
        assert metric(httpx.get(f"{service.url}/metrics").text, "database_up") == 1
        assert service.end() == 0


SECRETS = {
    "OPENAI_API_KEY": "sk-test-0123456789abcdef",
    "API_TOKENS": TOKEN,
    "SLACK_BOT_TOKEN": "xoxb-000-hush-bot-0123456789",
    "SLACK_SIGNING_SECRET": "hush0signing0secret0123456789abcd",
}


async def test_no_secret_shows_anywhere_at_debug_level(tmp_path: Path, database_url: str) -> None:
    with OpenAIServer(key=SECRETS["OPENAI_API_KEY"]) as embeddings:
        service = ServiceProcess(
            tmp_path,
            "--with-jobs",
            DATABASE_URL=database_url,
            EMBEDDING_PROVIDER="openai",
            OPENAI_API_KEY=SECRETS["OPENAI_API_KEY"],
            OPENAI_BASE_URL=embeddings.base_url,
            SLACK_BOT_TOKEN=SECRETS["SLACK_BOT_TOKEN"],
            SLACK_SIGNING_SECRET=SECRETS["SLACK_SIGNING_SECRET"],
            SLACK_MODE="off",
            LOG_LEVEL="debug",
        )
        with service:
            made = service.command.json("token", "create", "ci")
            texts = []
            async with service.client() as client:
                for token in (TOKEN, made["token"], "nmk.ZGVmYXVsdA.0.wrong-but-secret"):
                    headers = {"Authorization": f"Bearer {token}", "X-Request-ID": "req-42"}
                    asked = {"q": "移行", "user_id": "U1"}
                    answer = await client.get("/v1/notes/search", params=asked, headers=headers)
                    texts.append(answer.text)
                texts.append((await client.get("/metrics")).text)
                texts.append((await client.get("/health/ready")).text)
            arguments = service.arguments
            assert service.end() == 0
        texts += [service.log, arguments, *service.told]
    everything = "\n".join(texts)
    assert "[req-42] " in service.log
    assert "nakamura_misaki.query: [req-42] note.search took" in service.log
    for secret in (*SECRETS.values(), made["token"], "wrong-but-secret"):
        assert secret not in everything, secret


async def test_embedding_server_dies_in_the_middle_of_the_day(
    tmp_path: Path, database_url: str
) -> None:
    with OpenAIServer() as embeddings:
        port = int(embeddings.base_url.rpartition(":")[2].partition("/")[0])
        key = embeddings.key or ""
        service = ServiceProcess(
            tmp_path,
            DATABASE_URL=database_url,
            EMBEDDING_PROVIDER="openai",
            OPENAI_API_KEY=key,
            OPENAI_BASE_URL=embeddings.base_url,
        )
        service.__enter__()
        client = service.client()
        try:
            await note(client, "朝の覚え書き: DB移行は10月に決定した。")
            assert (await legs(client))["legs"] == ["vector", "words"]
            embeddings.stop()

            for number in range(4):
                await note(client, f"昼の覚え書き{number}: DB移行の手順を決定した。")
                answer = await legs(client)
                assert answer["legs"] == ["words"]
                assert answer["skipped"] == {"vector": "embedding_failed"}
                assert len(answer["results"]) == number + 2
            scraped = (await client.get("/metrics")).text
            assert metric(scraped, "embedder_suspended") == 1
            assert metric(scraped, "embedding_failures_total") == 3
            assert (
                metric(scraped, 'search_legs_skipped_total{leg="vector",reason="embedding_failed"}')
                == 4
            )
            assert (await client.get("/health/ready")).status_code == 200

            with OpenAIServer(port=port, key=key):
                assert service.command.json("embed-pending")["embedded"] == 4
                while (answer := await legs(client))["legs"] != ["vector", "words"]:  # noqa: ASYNC110  (it tries every 5 s)
                    await asyncio.sleep(0.2)
                assert len(answer["results"]) == 5
                assert all("vector" in found["legs"] for found in answer["results"])
                scraped = (await client.get("/metrics")).text
                assert metric(scraped, "embedder_suspended") == 0
        finally:
            await client.aclose()
            assert service.end() == 0


async def note(client: httpx.AsyncClient, content: str) -> None:
    answer = await client.post("/v1/notes", json={"content": content, "user_id": "U1"})
    assert answer.status_code == 201, answer.text


async def legs(client: httpx.AsyncClient) -> dict[str, object]:
    asked = {"q": "DB移行の決定事項は？", "user_id": "U1"}
    answer = await client.get("/v1/notes/search", params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found
