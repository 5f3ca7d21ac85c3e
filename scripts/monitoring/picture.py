"""Draws the dashboard's first row as a picture, from what a real Prometheus has scraped from a daemon under load."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import numpy as np
from PIL import Image

from inference.synthetic import render_sample
from scripts.monitoring.panels import VARIABLES, Panel, Query, Row, bottom, positions
from tests.equipment.daemon import Daemon, Folders
from tests.equipment.prometheus import Line, Prometheus, running_prometheus, wait_for_value

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MODEL = "nano"
SHAPES = ((640, 480), (480, 640), (600, 600))
WAVES = (40, 90, 150, 10, 40, 100)
"""Pictures in each wave; the waves are WAVE_SECONDS apart, so that the queue fills and empties."""
WAVE_SECONDS = 18.0
BROKEN = 3
"""Files in each wave that are not pictures."""

BACKGROUND, PANEL, TEXT, GRID = "#111217", "#181b1f", "#ccccdc", "#3a3d44"
COLOURS = {"green": "#56a64b", "yellow": "#d9a406", "red": "#d44a3a", "blue": "#3274d9"}
LINES = ("#5794f2", "#f2cc0c", "#ff9830", "#b877d9", "#73bf69")
CELL = (0.6, 0.4)
"""Width and height of a grid cell in inches."""


@dataclass(frozen=True)
class ScrapedData:
    """A Prometheus server, and the Unix times between which its data is drawn."""

    server: Prometheus
    start: float
    end: float

    def lines(self, query: Query) -> list[Line]:
        """The result of a query, as Grafana would get it."""
        expr = query.expr
        for name in VARIABLES:
            expr = expr.replace(f"${name}", ".*")
        expr = expr.replace("$__rate_interval", "5s").replace("$__range", f"{self.end - self.start:.0f}s")
        return self.server.lines(expr, self.start, self.end)


def draw_under_load(row: Row, alerts: Path, file: Path) -> None:
    """Run a daemon and a Prometheus with these alerts, give the daemon work, and draw the row into `file`."""
    with TemporaryDirectory(prefix="alphadrop-dashboard-") as top, _under_load(Path(top), alerts.resolve()) as data:
        draw(row, data, file)


@contextmanager
def _under_load(top: Path, alerts: Path) -> Iterator[ScrapedData]:
    folders = Folders.below(top)
    pictures = _pictures(folders.outside)
    scraped = top / "prometheus"
    scraped.mkdir()
    with Daemon(folders, model=MODEL) as daemon:
        daemon.wait_until_ready()
        with running_prometheus(scraped, daemon.port, [alerts]) as server:
            wait_for_value(server, "sum(alphadrop_workers)", 1)
            start = time.time()
            _work(daemon, server, pictures)
            yield ScrapedData(server, start, time.time())


def _pictures(folder: Path) -> list[Path]:
    """Write synthetic product pictures."""
    files = []
    for i, (height, width) in enumerate(SHAPES):
        files.append(folder / f"product-{i}.jpg")
        Image.fromarray(render_sample(np.random.default_rng(i), height, width).image).save(files[-1], quality=90)
    return files


def _work(daemon: Daemon, server: Prometheus, pictures: list[Path]) -> None:
    """Copy waves of pictures into the source. Returns while the last wave is in progress, so that some are pending."""
    source = daemon.folders.source
    for wave, size in enumerate(WAVES):
        time.sleep(WAVE_SECONDS if wave else WAVE_SECONDS / 3)  # paces the load; there is nothing to wait for
        for number in range(BROKEN):
            (source / f"{wave}-broken-{number}.jpg").write_bytes(b"not a picture")
        for number in range(size):
            shutil.copyfile(pictures[number % len(pictures)], source / f"{wave}-{number}.jpg")
    wait_for_value(server, "sum(alphadrop_images_processed_total)", sum(WAVES) - WAVES[-1] / 2)


def draw(row: Row, data: ScrapedData, file: Path) -> None:
    """Draw every panel of the row at its position."""
    height = bottom(row.panels, 0)
    with pyplot.rc_context({"font.family": "DejaVu Sans", "text.color": TEXT, "axes.labelcolor": TEXT}):
        figure = pyplot.figure(figsize=(24 * CELL[0], height * CELL[1]), facecolor=BACKGROUND)
        for panel, column, line in positions(row.panels, 0):
            box = (column / 24, 1 - (line + panel.height) / height, panel.width / 24, panel.height / height)
            _draw_panel(figure, box, panel, data)
        figure.savefig(file, dpi=110, facecolor=BACKGROUND)
        pyplot.close(figure)


def _draw_panel(figure: Figure, box: tuple[float, float, float, float], panel: Panel, data: ScrapedData) -> None:
    left, low, width, height = box
    gap = 0.003
    card = figure.add_axes((left + gap, low + 2 * gap, width - 2 * gap, height - 4 * gap), facecolor=PANEL)
    card.set(xticks=[], yticks=[])
    card.spines[:].set_color(GRID)
    card.set_title(f" {panel.title}", loc="left", y=1.0, pad=-15, fontsize=9.5, color="white")
    if panel.kind == "stat":
        _draw_number(card, panel, data)
    else:
        inner = (left + 0.026, low + 0.19 * height, width - 0.038, 0.66 * height)
        _draw_lines(figure.add_axes(inner, facecolor=PANEL), card, panel, data)


def _draw_number(card: Axes, panel: Panel, data: ScrapedData) -> None:
    """Draw the last value in large type, on the colour of its threshold."""
    lines = data.lines(panel.queries[0])
    last = lines[0].points[-1] if lines else (0.0, math.nan)
    value = last[1] if last[0] > data.end - 5 else math.nan
    card.set_facecolor(COLOURS[colour_of(panel, value)] if math.isfinite(value) else PANEL)
    text = text_of(panel, value)
    card.text(0.5, 0.4, text, transform=card.transAxes, ha="center", va="center", fontsize=21 if len(text) < 7 else 17,
              fontweight="bold", color="white")  # fmt: skip


def colour_of(panel: Panel, value: float) -> str:
    """The colour of the highest threshold that the value reaches."""
    reached = [colour for start, colour in panel.thresholds if start is None or value >= start]
    return reached[-1]


def text_of(panel: Panel, value: float) -> str:
    """A value as Grafana would format it."""
    if not math.isfinite(value):
        return panel.no_value or "No data"
    if value in dict(panel.value_texts):
        return dict(panel.value_texts)[value]
    if panel.unit == "s":
        return f"{value / 60:.1f} min" if value >= 60 else f"{value:.1f} s"
    if panel.unit == "percentunit":
        return f"{value:.0%}"
    number = f"{value:.{panel.decimals}f}" if panel.decimals is not None else f"{value:.4g}"
    return number + panel.unit.removeprefix("suffix:") if panel.unit.startswith("suffix:") else number


def _draw_lines(axes: Axes, card: Axes, panel: Panel, data: ScrapedData) -> None:
    named = [(legend_of(query, line), line) for query in panel.queries for line in data.lines(query)]
    named = [(name, line) for name, line in named if any(value for _, value in line.points)]
    colours = dict(zip((name for name, _ in named if name not in panel.colours), LINES, strict=False))
    moments = np.arange(int(data.end - data.start) + 1)
    ground = np.zeros(len(moments))
    for name, line in named:
        colour = COLOURS[panel.colours[name]] if name in panel.colours else colours[name]
        known = _on_grid(line, data, len(moments))
        top = ground + np.nan_to_num(known) if panel.stacked else known
        axes.plot(moments, top, color=colour, linewidth=1.4, label=name)
        axes.fill_between(moments, ground, top, color=colour, alpha=0.4 if panel.stacked else 0.08)
        ground = top if panel.stacked else ground
    _dress(axes, panel, data)
    card.text(0.985, 0.935, panel.unit.removeprefix("suffix:").strip().replace("short", "images"),
              transform=card.transAxes, ha="right", va="top", fontsize=8.5, color="#8e8e99")  # fmt: skip
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncol=5, fontsize=8.5, frameon=False, labelcolor=TEXT)


def _on_grid(line: Line, data: ScrapedData, count: int) -> np.ndarray:
    """The value for each second, NaN where there is none."""
    values = np.full(count, np.nan)
    for moment, value in line.points:
        values[round(moment - data.start)] = value
    return values


def legend_of(query: Query, line: Line) -> str:
    """The legend of a series, from its labels."""
    name = query.legend
    for label, value in line.labels.items():
        name = name.replace(f"{{{{{label}}}}}", value)
    return name


def _dress(axes: Axes, panel: Panel, data: ScrapedData) -> None:
    axes.set_xlim(0, data.end - data.start)
    axes.set_ylim(bottom=panel.min)
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(colors="#8e8e99", labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds // 60:.0f}:{seconds % 60:02.0f}")
