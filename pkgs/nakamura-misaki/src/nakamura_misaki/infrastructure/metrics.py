"""What the service measures of itself, for Prometheus; and its query log.

Every name begins with ``nakamura_misaki_``, every duration is in seconds, and no
label's values come from a user: they are the code's own operations, the API's
routes, and words of closed vocabularies.

What is measured with every statement is measured often, so that no metric's
``labels()`` is called on the way: its children are kept at hand.
"""

import gc
import logging
import math
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nakamura_misaki import __version__
from nakamura_misaki.domain.note import Leg, LegSkipped
from nakamura_misaki.infrastructure.backup.status import read_status
from nakamura_misaki.infrastructure.database.manager import PoolStatus
from nakamura_misaki.infrastructure.histograms import MOST_SERIES, OTHER, Histogram

NAMESPACE = "nakamura_misaki"
QUERY_BUCKETS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""From a lookup by key to a statement that is about to be ended, in seconds."""

LAG_BUCKETS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
"""From a reminder in time to one that a day's outage held up, in seconds."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

query_log = logging.getLogger("nakamura_misaki.query")


class Metrics:
    """All metrics of one process, in a registry of their own. Implements ``Observer``.

    A statement that took ``slow_query_seconds`` or longer is a warning in the log
    ``nakamura_misaki.query``; at debug level every statement is there.
    """

    def __init__(self, *, slow_query_seconds: float = math.inf) -> None:
        # They are a second series for each, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.registry = CollectorRegistry()
        self._slow = slow_query_seconds
        waits = self._histogram("pool_wait_seconds", "Wait for a connection of the pool.")
        self._wait = waits.of()
        self._queries = self._histogram(
            "query_duration_seconds", "Time of a statement.", "operation"
        )
        self._query_failures = self._counters(
            "query_failures", "Statements that failed.", "operation"
        )
        self._searches = self._histogram(
            "search_duration_seconds", "Time of a search of notes.", "legs"
        )
        self._skipped = self._counters(
            "search_legs_skipped", "Searches that a leg missed.", "leg", "reason"
        )
        self._embedding = self._histogram(
            "embedding_duration_seconds", "Time of a request for vectors, retries included."
        )
        self._embedded_texts = self._counter("embedded_texts", "Texts that were given a vector.")
        self._embedding_failures = self._counter(
            "embedding_failures", "Requests for vectors that failed."
        )
        self._suspended = self._gauge(
            "embedder_suspended", "1 while the embedder is left alone because it failed too often."
        )
        self._answers = self._counters(
            "http_requests", "Answers given.", "method", "route", "status"
        )
        self._answer_seconds = self._histogram(
            "http_request_duration_seconds", "Time until an answer was sent.", "method", "route"
        )
        self._slack_events = self._counters("slack_events", "Events from Slack.", "kind", "outcome")
        self._reminders = self._counters("reminders", "Reminders of handoffs.", "outcome")
        self._reminder_lag = self._histogram(
            "reminder_lag_seconds",
            "From when a reminder was due until it was sent.",
            buckets=LAG_BUCKETS,
        )
        self.database_up = self._gauge("database_up", "Whether the database answers.")
        self.pending_embeddings = self._gauge(
            "pending_embeddings", "Notes of the own workspace without a vector; NaN: not known."
        )
        self.pending_embeddings.set(math.nan)
        build = self._gauge("build_info", "Which release runs, on what.", "version", "python")
        build.labels(__version__, platform.python_version()).set(1)
        _Process(namespace=NAMESPACE, registry=self.registry)
        self.registry.register(_GarbageCollection())

    def watch_pool(self, status: Callable[[], PoolStatus]) -> None:
        """Read the pool's state at every scrape."""
        self.registry.register(_Pool(status))

    def watch_backups(self, status_file: Path) -> None:
        """Read at every scrape what backups noted in that file."""
        self.registry.register(_Backups(status_file))

    def queried(self, operation: str, seconds: float, *, failed: bool) -> None:
        self._queries.of(operation).observe(seconds)
        if failed:
            self._query_failures.of(operation).inc()
        if seconds >= self._slow:
            query_log.warning("%s took %.0f ms%s", operation, 1000 * seconds, _how(failed))
        elif query_log.isEnabledFor(logging.DEBUG):
            query_log.debug("%s took %.2f ms%s", operation, 1000 * seconds, _how(failed))

    def waited(self, seconds: float) -> None:
        self._wait.observe(seconds)

    def searched(
        self, legs: tuple[Leg, ...], skipped: Mapping[Leg, LegSkipped], seconds: float
    ) -> None:
        self._searches.of("+".join(legs)).observe(seconds)
        for leg, reason in skipped.items():
            self._skipped.of(leg, reason).inc()

    def embedded(self, texts: int, seconds: float, *, failed: bool) -> None:
        self._embedding.of().observe(seconds)
        if failed:
            self._embedding_failures.inc()
        else:
            self._embedded_texts.inc(texts)

    def embedder_suspended(self, is_suspended: bool) -> None:
        self._suspended.set(is_suspended)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered; ``route`` is its template, such as ``/v1/tasks/{task_id}``."""
        if method not in _METHODS:
            method = OTHER
        self._answers.of(method, route, str(status)).inc()
        self._answer_seconds.of(method, route).observe(seconds)

    def slack_event(self, kind: str, outcome: str) -> None:
        """An event of Slack's was dealt with."""
        self._slack_events.of(kind, outcome).inc()

    def reminded(self, outcome: str, lag_seconds: float | None = None) -> None:
        """A reminder was sent, or not; if it was, so long after it was due."""
        self._reminders.of(outcome).inc()
        if lag_seconds is not None:
            self._reminder_lag.of().observe(max(0.0, lag_seconds))

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, namespace=NAMESPACE, registry=self.registry)

    def _counters(self, name: str, what: str, *labels: str) -> "_Counters":
        return _Counters(self._counter(name, what, *labels))

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, labels, namespace=NAMESPACE, registry=self.registry)

    def _histogram(
        self, name: str, what: str, *labels: str, buckets: tuple[float, ...] = QUERY_BUCKETS
    ) -> Histogram:
        return Histogram(f"{NAMESPACE}_{name}", what, labels, buckets, self.registry)


class _Counters:
    """A counter's children by their labels' values, never more than MOST_SERIES."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._known: dict[tuple[str, ...], Counter] = {}

    def of(self, *values: str) -> Counter:
        known = self._known.get(values)
        return known if known is not None else self._add(values)

    def _add(self, values: tuple[str, ...]) -> Counter:
        if len(self._known) >= MOST_SERIES:
            values = (OTHER,) * len(values)
        made = self._known[values] = self._counter.labels(*values)
        return made


class _Pool(Collector):
    def __init__(self, status: Callable[[], PoolStatus]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        status = self._status()
        for name, what, value in (
            ("size", "Connections that are kept (POOL_SIZE).", status.pool_size),
            ("max_overflow", "Connections beyond that (MAX_OVERFLOW).", status.max_overflow),
            ("opened", "Connections that are open now.", status.opened),
            ("in_use", "Connections that are lent now.", status.in_use),
            ("waiting", "Callers that wait for a connection now.", status.waiting),
        ):
            yield GaugeMetricFamily(f"{NAMESPACE}_pool_{name}", what, value=value)


class _Backups(Collector):
    def __init__(self, status_file: Path) -> None:
        self._status_file = status_file

    def collect(self) -> Iterable[Metric]:
        status = read_status(self._status_file)
        for name, what, value in (
            (
                "last_success_timestamp_seconds",
                "When the last backup was complete; 0: never.",
                status.last_success,
            ),
            ("size_bytes", "Size of that backup.", status.size_bytes),
            (
                "last_failure_timestamp_seconds",
                "When a backup failed last; 0: never.",
                status.last_failure,
            ),
            (
                "verified_timestamp_seconds",
                "When the newest backup was last restored as a test; 0: never.",
                status.verified,
            ),
            (
                "verification_failed",
                "1 if the last such test failed.",
                status.verification_failed,
            ),
        ):
            yield GaugeMetricFamily(f"{NAMESPACE}_backup_{name}", what, value=value)


class _Process(ProcessCollector):
    """Tells of the process also where it may not read /proc/stat: in a unit with ProcSubset=pid."""

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class _GarbageCollection(Collector):
    """What ``prometheus_client.GCCollector`` tells, under our names."""

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            f"{NAMESPACE}_gc_collections", "Garbage collections.", labels=["generation"]
        )
        for generation, statistics in enumerate(gc.get_stats()):
            family.add_metric([str(generation)], statistics["collections"])
        yield family


def _how(failed: bool) -> str:
    return " and failed" if failed else ""
