"""Generates the dashboard and the PrometheusRule, and draws the dashboard's first row: `make dashboard`."""

from __future__ import annotations

from pathlib import Path

from scripts.monitoring import grafana, rules
from scripts.monitoring.picture import draw_under_load
from scripts.monitoring.rows import OVERVIEW, ROWS

DASHBOARD = Path("deploy/grafana/alphadrop.json")
ALERTS = Path("deploy/prometheus/alerts.yaml")
RESOURCE = Path("deploy/prometheus/prometheusrule.yaml")
PICTURE = Path("docs/images/dashboard.png")


def main() -> None:
    """Write all files, relative to the repository's root."""
    DASHBOARD.write_text(grafana.render(ROWS), "utf-8")
    RESOURCE.write_text(rules.render(ALERTS.read_text("utf-8")), "utf-8")
    print(f"Written: {DASHBOARD}, {RESOURCE}\nRunning a daemon under load for about two minutes ...")
    draw_under_load(OVERVIEW, ALERTS, PICTURE)
    print(f"Drawn: {PICTURE}")


if __name__ == "__main__":
    main()
