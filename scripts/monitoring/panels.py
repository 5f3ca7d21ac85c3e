"""The words that a dashboard is written in: rows of panels, each with its queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["stat", "timeseries", "heatmap", "table"]
Step = tuple[float | None, str]
"""From which value on (None: from the lowest) a colour holds."""

VARIABLES = ("namespace", "job", "instance")
"""What a reader narrows all panels down by."""
CALM: tuple[Step, ...] = ((None, "green"),)
_OURS = re.compile(r"\b(ALERTS|(?:alphadrop|process)_\w+)(?:\{([^}]*)\})?")


@dataclass(frozen=True)
class Query:
    """One expression, in which every series is narrowed down by VARIABLES."""

    bare: str
    """As it is written in `rows`: without them."""
    legend: str = ""
    """With {{label}}, as Grafana takes it."""

    @property
    def expr(self) -> str:
        """What Prometheus is asked once Grafana has put in the variables."""
        return _OURS.sub(_narrowed, self.bare)

    @property
    def series(self) -> set[str]:
        """The names of our own series in it."""
        return {match[1] for match in _OURS.finditer(self.bare)} - {"ALERTS"}


def _narrowed(match: re.Match[str]) -> str:
    chosen = ", ".join(f'{name}=~"${name}"' for name in VARIABLES)
    own = f"{match[2]}, " if match[2] else ""
    return f"{match[1]}{{{own}{chosen}}}"


@dataclass(frozen=True)
class Panel:
    """What one panel shows, and how."""

    title: str
    text: str
    """What it means, for those who hover over its corner."""
    unit: str
    """A unit of Grafana's."""
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    """Of 24."""
    height: int = 8
    steps: tuple[Step, ...] = CALM
    """Colours by value; a line is drawn at each of them."""
    runbook: str = ""
    """The heading of the runbook that it belongs to."""
    stacked: bool = False
    least: float | None = None
    most: float | None = None
    words: tuple[tuple[float, str], ...] = ()
    """What is shown in the place of a number."""
    nothing: str = ""
    """What is shown where there is no number."""
    decimals: int | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    """Of series whose meaning has one, by legend."""


@dataclass(frozen=True)
class Row:
    """Panels under one heading; from left to right, then on the next line."""

    title: str
    panels: tuple[Panel, ...]


def places(panels: tuple[Panel, ...], top: int) -> Iterator[tuple[Panel, int, int]]:
    """Each panel with its column and line, from line `top` on. All panels of one line are equally high."""
    column, line, height = 0, top, 0
    for panel in panels:
        if column + panel.width > 24:
            column, line = 0, line + height
        yield panel, column, line
        column, height = column + panel.width, panel.height


def bottom(panels: tuple[Panel, ...], top: int) -> int:
    """The first line below them."""
    return max(line + panel.height for panel, _, line in places(panels, top))
