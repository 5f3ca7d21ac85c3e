"""From rows of panels to the JSON that Grafana imports: https://grafana.com/docs/grafana/latest/visualizations/dashboards/"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from scripts.monitoring.panels import VARIABLES, Panel, Query, Row, bottom, places

UID = "alphadrop"
SCHEMA = 39
"""Grafana 10.4 and later."""
RUNBOOK = "docs/runbook.md"
"""Until whoever imports it says where the page can be read."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def render(rows: Iterable[Row]) -> str:
    """The whole file."""
    return json.dumps(_dashboard(rows), indent=1, ensure_ascii=False) + "\n"


def _dashboard(rows: Iterable[Row]) -> dict[str, Any]:
    return {
        "uid": UID,
        "title": "alphadrop",
        "description": "Is it working, how fast, how far behind, what is slow, is the GPU full, what failed?",
        "tags": ["alphadrop"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "annotations": {"list": [_alerts()]},
        "links": [_link("Runbook", "${runbook}")],
        "templating": {"list": list(_variables())},
        "panels": list(_panels(rows)),
    }


def _alerts() -> dict[str, Any]:
    """Where an alert begins to fire, a line through all panels."""
    query = Query('ALERTS{alertname=~"Alphadrop.*", alertstate="firing"}')
    return {
        "name": "Alerts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": query.expr,
        "step": "60s",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{job}} {{instance}} {{device}}",
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    for i, name in enumerate(VARIABLES):
        narrowed = ", ".join(f'{outer}=~"${outer}"' for outer in VARIABLES[:i])
        query = f"label_values(alphadrop_build_info{{{narrowed}}}, {name})"
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": "StandardVariableQuery"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",  # also what has no such label
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }
    yield {"name": "runbook", "label": "Runbook", "type": "textbox", "query": RUNBOOK, "current": _chosen(RUNBOOK)}


def _chosen(value: str) -> dict[str, Any]:
    return {"selected": True, "text": value, "value": value}


def _link(title: str, url: str) -> dict[str, Any]:
    return {"title": title, "url": url, "type": "link", "targetBlank": True}


def _panels(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    ids, line = count(1), 0
    for row in rows:
        place = {"x": 0, "y": line, "w": 24, "h": 1}
        yield {"id": next(ids), "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        for panel, x, y in places(row.panels, line + 1):
            yield _panel(panel, next(ids), {"x": x, "y": y, "w": panel.width, "h": panel.height})
        line = bottom(row.panels, line + 1)


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    made = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, chr(ord("A") + i)) for i, query in enumerate(panel.queries)],
        "fieldConfig": {
            "defaults": _defaults(panel),
            "overrides": [_override(*pair) for pair in panel.colours.items()],
        },
        "options": _OPTIONS[panel.kind],
    }
    if panel.runbook:
        made["links"] = [_link(f"Runbook: {panel.runbook}", f"${{runbook}}#{panel.runbook.lower()}")]
    if panel.kind == "heatmap":
        made["options"] = {**_OPTIONS["heatmap"], "yAxis": {"unit": panel.unit}}
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True}
        made["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return made


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    instant = panel.kind == "table"
    return {
        "refId": letter,
        "datasource": _SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": instant,
        "range": not instant,
        "format": {"heatmap": "heatmap", "table": "table"}.get(panel.kind, "time_series"),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps = [{"color": colour, "value": value} for value, colour in panel.steps]
    made: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": _custom(panel),
    }
    chosen = {"min": panel.least, "max": panel.most, "decimals": panel.decimals, "noValue": panel.nothing or None}
    if panel.words:
        words = {f"{value:g}": {"text": text, "index": i} for i, (value, text) in enumerate(panel.words)}
        chosen["mappings"] = [{"type": "value", "options": words}]  # type: ignore[assignment]
    return made | {name: value for name, value in chosen.items() if value is not None}


def _override(legend: str, colour: str) -> dict[str, Any]:
    fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}
    return {"matcher": {"id": "byName", "options": legend}, "properties": [fixed]}


def _custom(panel: Panel) -> dict[str, Any]:
    if panel.kind != "timeseries":
        return {}
    return {
        "lineWidth": 1,
        "fillOpacity": 40 if panel.stacked else 8,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if len(panel.steps) > 1 else "off"},
        "showPoints": "never",
        "spanNulls": False,
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "area",
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "heatmap": {"calculate": False, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64}, "cellGap": 1},
    "table": {"showHeader": True, "cellHeight": "sm"},
}
