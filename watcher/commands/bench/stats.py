"""Medians and spreads, and ratios that hold because both sides were measured in one run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict


class Spread(BaseModel):
    """Several measurements of one thing: their median, the lowest, the highest, and how many there were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        if self.count == 1:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError where nothing was measured."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(median=median(values), low=min(values), high=max(values), count=len(values))


def ratios(those: Sequence[float], these: Sequence[float]) -> Spread:
    """How many times as much those are as these, repeat by repeat: what disturbed both at a time cancels out."""
    return spread([that / this for that, this in zip(those, these, strict=True)])


def number(value: float) -> str:
    """Three digits that count, and no more: `1234`, `12.3`, `0.0123`.

    >>> number(1234.5), number(12.34), number(0.012345), number(2)
    ('1234', '12.3', '0.0123', '2')
    """
    if value == 0 or abs(value) >= 100 or float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:#.3g}"
