"""All that /metrics shows: `catalogue` has every series and bucket, `recorder` counts, `board` is the machinery."""

from watcher.telemetry.metrics.recorder import Metrics

__all__ = ["Metrics"]
