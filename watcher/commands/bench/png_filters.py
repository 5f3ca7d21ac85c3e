"""Alternatives for the PNG writer: every filter, with a long and a short deflate window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from watcher.commands.bench.report import Cell, Table
from watcher.commands.bench.stats import spread
from watcher.commands.bench.timing import repeat

Bytes = NDArray[np.uint8]

CHOICES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "None": (0,),
        "Sub": (1,),
        "Up": (2,),
        "Average": (3,),
        "Paeth": (4,),
        "None or Up": (0, 2),
        "None, Sub or Up": (0, 1, 2),
        "all five": (0, 1, 2, 3, 4),
    }
)
"""Filters that a row may have, by their PNG numbers; of several, the one with the smallest sum of absolute values."""
WINDOWS: Mapping[str, int] = MappingProxyType({"32 kB": 15, "512 B": 9})


class FilterComparison:
    """Bytes and seconds of deflate for every choice of filters and every window, over all cut-outs."""

    def __init__(self) -> None:
        self._keys = [(choice, window) for choice in CHOICES for window in WINDOWS]
        self._bytes = dict.fromkeys(self._keys, 0)
        self._seconds: dict[tuple[str, str], list[float]] = {key: [] for key in self._keys}

    def add(self, pixels: Bytes) -> None:
        """Filter and deflate one cut-out, H x W x 4, with every choice and window."""
        rows = np.stack([filtered(pixels, number) for number in range(5)])
        costs = np.stack([np.abs(some[:, 1:].view(np.int8).astype(np.int16)).sum(1) for some in rows])
        for choice, window in self._keys:
            allowed = np.array(CHOICES[choice])
            best = allowed[costs[allowed].argmin(0)]
            self._deflate((choice, window), rows[best, np.arange(len(best))].tobytes())

    def _deflate(self, key: tuple[str, str], data: bytes) -> None:
        def deflate() -> bytes:
            return isal_zlib.compress(data, 1, WINDOWS[key[1]])

        self._bytes[key] += len(deflate())
        self._seconds[key] += repeat(deflate, 1, warmups=0).wall

    def table(self, base: int, megapixels: Sequence[float]) -> Table:
        """One row per choice and window; `base` is the size in bytes of all files that Pillow's default makes."""
        return Table(
            name="filters",
            title="Alternative filters and windows for alphadrop's writer",
            columns=(
                "filters of a row",
                "window",
                "ms per megapixel, deflate alone",
                "size relative to Pillow's default",
            ),
            rows=tuple(self._row(key, base, megapixels) for key in self._keys),
            note="Deflate at level 1 in all rows. Each image row takes the filter with the smallest sum of absolute "
            "differences; the time does not include filtering. alphadrop's writer uses Up and 512 B.",
        )

    def _row(self, key: tuple[str, str], base: int, megapixels: Sequence[float]) -> tuple[Cell, ...]:
        times = [1000 * seconds / area for seconds, area in zip(self._seconds[key], megapixels, strict=True)]
        return *key, spread(times), round(self._bytes[key] / base, 3)


def filtered(pixels: Bytes, number: int) -> Bytes:
    """Filter H x W x 4 pixels into PNG rows, H x (1 + 4 W), with one filter (PNG specification, section 9.2)."""
    rows = pixels.reshape(len(pixels), -1)
    left, above, corner = (np.zeros_like(rows) for _ in range(3))
    left[:, 4:], above[1:], corner[1:, 4:] = rows[:, :-4], rows[:-1], rows[:-1, :-4]
    result = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    result[:, 0] = number
    np.subtract(rows, _predicted(number, left, above, corner), out=result[:, 1:])
    return result


def _predicted(number: int, left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    if number < 3:
        return (np.zeros_like(left), left, above)[number]
    if number == 3:
        return (left & above) + ((left ^ above) >> 1)  # half their sum, within eight bits
    return _paeth(left, above, corner)


def _paeth(left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    """The neighbour that is nearest to left + above - corner; in a tie, the first of the three."""
    a, b, c = (neighbour.astype(np.int16) for neighbour in (left, above, corner))
    to_left, to_above, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest: Bytes = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)
