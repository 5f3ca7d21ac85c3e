"""The alerts: for each, promtool shows when it fires and when not, and each links to the runbook."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.equipment.pages import anchors
from tests.equipment.requirements import require_program
from tests.equipment.support import ROOT
from watcher.protocol import DeathReason
from watcher.telemetry.metrics import Metrics

FOLDER = ROOT / "deploy" / "prometheus"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))
CASES = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text("utf-8"))["tests"]
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
SERIES_OF_PROMETHEUS = {"up"}


def promtool(*arguments: object, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    """Run promtool and return its result."""
    require_program("promtool", "run `make services`, or install the package prometheus.")
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd)


def test_promtool_accepts_the_rules():
    checked = promtool("check", "rules", "alerts.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in checked.stdout + checked.stderr


def test_every_case_has_its_expected_result():
    tested = promtool("test", "rules", "alerts_test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("alert", [alert["alert"] for alert in ALERTS])
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet(alert: str):
    assert any(alert in _fired(case) for case in CASES if case["name"].startswith(f"{alert} fires: "))
    quiet = [case for case in CASES if case["name"].startswith(f"{alert} stays quiet: ")]
    assert quiet and all(case["promql_expr_test"] and not _fired(case) for case in quiet)


def _fired(case: dict[str, Any]) -> str:
    """The labels of the alerts that are expected to fire in a case, as text."""
    return " ".join(sample["labels"] for asked in case["promql_expr_test"] for sample in asked.get("exp_samples") or [])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_quiet_case_of_an_alert_is_close_to_firing(alert: dict[str, Any], tmp_path: Path):
    """Without its `for`, conditions or threshold the alert would fire there; otherwise the case proves nothing."""
    cases = [case for case in CASES if case["name"].startswith(f"{alert['alert']} stays quiet: ")]
    _dump(tmp_path / "cases.yaml", {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": cases})
    assert any(_fires(rule, tmp_path) for rule in _weaker(alert))


def _weaker(alert: dict[str, Any]) -> Iterator[dict[str, Any]]:
    name, expr = alert["alert"], alert["expr"]
    yield {"alert": name, "expr": expr}
    yield {"alert": name, "expr": re.sub(r"\n  and on .*", "", expr, flags=re.DOTALL)}
    yield {"alert": name, "expr": re.sub(r"> [\d.]+( \* \d+)?", "> 0", expr)}


def _fires(rule: dict[str, Any], folder: Path) -> bool:
    _dump(folder / "rules.yaml", {"groups": [{"name": "one", "rules": [rule]}]})
    tested = promtool("test", "rules", "cases.yaml", cwd=folder)
    return f'got: {{__name__="ALERTS", alertname="{rule["alert"]}"' in tested.stdout + tested.stderr


def _dump(file: Path, value: object) -> None:
    file.write_text(yaml.safe_dump(value), "utf-8")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_a_severity_texts_and_a_link_to_the_runbook(alert: dict[str, Any]):
    notes = alert["annotations"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert notes["summary"] and notes["description"].endswith(".")
    page, _, anchor = notes["runbook_url"].partition("#")
    assert anchor == alert["alert"].lower() and anchor in anchors(ROOT / page)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_texts_of_an_alert_use_labels_that_its_expression_keeps(alert: dict[str, Any]):
    named = set(re.findall(r"\$labels\.(\w+)", "".join(alert["annotations"].values())))
    grouped = re.match(r"\s*(?:max|sum)\s+by \(([^)]*)\)|\s*\w+\($", alert["expr"])
    kept = set(grouped[1].split(", ")) if grouped and grouped[1] else {"namespace", "job", "instance", "device"}
    assert named <= kept


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_metric_of_an_alert_exists(alert: dict[str, Any]):
    families = list(Metrics().registry.collect())
    endings = ("", "_total", "_info", "_bucket", "_sum", "_count")
    shown = {family.name + ending for family in families for ending in endings}
    named = set(re.findall(r"\b(?:alphadrop|process)_\w+|\bup\b", alert["expr"]))
    assert named and named <= shown | SERIES_OF_PROMETHEUS


def test_every_section_of_the_runbook_is_about_an_existing_alert():
    sections = {anchor for anchor in anchors(ROOT / "docs" / "runbook.md") if anchor.startswith("alphadrop")}
    assert sections == {alert["alert"].lower() for alert in ALERTS}


def test_the_runbook_explains_every_cause_of_a_crash():
    text = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    section = text.split("\n## AlphadropWorkersCrash\n")[1].split("\n## ")[0]
    assert [reason for reason in DeathReason if f"`{reason}`" not in section] == []
