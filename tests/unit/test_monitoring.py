"""Alerts, dashboard and page name only what is there, and fire when they should."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.metrics.catalogue import ERRORS, METRICS, OTHER, Kind
from tests.support.metrics import table_row

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy/monitoring"
PAGE = (ROOT / "docs/how-to-watch.md").read_text()
NAME = re.compile(r"\btrimtab_\w+")
SELECTOR = re.compile(r"\b(trimtab_\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
# Prometheus adds these to whatever it scrapes.
OF_THE_TARGET = {"instance", "job"}


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((MONITORING / "dashboard.json").read_text()))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Everything that is asked of Prometheus, and by whom."""
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def metric_of(series: str) -> str:
    """The metric a series belongs to: a histogram is asked for by its parts."""
    whole = re.sub(r"_(bucket|count|sum)$", "", series)
    return whole if whole in METRICS and METRICS[whole].kind is Kind.HISTOGRAM else series


def promtool(*arguments: str) -> str:
    """What it says. Where it is not installed: a skip on a laptop, a failure in CI."""
    program = shutil.which("promtool")
    if program is None:
        message = "no promtool: install Prometheus (Debian: prometheus)"
        if os.getenv("CI", "").lower() in {"1", "true"}:
            pytest.fail(message)
        pytest.skip(message)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_names_only_metrics_labels_and_values_that_exist(where: str, expression: str) -> None:
    names = {metric_of(series) for series in NAME.findall(expression)}
    assert names
    assert names <= METRICS.keys(), where
    for series, matchers in SELECTOR.findall(expression):
        metric = METRICS[metric_of(series)]
        labels = {label.name: label.values for label in metric.labels}
        for label, operator, given in MATCHER.findall(matchers):
            if label == "le":
                assert float(given) in metric.buckets, (where, given)
                continue
            assert label in labels, (where, label)
            values = given.split("|") if "~" in operator else [given]
            assert labels[label] is None or {*values} <= {*(labels[label] or ()), OTHER}, (where, given)


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_groups_by_labels_that_its_metrics_have(where: str, expression: str) -> None:
    labels = {"le"} | OF_THE_TARGET | {"version"}
    for series in NAME.findall(expression):
        labels |= {label.name for label in METRICS[metric_of(series)].labels}
    grouped = {
        label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")
    }

    assert grouped <= labels, where


def test_the_page_names_only_metrics_that_exist() -> None:
    assert {metric_of(series) for series in NAME.findall(PAGE)} == METRICS.keys()


def test_the_page_has_every_metric_as_the_code_has_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `trimtab_")]

    assert rows == [table_row(metric) for metric in METRICS.values()]


# ------------------------------------------------------------------------------------------------ alerts


def test_every_alert_says_what_to_do_and_where_that_stands() -> None:
    for alert in alerts():
        name = alert["alert"]
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"] == f"docs/how-to-watch.md#{name.lower()}"
        assert len(section(name)) > 100, name


def test_the_page_tells_of_no_alert_that_is_not_there() -> None:
    assert re.findall(r"^### (Trimtab\w+)$", PAGE, re.MULTILINE) == [alert["alert"] for alert in alerts()]


def section(name: str) -> str:
    found = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return "" if found is None else found[1].strip()


def test_every_alert_is_tested_to_fire_and_all_to_be_silent_on_a_calm_night() -> None:
    nights = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]
    names = [alert["alert"] for alert in alerts()]

    assert [each["alertname"] for each in nights[0]["alert_rule_test"]] == names
    assert not any(each["exp_alerts"] for each in nights[0]["alert_rule_test"])
    fired = {each["alertname"] for night in nights for each in night["alert_rule_test"] if each["exp_alerts"]}
    assert fired == set(names)


def test_the_nights_are_made_of_series_that_exist() -> None:
    nights = yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]
    for night in nights:
        for each in night["input_series"]:
            ((series, matchers),) = SELECTOR.findall(each["series"])
            metric = METRICS[metric_of(series)]
            labels = {label for label, _, _ in MATCHER.findall(matchers)} - OF_THE_TARGET - {"le"}
            assert labels <= {label.name for label in metric.labels}, each["series"]


def test_promtool_accepts_the_rules_and_they_fire_as_their_tests_say() -> None:
    assert "SUCCESS" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts.test.yml")


def test_every_error_of_the_log_is_on_the_list_of_what_needs_somebody() -> None:
    listed = (
        (ROOT / "docs/operations.md").read_text().split("## Lines that need somebody")[1].split("\n## ")[0]
    )

    assert [event for event in ERRORS if f"`{event}`" not in listed] == []


# ------------------------------------------------------------------------------------------------ dashboard


def test_promtool_understands_every_question_of_the_dashboard(tmp_path: Path) -> None:
    asked = [
        {
            "record": "asked:once",
            "labels": {"n": str(number)},
            "expr": expression.replace("$__rate_interval", "5m"),
        }
        for number, (_, expression) in enumerate(expressions())
    ]
    rules = tmp_path / "asked.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))

    assert "SUCCESS" in promtool("check", "rules", str(rules))


def test_the_dashboard_shows_every_metric_there_is() -> None:
    shown = {
        metric_of(series)
        for panel in panels()
        for target in panel["targets"]
        for series in NAME.findall(target["expr"])
    }
    assert shown == METRICS.keys()


def test_the_panels_of_the_dashboard_stand_side_by_side_and_ask_the_chosen_source() -> None:
    everything = dashboard()["panels"]
    cells = [
        (column, row)
        for place in (panel["gridPos"] for panel in everything)
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) <= 23
    assert len({panel["id"] for panel in everything}) == len(everything)
    sources = {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]}
    (variable,) = dashboard()["templating"]["list"]
    assert sources == {f"${{{variable['name']}}}"}
