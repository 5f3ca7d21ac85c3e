"""Medians, spreads and ratios of repeated measurements."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict


class Spread(BaseModel):
    """Several measurements of one quantity: median, lowest, highest and their number."""

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
    """Summarise measurements. Raises ValueError for an empty sequence."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(median=median(values), low=min(values), high=max(values), count=len(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Spread of the ratios, repeat by repeat, in which a disturbance of a whole repeat cancels out."""
    return spread([upper / lower for upper, lower in zip(numerators, denominators, strict=True)])


def number(value: float) -> str:
    """Format with three significant digits, but with all digits before the decimal point.

    >>> number(1234.5), number(12.34), number(0.012345), number(2)
    ('1234', '12.3', '0.0123', '2')
    """
    if value == 0 or abs(value) >= 100 or float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:#.3g}"
