"""How long an image takes in each stage, and how many images of a worker are in which."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self, TypedDict

from inference.review.doubts import Review
from watcher.protocol import OutputReport


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
        """Count an image out of one stage and into another; an empty name is outside of the worker."""
        with self._lock:
            self._images[before] -= 1
            self._images[after] += 1

    def snapshot(self, inferring: int) -> dict[str, int]:
        """Images by stage. Of those in `infer`, `inferring` are on the device; the others wait for their batch."""
        with self._lock:
            images = dict(self._images)
        submitted = images.get("infer", 0)
        images["infer"] = min(submitted, inferring)
        images["batch_wait"] = submitted - images["infer"]
        return {stage: count for stage, count in images.items() if stage and count}


class StageTimer:
    """Measures one image: `with StageTimer(...) as timer: with timer.timed("read"): ...`."""

    def __init__(self, found_at: float, occupancy: Occupancy) -> None:
        self._occupancy = occupancy
        # Monotonic, so that no stage ends before it began when the clock is set back.
        self._zero = time.time() - time.perf_counter()
        waited = max(0.0, self.now() - found_at)
        self.starts: dict[str, float] = {"queue_wait": self.now() - waited}
        """When each stage began, as Unix times."""
        self.stages: dict[str, float] = {"queue_wait": waited}
        """How long each took, in seconds."""
        self.stage = ""
        """The last stage that was entered."""
        self.bytes_in = self.bytes_out = self.pixels = 0
        self.coverage = 0.0
        self.model = ""
        self.review: Review | None = None
        self.other: Review | None = None
        self.by_strong = self.truncated = False
        self.outputs: list[OutputReport] = []
        """What was written."""

    def now(self) -> float:
        """The present Unix time."""
        return self._zero + time.perf_counter()

    def enter(self, stage: str) -> None:
        """Make this the image's stage, without measuring it."""
        self._occupancy.move(self.stage, stage)
        self.stage = stage

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage; it remains the current one afterwards, so that an error is reported with it."""
        self.enter(stage)
        started = self.starts[stage] = self.now()
        try:
            yield
        finally:
            self.stages[stage] = self.now() - started

    def split(self, stage: str, first: str, seconds: float) -> None:
        """Divide a measured stage: only its last `seconds` were `stage`, and the time before them was `first`."""
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
