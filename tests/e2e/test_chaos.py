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
@pytest.mark.parametrize(("slice_portfolios", "kills", "portfolios"), [(1, 6, 60), (8, 4, 40)])
def test_a_few_kills_break_no_promise(slice_portfolios: int, kills: int, portfolios: int) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.chaos",
            *("--kills", str(kills), "--portfolios", str(portfolios), "--seed", "7", "--seconds", "90"),
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
    whole = {report[name] for name in ("results", "published", "distinct_ids", "portfolios")}
    assert whole == {portfolios}
    assert report["max_in_flight"] <= report["parallelism"]
    assert sum(report["kills"].values()) >= 1
