"""The alerts and the dashboard name what the service really tells, and the runbook explains every alert."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nakamura_misaki.domain.note import Leg, LegSkipped
from nakamura_misaki.infrastructure.database.manager import PoolStatus
from nakamura_misaki.infrastructure.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "modules" / "nakamura-misaki"
OPERATIONS = ROOT / "docs" / "operations.md"
RULE_TESTS = ROOT / "nixos-tests" / "alerts.test.yaml"
SECTION = "What each alert means"
OF_PROMETHEUS = {"job", "instance"}
"""Labels that every sample has once it is scraped."""

_METRIC = re.compile(r"\b(nakamura_misaki_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"""(\w+)\s*(?:=~|!~|!=|=)\s*["']""")

Json = dict[str, Any]
Exposition = Mapping[str, set[str]]


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> Exposition:
    """The samples of a service that has done everything once, and each one's labels."""
    metrics = Metrics()
    metrics.watch_pool(
        lambda: PoolStatus(pool_size=10, max_overflow=20, opened=1, in_use=1, waiting=0)
    )
    metrics.watch_backups(tmp_path_factory.mktemp("status") / "backup.json")
    metrics.queried("task.get", 0.001, failed=True)
    metrics.waited(0.001)
    metrics.searched((Leg.WORDS,), {Leg.VECTOR: LegSkipped.EMBEDDING_FAILED}, 0.01)
    metrics.embedded(1, 0.1, failed=True)
    metrics.answered("GET", "/v1/tasks", 200, 0.01)
    metrics.slack_event("message", "answered")
    metrics.reminded("sent", 1.0)
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
    }


def _rules() -> list[Json]:
    groups = json.loads((MODULE / "alerts.json").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _dashboard() -> Json:
    dashboard: Json = json.loads((MODULE / "dashboard.json").read_text("utf-8"))
    return dashboard


def _strings(value: object, *keys: str) -> Iterator[str]:
    """Every text in a JSON value that stands under one of these keys."""
    if isinstance(value, list):
        for each in value:
            yield from _strings(each, *keys)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in keys and isinstance(each, str):
                yield each
            else:
                yield from _strings(each, *keys)


def _unknown(expression: str, exposition: Exposition) -> list[str]:
    """Metrics that the expression names and the service does not tell, and labels that they lack."""
    unknown = []
    for metric, selector in _METRIC.findall(expression):
        if metric not in exposition:
            unknown.append(metric)
            continue
        labels = set(_LABEL.findall(selector)) - OF_PROMETHEUS
        unknown += sorted(f"{metric}{{{label}}}" for label in labels - exposition[metric])
    return unknown


def _runbook() -> dict[str, str]:
    """The runbook's text on each alert, by the heading."""
    text = OPERATIONS.read_text("utf-8")
    section = re.search(rf"^### {SECTION}\n(.*?)^##?#? ", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/operations.md has no section {SECTION!r}"
    parts = re.split(r"^#### (.+)\n", section[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_alerts_are_on_metrics_that_the_service_tells(exposition: Exposition) -> None:
    expressions = list(_strings(_rules(), "expr"))

    assert len(expressions) == len(_rules()) > 0
    assert [each for one in expressions for each in _unknown(one, exposition)] == []


def test_the_dashboard_shows_metrics_that_the_service_tells(exposition: Exposition) -> None:
    expressions = list(_strings(_dashboard(), "expr", "query", "definition"))

    assert expressions
    assert [each for one in expressions for each in _unknown(one, exposition)] == []


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("nakamura_misaki_database_up == 0", []),
        ("rate(nakamura_misaki_search_duration_seconds[5m])", ["search_duration_seconds"]),
        ("rate(nakamura_misaki_search_duration_seconds_count[5m])", []),
        ("sum(nakamura_misaki_slack_events{job='a'})", ["slack_events"]),
        ("nakamura_misaki_slack_events_total{job='a', kind=~'x', name!=\"y\"}", ["slack_events_total{name}"]),
    ],
)  # fmt: skip
def test_a_metric_or_a_label_that_is_not_there_is_noticed(
    expression: str, unknown: list[str], exposition: Exposition
) -> None:
    assert _unknown(expression, exposition) == [f"nakamura_misaki_{each}" for each in unknown]


def test_every_alert_says_what_happened_and_where_to_read_on() -> None:
    names = [rule["alert"] for rule in _rules()]

    assert len(set(names)) == len(names)
    for rule in _rules():
        texts = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert len(texts["summary"].split()) > 3, rule["alert"]
        assert texts["description"].endswith("."), rule["alert"]
        assert texts["runbook_url"] == f"@runbook@#{rule['alert'].lower()}"


def test_the_runbook_explains_every_alert_and_no_other() -> None:
    runbook = _runbook()

    assert list(runbook) == [rule["alert"] for rule in _rules()]
    for name, text in runbook.items():
        assert len(text.split()) > 20, name
    for rule in _rules():
        severity = rule["labels"]["severity"]
        assert runbook[rule["alert"]].lstrip().startswith(f"*{severity}*"), rule["alert"]


def test_every_alert_is_seen_to_fire_and_to_be_silent_by_promtool() -> None:
    text = RULE_TESTS.read_text("utf-8")
    firing = re.findall(r"- alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:", text)
    silent = re.findall(r"- \{ alertname: (\w+), eval_time: \w+ \}", text)

    names = {rule["alert"] for rule in _rules()}
    assert set(firing) == names
    assert set(silent) == names


def test_the_dashboard_can_be_imported_anywhere() -> None:
    dashboard = _dashboard()
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]

    assert len(set(ids)) == len(ids)
    assert dashboard["id"] is None
    # No data source of one Grafana: whoever imports it chooses.
    assert set(_strings(dashboard, "uid")) == {"nakamura-misaki", "${datasource}"}
    for panel in panels:
        assert panel["title"]
        assert panel["type"] == "row" or list(_strings(panel["targets"], "expr"))


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in _dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]
