"""The dashboard is a file that Grafana can import, and a real Prometheus has a result for each of its expressions."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.monitoring import grafana, rules
from scripts.monitoring.panels import VARIABLES, Query
from scripts.monitoring.rows import ROWS
from tests.equipment.daemon import Daemon, Folders, colour, coloured, photo
from tests.equipment.pages import anchors, blocks
from tests.equipment.prometheus import Prometheus, now, running_prometheus, wait_for_value
from tests.equipment.requirements import require_program
from tests.equipment.support import ROOT, STUCK, wait_until
from watcher.telemetry.metrics import Metrics

FILE = ROOT / "deploy" / "grafana" / "alphadrop.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = json.loads(FILE.read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PICTURES, POSTED, BROKEN = 60, 2, 5

ABSENT = {
    "alphadrop_device_memory_bytes": "torch reports the memory of CUDA devices only",
    "alphadrop_device_utilization_ratio": "NVIDIA's driver reports it",
    "alphadrop_device_power_watts": "NVIDIA's driver reports it",
    "alphadrop_device_temperature_celsius": "NVIDIA's driver reports it",
    "alphadrop_sink_conditional_writes": "a bucket has conditional writes, a folder needs none",
    "alphadrop_confidence_ratio_bucket": "the fake model has no confidence",
    "alphadrop_confidence_ratio_count": "the fake model has no confidence",
    "alphadrop_images_by_model_total": "only with --strong there is a second model",
    "alphadrop_notification_delay_seconds_bucket": "no quantile without notifications",
    "alphadrop_notifications_pending": "only with --notify",
    "alphadrop_notifications_oldest_pending_timestamp_seconds": "only with --notify, while something is pending",
}
"""Metrics that a daemon between folders has not on a machine without a GPU: queries of these may return nothing."""


# The file.


def test_the_file_is_generated_from_the_scripts():
    assert FILE.read_text("utf-8") == grafana.render(ROWS), "run make dashboard"


def test_the_custom_resource_is_generated_from_the_plain_rule_file():
    made = (ALERTS.parent / "prometheusrule.yaml").read_text("utf-8")
    assert made == rules.render(ALERTS.read_text("utf-8")), "run make dashboard"


def test_ids_are_unique_and_everything_has_a_title():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["title"] for panel in DASHBOARD["panels"])
    assert DASHBOARD["uid"] == "alphadrop" and DASHBOARD["schemaVersion"] >= 39


def test_panels_are_inside_the_grid_and_do_not_overlap():
    cells = {panel["id"]: set(_cells(panel["gridPos"])) for panel in DASHBOARD["panels"]}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24
    for (one, its), (other, others) in combinations(cells.items(), 2):
        assert not its & others, f"panels {one} and {other} overlap"


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        yield from ((x, y) for y in range(place["y"], place["y"] + place["h"]))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_description_a_unit_and_a_data_source(panel: dict[str, Any]):
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters)) > 0


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_metric_of_a_panel_exists_and_is_filtered(panel: dict[str, Any]):
    for target in panel["targets"]:
        names = re.findall(r"\b((?:alphadrop|process)_\w+|ALERTS)\b(?!\()", target["expr"])
        assert names and set(names) <= _series() | {"ALERTS"}
        for name in VARIABLES:
            assert target["expr"].count(f'{name}=~"${name}"') == len(names)


def test_a_query_is_filtered_with_and_without_labels_of_its_own():
    chosen = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'
    query = Query('alphadrop_a{x="1"} / sum(process_b) > 2')
    assert query.expr == f'alphadrop_a{{x="1", {chosen}}} / sum(process_b{{{chosen}}}) > 2'


def test_the_first_row_says_what_failed_and_not_only_how_much():
    below = [panel["type"] for panel in DASHBOARD["panels"]].index("row", 1)
    queries = [target["expr"] for panel in DASHBOARD["panels"][1:below] for target in panel["targets"]]
    assert any("alphadrop_failures_total" in query and "by (reason)" in query for query in queries)


def test_links_lead_to_sections_of_the_runbook():
    links = [link["url"] for panel in PANELS for link in panel.get("links", [])]
    headings = anchors(ROOT / "docs" / "runbook.md")
    assert links and {link.removeprefix("${runbook}#") for link in links} <= headings
    assert DASHBOARD["links"][0]["url"] == "${runbook}"


def test_the_runbook_names_panels_and_rows_that_exist():
    text = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    named = set(re.findall(r"(?<!\*)\*([A-Za-z][^*\n]+)\*(?!\*)", text)) - {"written"}
    rows = {row.title.partition(":")[0] for row in ROWS}
    assert len(named) > 10 and named <= rows | {panel["title"] for panel in PANELS}


def test_the_reader_chooses_source_namespace_job_and_instance():
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert all(variables[name]["allValue"] == ".*" for name in VARIABLES)


def test_kustomize_renders_the_dashboard_and_the_rules_for_their_operators():
    made = subprocess.run(["kubectl", "kustomize", FILE.parent], capture_output=True, text=True, check=True).stdout
    assert 'grafana_dashboard: "1"' in made and '"uid": "alphadrop"' in made
    made = subprocess.run(["kubectl", "kustomize", ALERTS.parent], capture_output=True, text=True, check=True).stdout
    assert "kind: PrometheusRule" in made and "AlphadropStalled" in made


def test_the_address_of_the_runbook_can_be_set_as_the_page_says(tmp_path: Path):
    for folder in ("grafana", "prometheus"):
        shutil.copytree(ROOT / "deploy" / folder, tmp_path / "deploy" / folder)
    texts = [block.text for block in blocks(ROOT / "docs" / "monitoring.md", "sh")]
    command = next(text for text in texts if text.startswith("sed "))
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    changed = [path.read_text("utf-8") for path in (tmp_path / "deploy").rglob("a*") if path.is_file()]
    assert len(changed) == 3
    assert all("docs/runbook.md" not in text and "https://wiki.example/alphadrop/runbook" in text for text in changed)


# What it shows.


def test_a_real_prometheus_answers_every_expression(tmp_path: Path, folders: Folders):
    """Given a daemon with work, bad files and a worker that is killed, every panel has data."""
    with Daemon(folders, "--rescan", "1", "--batch", "2", "--api", model="fake:delay=0.1") as daemon:
        daemon.wait_until_ready()
        with running_prometheus(tmp_path, daemon.port, [ALERTS]) as prometheus:
            started = now()
            wait_for_value(prometheus, "sum(alphadrop_workers)", 1)
            keep_busy(daemon)
            wait_for_value(prometheus, "sum(alphadrop_images_processed_total)", PICTURES + POSTED + BROKEN)
            wait_for_value(prometheus, "sum(alphadrop_worker_restarts_total)", 1)
            with suppress(AssertionError):  # what has been scraped only once has no rate yet
                wait_until(lambda: not silent(prometheus, started), pause=1)
            assert silent(prometheus, started) == []
            wait_until(lambda: not prometheus.failing_rules(), message="a rule cannot be evaluated")
            assert not prometheus.lines('ALERTS{alertstate="firing"}', started, now())


def keep_busy(daemon: Daemon) -> None:
    """Copy pictures and files that are not pictures, post some, and kill a worker while it processes some."""
    source = daemon.folders.source
    post_some(daemon, "early")
    for number in range(BROKEN):
        (source / f"broken-{number}.jpg").write_bytes(b"not a picture")
    for number in range(PICTURES):
        coloured(source / f"{number}.png", colour(number))
    daemon.until(lambda: len(daemon.folders.outputs()) > PICTURES // 4, "nothing was written")
    post_some(daemon, "late")
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.until(lambda: len(daemon.folders.outputs()) == PICTURES + POSTED, "not everything was written")


def post_some(daemon: Daemon, name: str) -> None:
    """Post a picture, and something that is none, and wait for the answers."""
    address, headers = f"http://127.0.0.1:{daemon.port}", {"Content-Type": "image/png"}
    with httpx.Client(base_url=address, headers=headers, timeout=STUCK) as client:
        sent = client.post(f"/v1/cutouts?wait=60&path={name}.png", content=photo(colour(len(name))))
        assert sent.status_code == 200
        assert client.post("/v1/cutouts", content=b"no picture").status_code == 415


def queries() -> list[Query]:
    """All queries of the dashboard."""
    return [query for row in ROWS for panel in row.panels for query in panel.queries]


def silent(prometheus: Prometheus, started: float) -> list[str]:
    """The expressions without a result, of those that must have one."""
    asked = [query for query in queries() if not _may_be_empty(query)]
    return [query.promql for query in asked if not _answer(prometheus, query, started)]


def _answer(prometheus: Prometheus, query: Query, started: float) -> bool:
    return bool(prometheus.lines(filled_in(query.expr, now() - started), started, now()))


def filled_in(expr: str, seconds: float) -> str:
    """An expression as Grafana sends it, for a dashboard that shows this many seconds."""
    for name in VARIABLES:
        expr = expr.replace(f"${name}", ".*")
    return expr.replace("$__rate_interval", "10s").replace("$__range", f"{seconds:.0f}s")


def test_after_a_pause_the_time_to_finish_the_backlog_follows_the_current_throughput(tmp_path: Path):
    """Given five idle minutes, then 0.8 images a second for two minutes, 122 pending images take 152.5 seconds."""
    [panel] = [panel for row in ROWS for panel in row.panels if panel.title == "Time to finish backlog"]
    series = {
        'alphadrop_images_processed_total{outcome="written"}': "0x20 0+12x8",
        'alphadrop_queue_images{state="pending"}': "122x28",
    }
    case = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": filled_in(panel.queries[0].expr, 3600).replace("[10s]", "[1m]"),
                "eval_time": "7m",
                "exp_samples": [{"labels": "{}", "value": 152.5}],
            }
        ],
    }
    (tmp_path / "case.yaml").write_text(json.dumps({"tests": [case]}), "utf-8")
    require_program("promtool", "run `make services`, or install the package prometheus.")
    tested = subprocess.run(["promtool", "test", "rules", tmp_path / "case.yaml"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def _may_be_empty(query: Query) -> bool:
    return bool(query.metrics & ABSENT.keys())


def test_few_panels_may_be_empty():
    titles = Counter(panel.title for row in ROWS for panel in row.panels if any(map(_may_be_empty, panel.queries)))
    gpu = {"Fullest GPU", "Memory", "Utilization", "Power", "Temperature"}
    assert set(titles) == gpu | {
        "Conditional writes",
        "Notification delay",
        "Notifications pending",
        "Oldest notification",
        "Unsure cut-outs",
    }


def _series() -> set[str]:
    """The names of all samples that a daemon may export."""
    families = list(Metrics().registry.collect())
    endings = ("", "_total", "_info", "_bucket", "_sum", "_count")
    return {family.name + ending for family in families for ending in endings}
