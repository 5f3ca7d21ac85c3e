"""What the supervisor tells a worker when it starts it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerConfig:
    """All that a worker needs to know; plain values, since it travels as JSON."""

    owner: str
    links: dict[str, Any]
    """Source, sink and queue: a `links.Links`."""
    after: str
    device: str
    model: dict[str, Any]
    """A `catalogue.ModelEntry`: what the supervisor has found, and made job ids of."""
    batch: int
    max_wait: float
    threads: int
    cuda_graphs: bool
    images_in_flight: int
    pixels_in_flight: int
    max_pixels: int
    png_level: int
    device_timeout: float
    log_format: str
    log_level: str
    test_hook: str = ""

    @property
    def shared(self) -> bool:
        """Whether the queue is a broker's, which is waited at, and where others may take what is given back."""
        return not str(self.links["queue"]).startswith("sqlite://")

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))
