"""All that /metrics shows: `catalogue` has every series and bucket, `recorder` counts, `board` is the machinery."""

from watcher.metrics.recorder import Metrics

__all__ = ["Metrics"]
