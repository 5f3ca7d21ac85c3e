"""Options of the fake model, which are part of its name: `fake:delay=0.05,fail_at=3`. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields

from inference.errors import ModelError


@dataclass(frozen=True)
class FakeOptions:
    """Canvas, delays and failures of the fake model; by default it does not fail."""

    side: float = 128
    """Longer side of the canvas in pixels."""
    delay: float = 0.0
    """Seconds that each batch sleeps, like a device that is busy without using the CPU."""
    load_delay: float = 0.0
    """Seconds that loading sleeps."""
    oom_above: float = 0
    """Batches larger than this fail for lack of memory (0: none)."""
    oom_pixels: float = 0
    """Pictures of more pixels than this fail for lack of memory (0: none)."""
    fail_at: float = 0
    """The device fails for good in this batch, counted from 1 (0: never)."""
    fail_above: float = 0
    """The device fails for good on a picture of more pixels than this (0: none)."""
    confidence: float = 0.0
    """Confidence where the middle of a picture is white; the darker it is, the lower (0: none is recorded).
    Only `FakeEngine` knows it: the real engine measures the matte."""

    @property
    def fails(self) -> bool:
        """Whether the device is to fail or to lack memory."""
        return bool(self.oom_above or self.oom_pixels or self.fail_at or self.fail_above)


def parse_options(name: str) -> FakeOptions:
    """Parse `fake:delay=0.05,fail_at=3`. Raises ModelError for unknown options."""
    text = name.partition(":")[2]
    known = {f.name for f in fields(FakeOptions)}
    pairs = dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    if unknown := set(pairs) - known:
        raise ModelError(f"The fake model has no option {sorted(unknown)[0]!r}; use {', '.join(sorted(known))}.")
    return FakeOptions(**{name: float(value) for name, value in pairs.items()})
