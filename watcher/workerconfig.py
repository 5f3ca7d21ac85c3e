"""What the supervisor tells a worker when it starts it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class WorkerConfig:
    """All that a worker needs to know; plain values, since it travels as JSON."""

    owner: str
    source: str
    sink: str
    queue: str
    device: str
    model: str
    canvas: int | None
    batch: int
    max_wait: float
    threads: int
    images_in_flight: int
    pixels_in_flight: int
    max_pixels: int
    png_level: int
    device_timeout: float
    log_format: str
    log_level: str
    test_hook: str = ""

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))
