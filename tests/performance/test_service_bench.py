"""``make bench-service`` runs; what it measures is asked of it elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).with_name("bench_service.py")


def test_service_bench_runs_and_no_request_fails(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--quick", "--only", "observer,load"]
    done = subprocess.run(
        [*command, "--json", "service.json"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "service.json").read_text("utf-8"))["rows"]
    assert [row["section"] for row in rows].count("load") == 12
    [errors] = [row for row in rows if row["what"].startswith("errors in ")]
    assert errors["figure"] == 0, errors["detail"]


def test_service_bench_refuses_what_it_can_not_measure() -> None:
    command = [sys.executable, str(BENCH), "--only", "lode"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "'lode' is none of observer, load, chaos" in done.stderr
