"""What is measured on the way of an image, and where all images of a worker are."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, TypedDict


class Times(TypedDict):
    """The fields of a report that say how long its image took; all to the microsecond."""

    stages: dict[str, float]
    """Seconds by stage."""
    starts: dict[str, float]
    """When each stage began, as Unix times."""
    ended: float
    """When the report was made, as a Unix time."""


class Occupancy:
    """How many images are in each stage now. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: Counter[str] = Counter()

    def move(self, before: str, after: str) -> None:
        """An image goes from one stage to another; an empty one is outside."""
        with self._lock:
            self._images[before] -= 1
            self._images[after] += 1

    def snapshot(self, inferring: int) -> dict[str, int]:
        """Images by stage. `inferring` are on the device; the others that were handed to it wait for their batch."""
        with self._lock:
            images = dict(self._images)
        submitted = images.get("infer", 0)
        images["infer"] = min(submitted, inferring)
        images["batch_wait"] = submitted - images["infer"]
        return {stage: count for stage, count in images.items() if stage and count}


class Trip:
    """`with Trip(...) as trip: with trip.timed("read"): ...`; times of day are Unix times."""

    def __init__(self, found_at: float, occupancy: Occupancy) -> None:
        self._occupancy = occupancy
        # So that a clock that is set back makes no stage end before it began.
        self._zero = time.time() - time.perf_counter()
        waited = max(0.0, self.now() - found_at)
        self.starts: dict[str, float] = {"queue_wait": self.now() - waited}
        """When each stage began."""
        self.stages: dict[str, float] = {"queue_wait": waited}
        """How long each took, in seconds."""
        self.stage = ""
        """The last one that was entered."""
        self.bytes_in = self.bytes_out = self.pixels = 0
        self.coverage = 0.0

    def now(self) -> float:
        """The time of day."""
        return self._zero + time.perf_counter()

    def enter(self, stage: str) -> None:
        """The image is in this stage from now on."""
        self._occupancy.move(self.stage, stage)
        self.stage = stage

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage; it stays the current one if it fails."""
        self.enter(stage)
        started = self.starts[stage] = self.now()
        try:
            yield
        finally:
            self.stages[stage] = self.now() - started

    def split(self, stage: str, first: str, seconds: float) -> None:
        """Only the last `seconds` of a stage were it; what was before is called `first`."""
        whole, began = self.stages[stage], self.starts[stage]
        self.starts[first], self.stages[first] = began, max(0.0, whole - seconds)
        self.starts[stage], self.stages[stage] = began + self.stages[first], seconds

    def times(self) -> Times:
        """What has been measured so far."""
        return {"stages": _rounded(self.stages), "starts": _rounded(self.starts), "ended": round(self.now(), 6)}

    def __enter__(self) -> Self:
        self.enter("queue_wait")
        return self

    def __exit__(self, *exc: object) -> None:
        self._occupancy.move(self.stage, "")


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {stage: round(value, 6) for stage, value in seconds.items()}
