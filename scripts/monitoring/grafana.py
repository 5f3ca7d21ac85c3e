"""Converts rows of panels to Grafana's dashboard JSON: https://grafana.com/docs/grafana/latest/visualizations/dashboards/"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from scripts.monitoring.panels import VARIABLES, Panel, Query, Row, bottom, positions

UID = "alphadrop"
SCHEMA = 39
"""Grafana 10.4 and later."""
RUNBOOK = "docs/runbook.md"
"""The link to the runbook until the person who imports the dashboard sets its address."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def render(rows: Iterable[Row]) -> str:
    """The dashboard as a JSON file."""
    return json.dumps(_dashboard(rows), indent=1, ensure_ascii=False) + "\n"


def _dashboard(rows: Iterable[Row]) -> dict[str, Any]:
    return {
        "uid": UID,
        "title": "alphadrop",
        "description": "Is it working, how fast, how far behind, what failed, what is slow, is the GPU the limit?",
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
    """The annotation that marks in all panels when an alert starts to fire."""
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
        filters = ", ".join(f'{outer}=~"${outer}"' for outer in VARIABLES[:i])
        query = f"label_values(alphadrop_build_info{{{filters}}}, {name})"
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
            "allValue": ".*",  # matches series without the label, too
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        }
    yield {"name": "runbook", "label": "Runbook", "type": "textbox", "query": RUNBOOK, "current": _selected(RUNBOOK)}


def _selected(value: str) -> dict[str, Any]:
    return {"selected": True, "text": value, "value": value}


def _link(title: str, url: str) -> dict[str, Any]:
    return {"title": title, "url": url, "type": "link", "targetBlank": True}


def _panels(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    ids, line = count(1), 0
    for row in rows:
        position = {"x": 0, "y": line, "w": 24, "h": 1}
        yield {
            "id": next(ids),
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": position,
            "panels": [],
        }
        for panel, x, y in positions(row.panels, line + 1):
            yield _panel(panel, next(ids), {"x": x, "y": y, "w": panel.width, "h": panel.height})
        line = bottom(row.panels, line + 1)


def _panel(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    result = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": position,
        "targets": [_target(panel, query, chr(ord("A") + i)) for i, query in enumerate(panel.queries)],
        "fieldConfig": {
            "defaults": _defaults(panel),
            "overrides": [_override(*pair) for pair in panel.colours.items()],
        },
        "options": _OPTIONS[panel.kind],
    }
    if panel.runbook:
        result["links"] = [_link(f"Runbook: {panel.runbook}", f"${{runbook}}#{panel.runbook.lower()}")]
    if panel.kind == "heatmap":
        result["options"] = {**_OPTIONS["heatmap"], "yAxis": {"unit": panel.unit}}
    if panel.kind == "table":
        hidden = {"Time": True, "Value": True}
        result["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return result


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
    thresholds = [{"color": colour, "value": value} for value, colour in panel.thresholds]
    result: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": thresholds},
        "custom": _custom(panel),
    }
    optional = {"min": panel.min, "max": panel.max, "decimals": panel.decimals, "noValue": panel.no_value or None}
    if panel.value_texts:
        texts = {f"{value:g}": {"text": text, "index": i} for i, (value, text) in enumerate(panel.value_texts)}
        optional["mappings"] = [{"type": "value", "options": texts}]  # type: ignore[assignment]
    return result | {name: value for name, value in optional.items() if value is not None}


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
        "thresholdsStyle": {"mode": "dashed" if len(panel.thresholds) > 1 else "off"},
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
