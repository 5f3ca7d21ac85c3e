"""Draws the charts of a report as PNG files. Needs matplotlib (the extra `bench`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from watcher.commands.bench.report import Chart, Report, Series
from watcher.commands.bench.stats import number

# Okabe and Ito, "Color Universal Design", 2008: distinct for every form of colour vision. Their yellow is too pale.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#444444")
INK, FAINT = "#222222", "#dddddd"
WIDTH, HEIGHT, DPI = 8.0, 4.2, 130


def draw_all(report: Report, folder: Path) -> list[Path]:
    """Draw every chart of the report into `folder`; return the paths."""
    return [draw(chart, folder) for section in report.sections for chart in section.charts]


def draw(chart: Chart, folder: Path) -> Path:
    """Draw one chart into `folder`; return its path."""
    height = max(2.2, 0.5 * len(chart.x) + 1.7) if chart.kind == "stack" else HEIGHT
    figure, axes = pyplot.subplots(figsize=(WIDTH, height), layout="constrained")
    _KINDS[chart.kind](chart, axes)
    axes.set_title(chart.title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    if len(chart.series) > 1 or chart.ideal:
        columns = min(4, len(chart.series) + bool(chart.ideal))
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    path = folder / chart.file
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
    return path


def _line(chart: Chart, axes: Any) -> None:
    positions = range(len(chart.x))
    for series, colour in zip(chart.series, COLOURS, strict=False):
        axes.errorbar(
            positions,
            _with_nan(series),
            yerr=_error_bars(series),
            label=series.label,
            color=colour,
            marker="o",
            ms=5,
            lw=1.8,
            capsize=3,
        )
    if chart.ideal:
        axes.plot(positions, _with_nan(chart.ideal), label=chart.ideal.label, color="#888888", ls="--", lw=1.2)
    axes.set_xticks(list(positions), chart.x)
    _label_axes(chart, axes)


def _bar(chart: Chart, axes: Any) -> None:
    width = 0.8 / len(chart.series)
    for index, (series, colour) in enumerate(zip(chart.series, COLOURS, strict=False)):
        positions = [position + (index - (len(chart.series) - 1) / 2) * width for position in range(len(chart.x))]
        heights = [value or 0 for value in series.values]
        bars = axes.bar(
            positions, heights, width * 0.92, yerr=_error_bars(series), label=series.label, color=colour, capsize=3
        )
        labels = [number(value) if value is not None else "-" for value in series.values]
        axes.bar_label(bars, labels, padding=2, fontsize=8, color=INK)
    if chart.ideal:
        axes.plot(range(len(chart.x)), _with_nan(chart.ideal), "_", label=chart.ideal.label, color=INK, ms=28, mew=1.6)
    axes.set_xticks(range(len(chart.x)), chart.x)
    axes.margins(y=0.12)
    _label_axes(chart, axes)


def _stack(chart: Chart, axes: Any) -> None:
    left = [0.0] * len(chart.x)
    for series, colour in zip(chart.series, COLOURS, strict=False):
        lengths = [value or 0.0 for value in series.values]
        axes.barh(range(len(chart.x)), lengths, 0.62, left=left, label=series.label, color=colour)
        left = [a + b for a, b in zip(left, lengths, strict=True)]
    for position, total in enumerate(left):
        axes.text(total, position, f" {number(total)}", va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(chart.x)), chart.x)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel(chart.y_label, fontsize=9, color=INK)
    axes.grid(axis="x", color=FAINT, lw=0.7)
    axes.set_axisbelow(True)


def _label_axes(chart: Chart, axes: Any) -> None:
    axes.set_xlabel(chart.x_label, fontsize=9, color=INK)
    axes.set_ylabel(chart.y_label, fontsize=9, color=INK)
    axes.grid(axis="y", color=FAINT, lw=0.7)
    axes.set_axisbelow(True)
    if chart.log:
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    else:
        axes.set_ylim(bottom=0)


def _with_nan(series: Series) -> list[float]:
    return [float("nan") if value is None else value for value in series.values]


def _error_bars(series: Series) -> list[list[float]] | None:
    """Lengths of the error bars below and above each value; None where there is nothing to show."""
    if not series.low:
        return None
    ends = list(zip(series.values, series.low, series.high, strict=True))
    below = [0.0 if value is None or low is None else value - low for value, low, _ in ends]
    above = [0.0 if value is None or high is None else high - value for value, _, high in ends]
    return [below, above] if any(below) or any(above) else None


_KINDS = {"line": _line, "bar": _bar, "stack": _stack}
