"""What Prometheus is told, read with its own parser."""

import asyncio
import logging
import math
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nakamura_misaki.domain.errors import BackupFailed
from nakamura_misaki.domain.note import Leg, LegSkipped
from nakamura_misaki.infrastructure.backup.status import noted_backup, noted_verification
from nakamura_misaki.infrastructure.database.manager import DatabaseManager, PoolStatus
from nakamura_misaki.infrastructure.histograms import MOST_SERIES
from nakamura_misaki.infrastructure.logging import configure_logging, request_id
from nakamura_misaki.infrastructure.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample: its short name and its labels' values, in the order of their names."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        assert family.name.startswith("nakamura_misaki_"), family.name
        assert family.documentation.endswith((".", "NaN: not known.")), family.name
        for sample in family.samples:
            name = sample.name.removeprefix("nakamura_misaki_")
            found[name, *(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_queries_are_counted_by_operation_in_buckets_from_half_a_millisecond() -> None:
    metrics = Metrics()
    metrics.queried("task.get", 0.0004, failed=False)
    metrics.queried("task.get", 0.003, failed=True)
    metrics.queried("note.search", 12.0, failed=False)
    seen = samples(metrics)

    assert seen["query_duration_seconds_bucket", "0.0005", "task.get"] == 1
    assert seen["query_duration_seconds_bucket", "0.0025", "task.get"] == 1
    assert seen["query_duration_seconds_bucket", "0.005", "task.get"] == 2
    assert seen["query_duration_seconds_bucket", "10.0", "note.search"] == 0
    assert seen["query_duration_seconds_bucket", "+Inf", "note.search"] == 1
    assert seen["query_failures_total", "task.get"] == 1
    assert ("query_failures_total", "note.search") not in seen


def test_searches_are_told_apart_by_the_legs_that_ran() -> None:
    metrics = Metrics()
    metrics.searched((Leg.VECTOR, Leg.WORDS), {}, 0.01)
    metrics.searched((Leg.WORDS,), {Leg.VECTOR: LegSkipped.EMBEDDING_FAILED}, 0.02)
    seen = samples(metrics)

    assert seen["search_duration_seconds_count", "vector+words"] == 1
    assert seen["search_duration_seconds_sum", "words"] == 0.02
    assert seen["search_legs_skipped_total", "vector", "embedding_failed"] == 1


def test_embeddings_reminders_and_slack_events_are_counted() -> None:
    metrics = Metrics()
    metrics.embedded(3, 0.2, failed=False)
    metrics.embedded(5, 3.0, failed=True)
    metrics.embedder_suspended(True)
    metrics.reminded("sent", 42.0)
    metrics.reminded("sent", -0.5)
    metrics.reminded("failed")
    metrics.slack_event("message", "answered")
    seen = samples(metrics)

    assert seen["embedded_texts_total",] == 3
    assert seen["embedding_failures_total",] == 1
    assert seen["embedding_duration_seconds_count",] == 2
    assert seen["embedder_suspended",] == 1
    assert seen["reminders_total", "sent"] == 2
    assert seen["reminders_total", "failed"] == 1
    assert seen["reminder_lag_seconds_count",] == 2
    assert seen["reminder_lag_seconds_sum",] == 42
    assert seen["reminder_lag_seconds_bucket", "60.0"] == 2
    assert seen["slack_events_total", "message", "answered"] == 1
    metrics.embedder_suspended(False)
    assert samples(metrics)["embedder_suspended",] == 0


def test_answers_are_counted_by_route_and_unknown_methods_are_one() -> None:
    metrics = Metrics()
    metrics.answered("GET", "/v1/tasks/{task_id}", 200, 0.004)
    metrics.answered("GET", "/v1/tasks/{task_id}", 404, 0.004)
    for number in range(50):
        metrics.answered(f"BREW{number}", "unmatched", 405, 0.001)
    seen = samples(metrics)

    assert seen["http_requests_total", "GET", "/v1/tasks/{task_id}", "404"] == 1
    assert seen["http_request_duration_seconds_count", "GET", "/v1/tasks/{task_id}"] == 2
    assert seen["http_requests_total", "other", "unmatched", "405"] == 50
    assert not any("BREW" in "".join(key) for key in seen)


def test_labels_are_bounded_whatever_comes() -> None:
    metrics = Metrics()
    for number in range(MOST_SERIES + 100):
        metrics.queried(f"made.up_{number}", 0.001, failed=False)
    seen = samples(metrics)

    assert seen["query_duration_seconds_count", "other"] == 100
    counts = [key for key in seen if key[0] == "query_duration_seconds_count"]
    assert len(counts) == MOST_SERIES + 1
    # What was known before goes on being counted by itself.
    metrics.queried("made.up_0", 0.001, failed=False)
    assert samples(metrics)["query_duration_seconds_count", "made.up_0"] == 2


def test_pool_is_read_at_each_scrape() -> None:
    metrics = Metrics()
    status = PoolStatus(pool_size=10, max_overflow=20, opened=12, in_use=11, waiting=0)
    metrics.watch_pool(lambda: status)
    assert samples(metrics)["pool_in_use",] == 11

    status = PoolStatus(pool_size=10, max_overflow=20, opened=30, in_use=30, waiting=7)
    seen = samples(metrics)
    read = [
        seen[f"pool_{name}",] for name in ("size", "max_overflow", "opened", "in_use", "waiting")
    ]
    assert read == [10, 20, 30, 30, 7]


def test_backups_are_read_at_each_scrape(tmp_path: Path) -> None:
    metrics = Metrics()
    status = tmp_path / "backup.json"
    metrics.watch_backups(status)
    assert {name: value for (name,), value in _backups(metrics).items()} == {
        "backup_last_success_timestamp_seconds": 0,
        "backup_size_bytes": 0,
        "backup_last_failure_timestamp_seconds": 0,
        "backup_verified_timestamp_seconds": 0,
        "backup_verification_failed": 0,
    }
    before = time.time()
    with noted_backup(status) as noted:
        noted["size_bytes"] = 4711
    with pytest.raises(BackupFailed), noted_verification(status):
        raise BackupFailed("it does not restore")
    seen = _backups(metrics)
    assert before <= seen["backup_last_success_timestamp_seconds",] <= time.time()
    assert (seen["backup_size_bytes",], seen["backup_verification_failed",]) == (4711, 1)
    assert seen["backup_last_failure_timestamp_seconds",] == 0

    with pytest.raises(BackupFailed), noted_backup(status):
        raise BackupFailed("the disk is full")
    with noted_verification(status):
        pass
    seen = _backups(metrics)
    assert (
        seen["backup_last_failure_timestamp_seconds",]
        > seen["backup_last_success_timestamp_seconds",]
        >= before
    )
    assert seen["backup_verified_timestamp_seconds",] >= before
    assert seen["backup_verification_failed",] == 0
    status.write_text("garbage")
    assert set(_backups(metrics).values()) == {0}


def _backups(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {key: value for key, value in samples(metrics).items() if key[0].startswith("backup_")}


def test_without_a_status_file_nothing_is_said_of_backups() -> None:
    assert _backups(Metrics()) == {}


def test_the_process_and_the_release_describe_themselves() -> None:
    seen = samples(Metrics())

    assert seen["process_resident_memory_bytes",] > 10_000_000
    assert ("gc_collections_total", "2") in seen
    assert [key[2] for key in seen if key[0] == "build_info"] == ["0.1.0"]
    assert math.isnan(seen["pending_embeddings",])
    assert not any(key[0].endswith("_created") for key in seen)


def test_the_process_is_told_of_where_nothing_but_processes_is_in_proc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = {each.name: each.samples[0].value for each in ProcessCollector(registry=None).collect()}
    real = open

    def without_stat(file: Any, *arguments: Any, **options: Any) -> Any:
        if file == "/proc/stat":
            raise FileNotFoundError(file)
        return real(file, *arguments, **options)

    # What a unit with ProcSubset=pid sees.
    monkeypatch.setattr("builtins.open", without_stat)
    seen = samples(Metrics())

    assert seen["process_resident_memory_bytes",] > 10_000_000
    assert abs(seen["process_start_time_seconds",] - usual["process_start_time_seconds"]) < 2


async def test_a_real_manager_tells_of_operations_waits_and_failures(database_url: str) -> None:
    metrics = Metrics()
    manager = DatabaseManager(database_url, pool_size=1, max_overflow=0, observer=metrics)
    metrics.watch_pool(manager.pool_status)
    try:
        async with manager.connection():
            assert samples(metrics)["pool_in_use",] == 1

            waiting = asyncio.create_task(manager.run(lambda c: c.fetchval("SELECT 1"), name="one"))
            while not manager.pool_status().waiting:  # noqa: ASYNC110  (the pool tells nobody)
                await asyncio.sleep(0)
            assert samples(metrics)["pool_waiting",] == 1
        assert await waiting == 1
        with pytest.raises(Exception, match="division"):
            await manager.run(lambda c: c.fetchval("SELECT 1/0"), name="broken")
    finally:
        await manager.close()
    seen = samples(metrics)
    assert seen["query_duration_seconds_count", "one"] == 1
    assert seen["query_failures_total", "broken"] == 1
    assert seen["pool_wait_seconds_count",] == 3
    assert seen["pool_waiting",] == 0


@pytest.mark.parametrize(
    ("level", "seconds", "expected"),
    [
        ("info", 0.6, "<4>nakamura_misaki.query: [req-1] task.get took 600 ms\n"),
        ("info", 0.4, ""),
        ("debug", 0.0004, "<7>nakamura_misaki.query: [req-1] task.get took 0.40 ms\n"),
    ],
)
def test_query_log_carries_the_request_id(
    level: str, seconds: float, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(level, "journald")
    metrics = Metrics(slow_query_seconds=0.5)
    token = request_id.set("req-1")
    try:
        metrics.queried("task.get", seconds, failed=False)
    finally:
        request_id.reset(token)

    assert capsys.readouterr().err == expected


def test_a_slow_statement_that_failed_says_so(caplog: pytest.LogCaptureFixture) -> None:
    Metrics(slow_query_seconds=0.5).queried("task.get", 60.0, failed=True)

    assert caplog.messages == ["task.get took 60000 ms and failed"]
    assert caplog.records[0].levelno == logging.WARNING
