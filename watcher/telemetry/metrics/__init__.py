"""All metrics: `definitions` lists them, `labels` their label values, `recorder` records, `registry` holds values."""

from watcher.telemetry.metrics.recorder import Metrics

__all__ = ["Metrics"]
