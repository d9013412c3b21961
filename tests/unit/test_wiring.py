"""What the command line is wired to, as far as it needs no server."""

from pathlib import Path

import pytest

from adapters.inbound.cli.doctor import Finding, examine
from worker.wiring import SettingsWiring


@pytest.fixture
def findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """A store whose folder is a file, a broker that is there, one upstream file that is there and one that is not."""
    (tmp_path / "prices.csv").write_text("security_id,price\n")
    for name, value in {
        "STATE_DIR": str(tmp_path),
        "STORE_URL": f"sqlite:///{tmp_path}/prices.csv/trimtab.db",
        "BROKER_URL": "memory://",
        "PRICING_URL": f"file:{tmp_path}/prices.csv",
        "SECURITIES_URL": "",
        "ACCOUNTING_URL": f"file:{tmp_path}/no%20such.csv",
    }.items():
        monkeypatch.setenv(f"TRIMTAB_{name}", value)
    looked_at = {"store", "broker", "result queue", "pricing", "securities", "accounting"}
    return {probe.name: examine(probe) for probe in SettingsWiring().probes() if probe.name in looked_at}


def test_the_doctor_does_not_blame_the_broker_for_the_store(findings: dict[str, Finding]) -> None:
    assert findings["store"].status == "red"
    assert findings["broker"].status == findings["result queue"].status == "ok"


def test_the_doctor_finds_an_upstream_file_that_is_not_there(findings: dict[str, Finding]) -> None:
    assert findings["pricing"].status == findings["securities"].status == "ok"
    assert findings["accounting"].status == "red"
    assert "no such.csv" in findings["accounting"].detail
