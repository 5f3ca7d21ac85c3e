"""Figures of the reference article, which describes the service that alphadrop replaces.

The article measured one A100 with 40 GB, and two of them under DataParallel. It does not name the sizes of the
pictures of tables 3 and 4; they follow from its figures: 1 / 2.35 s is 0.42 images/s (1920x1080), and 1 / 1.42 s is
0.70 images/s (800x800).
"""

from __future__ import annotations

from collections.abc import Mapping

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.report import Cell

Pair = tuple[float, float]
"""One GPU, two GPUs."""

MILLISECONDS: Mapping[str, Pair] = {"800x800": (1420, 1380), "1200x1200": (1960, 1890), "1920x1080": (2350, 2240)}
GIGABYTES: Mapping[str, Pair] = {"800x800": (5.2, 4.9), "1200x1200": (6.1, 5.8), "1920x1080": (7.3, 7.0)}
FOLDER_SECONDS: Pair = (1180, 635)
FOLDER_RATE: Pair = (0.42, 0.79)
BATCH_RATE: Mapping[int, Pair] = {
    1: (0.70, 0.72),
    2: (0.75, 0.80),
    4: (0.82, 0.90),
    8: (0.85, 1.05),
    16: (0.88, 1.12),
    32: (0.90, 1.15),
}
"""Images a second by batch size. Above 32 the article ran out of memory."""


def article_cells(pair: Pair | None) -> tuple[Cell, Cell]:
    """The two cells of a row that show the article's figures."""
    return pair or (None, None)


def columns(context: BenchContext, first: str, unit: str) -> tuple[str, ...]:
    """Column titles of a table that shows each group of devices, then the article's figures."""
    return (
        first,
        *(f"{group.name}, {unit}" for group in context.groups),
        f"article 1 GPU, {unit}",
        f"article 2 GPUs, {unit}",
    )
