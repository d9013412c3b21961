"""A short chaos run. `make chaos KILLS=300 PORTFOLIOS=1000` is the long one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
@pytest.mark.integration
@pytest.mark.timeout(300)
def test_ten_kills_over_a_hundred_portfolios_break_no_promise() -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.chaos",
            *("--kills", "10", "--portfolios", "100", "--seed", "7", "--seconds", "90"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )

    report = json.loads(run.stdout.splitlines()[-1])
    assert (run.returncode, report["ok"], report["broken"]) == (0, True, []), run.stderr[-3000:]
    assert report["results"] == report["published"] == report["distinct_ids"] == report["portfolios"] == 100
    assert report["max_in_flight"] <= report["parallelism"]
    assert sum(report["kills"].values()) >= 1
