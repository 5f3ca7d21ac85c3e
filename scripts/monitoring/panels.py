"""The data model of a dashboard: rows of panels, each with its queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["stat", "timeseries", "heatmap", "table"]
Threshold = tuple[float | None, str]
"""A colour, and the value from which it applies (None: from the lowest)."""

VARIABLES = ("namespace", "job", "instance")
"""The dashboard's variables: labels by which all panels can be filtered."""
GRID_COLUMNS = 24
_GREEN: tuple[Threshold, ...] = ((None, "green"),)
_METRIC = re.compile(r"\b(ALERTS|(?:alphadrop|process)_\w+)(?:\{([^}]*)\})?")


@dataclass(frozen=True)
class Query:
    """A PromQL expression, without the filters for VARIABLES."""

    promql: str
    legend: str = ""
    """Grafana's template for the names of the series, with {{label}}."""

    @property
    def expr(self) -> str:
        """The expression with a filter for each of VARIABLES on every metric."""
        return _METRIC.sub(_filtered, self.promql)

    @property
    def metrics(self) -> set[str]:
        """The names of the metrics in the expression."""
        return {match[1] for match in _METRIC.finditer(self.promql)} - {"ALERTS"}


def _filtered(match: re.Match[str]) -> str:
    filters = ", ".join(f'{name}=~"${name}"' for name in VARIABLES)
    own = f"{match[2]}, " if match[2] else ""
    return f"{match[1]}{{{own}{filters}}}"


@dataclass(frozen=True)
class Panel:
    """One panel."""

    title: str
    description: str
    """The tooltip of the panel."""
    unit: str
    """One of Grafana's unit ids."""
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    """In columns of the grid."""
    height: int = 8
    thresholds: tuple[Threshold, ...] = _GREEN
    """Colours by value; a graph has a line at each of them."""
    runbook: str = ""
    """The runbook section that the panel links to."""
    stacked: bool = False
    min: float | None = None
    max: float | None = None
    value_texts: tuple[tuple[float, str], ...] = ()
    """Texts that replace certain values."""
    no_value: str = ""
    """The text where there is no value."""
    decimals: int | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    """Fixed colours of series, by legend."""


@dataclass(frozen=True)
class Row:
    """Panels under a heading, from left to right and line by line."""

    title: str
    panels: tuple[Panel, ...]


def positions(panels: tuple[Panel, ...], top: int) -> Iterator[tuple[Panel, int, int]]:
    """Each panel with its column and line in the grid, starting at line `top`. Panels of a line are equally high."""
    column, line, height = 0, top, 0
    for panel in panels:
        if column + panel.width > GRID_COLUMNS:
            column, line = 0, line + height
        yield panel, column, line
        column, height = column + panel.width, panel.height


def bottom(panels: tuple[Panel, ...], top: int) -> int:
    """The first line of the grid below the panels."""
    return max(line + panel.height for panel, _, line in positions(panels, top))
