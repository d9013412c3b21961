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
@pytest.mark.parametrize("slice_portfolios", [1, 8])
def test_ten_kills_over_a_hundred_portfolios_break_no_promise(slice_portfolios: int) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.chaos",
            *("--kills", "10", "--portfolios", "100", "--seed", "7", "--seconds", "90"),
            *("--slice", str(slice_portfolios)),
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
