"""The dashboard: a file that Grafana takes, and expressions that a real Prometheus answers about a real daemon."""

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

import pytest

from scripts.monitoring import grafana, rules
from scripts.monitoring.panels import VARIABLES, Query
from scripts.monitoring.rows import ROWS
from tests.equipment.daemon import Daemon, Folders, colour, coloured
from tests.equipment.pages import anchors, blocks
from tests.equipment.prometheus import Prometheus, caught_up, now, running_prometheus
from tests.equipment.support import ROOT, wait_until
from watcher.telemetry.metrics import Metrics

FILE = ROOT / "deploy" / "grafana" / "alphadrop.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = json.loads(FILE.read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PICTURES, BROKEN = 60, 5

NEEDS_A_CARD = {
    "alphadrop_device_memory_bytes": "torch tells the memory of CUDA devices alone",
    "alphadrop_device_utilization_ratio": "NVIDIA's driver tells it",
    "alphadrop_device_power_watts": "NVIDIA's driver tells it",
    "alphadrop_device_temperature_celsius": "NVIDIA's driver tells it",
}
"""Series that a machine without a GPU does not have; expressions over these may return nothing there."""


# The file.


def test_it_is_made_from_what_is_in_the_scripts():
    assert FILE.read_text("utf-8") == grafana.render(ROWS), "run make dashboard"


def test_the_rules_custom_resource_is_made_from_the_plain_file():
    made = (ALERTS.parent / "prometheusrule.yaml").read_text("utf-8")
    assert made == rules.render(ALERTS.read_text("utf-8")), "run make dashboard"


def test_ids_are_unique_and_everything_has_a_title():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["title"] for panel in DASHBOARD["panels"])
    assert DASHBOARD["uid"] == "alphadrop" and DASHBOARD["schemaVersion"] >= 39


def test_panels_lie_in_the_grid_and_on_no_other():
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
def test_a_panel_says_what_it_shows_in_which_unit_and_from_where(panel: dict[str, Any]):
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters)) > 0


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_series_of_a_panel_is_ours_and_narrowed_down(panel: dict[str, Any]):
    for target in panel["targets"]:
        names = re.findall(r"\b((?:alphadrop|process)_\w+|ALERTS)\b(?!\()", target["expr"])
        assert names and set(names) <= _series() | {"ALERTS"}
        for name in VARIABLES:
            assert target["expr"].count(f'{name}=~"${name}"') == len(names)


def test_a_query_is_narrowed_down_with_and_without_labels_of_its_own():
    chosen = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'
    query = Query('alphadrop_a{x="1"} / sum(process_b) > 2')
    assert query.expr == f'alphadrop_a{{x="1", {chosen}}} / sum(process_b{{{chosen}}}) > 2'


def test_links_lead_to_the_runbook():
    links = [link["url"] for panel in PANELS for link in panel.get("links", [])]
    headings = anchors(ROOT / "docs" / "runbook.md")
    assert links and {link.removeprefix("${runbook}#") for link in links} <= headings
    assert DASHBOARD["links"][0]["url"] == "${runbook}"


def test_the_reader_chooses_source_namespace_job_and_instance():
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert all(variables[name]["allValue"] == ".*" for name in VARIABLES)


def test_kubernetes_gets_dashboard_and_rules_as_its_operators_take_them():
    made = subprocess.run(["kubectl", "kustomize", FILE.parent], capture_output=True, text=True, check=True).stdout
    assert 'grafana_dashboard: "1"' in made and '"uid": "alphadrop"' in made
    made = subprocess.run(["kubectl", "kustomize", ALERTS.parent], capture_output=True, text=True, check=True).stdout
    assert "kind: PrometheusRule" in made and "AlphadropStalled" in made


def test_the_runbooks_address_is_set_as_the_page_says(tmp_path: Path):
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
    """Given a daemon with work, bad files and a worker that dies, every panel has something to show."""
    with Daemon(folders, "--rescan", "1", "--batch", "2", model="fake:delay=0.1") as daemon:
        daemon.wait_until_ready()
        with running_prometheus(tmp_path, daemon.port, [ALERTS]) as prometheus:
            started = now()
            caught_up(prometheus, "sum(alphadrop_workers)", 1)
            keep_busy(daemon)
            caught_up(prometheus, "sum(alphadrop_images_processed_total)", PICTURES + BROKEN)
            caught_up(prometheus, "sum(alphadrop_worker_restarts_total)", 1)
            with suppress(AssertionError):  # what has been scraped only once has no rate yet
                wait_until(lambda: not silent(prometheus, started), pause=1)
            assert silent(prometheus, started) == []
            wait_until(lambda: not prometheus.sick_rules(), message="a rule cannot be evaluated")
            assert not prometheus.lines('ALERTS{alertstate="firing"}', started, now())


def keep_busy(daemon: Daemon) -> None:
    """Pictures, files that are none, and the end of a worker that has some in hand."""
    source = daemon.folders.source
    for number in range(BROKEN):
        (source / f"broken-{number}.jpg").write_bytes(b"no picture")
    for number in range(PICTURES):
        coloured(source / f"{number}.png", colour(number))
    daemon.until(lambda: len(daemon.folders.outputs()) > PICTURES // 4, "nothing was written")
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.until(lambda: len(daemon.folders.outputs()) == PICTURES, "not everything was written")


def queries() -> list[Query]:
    """All of the dashboard."""
    return [query for row in ROWS for panel in row.panels for query in panel.queries]


def silent(prometheus: Prometheus, started: float) -> list[str]:
    """The expressions that are not answered, of those that need no card."""
    asked = [query for query in queries() if not _needs_a_card(query)]
    return [query.bare for query in asked if not _answer(prometheus, query, started)]


def _answer(prometheus: Prometheus, query: Query, started: float) -> bool:
    return bool(prometheus.lines(filled_in(query.expr, now() - started), started, now()))


def filled_in(expr: str, seconds: float) -> str:
    """An expression as Grafana sends it, for a dashboard that shows so many seconds."""
    for name in VARIABLES:
        expr = expr.replace(f"${name}", ".*")
    return expr.replace("$__rate_interval", "10s").replace("$__range", f"{seconds:.0f}s")


def _needs_a_card(query: Query) -> bool:
    return bool(query.series & NEEDS_A_CARD.keys())


def test_series_that_need_a_card_are_in_few_panels():
    titles = Counter(panel.title for row in ROWS for panel in row.panels if any(map(_needs_a_card, panel.queries)))
    assert set(titles) == {"Fullest GPU", "Memory", "Utilisation", "Power", "Temperature"}


def _series() -> set[str]:
    """The names of all samples that the daemon may show."""
    families = list(Metrics().registry.collect())
    endings = ("", "_total", "_info", "_bucket", "_sum", "_count")
    return {family.name + ending for family in families for ending in endings}
