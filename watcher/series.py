"""What making and showing Prometheus series takes, whatever they say: `metrics` says it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

# The library would add a `_created` gauge to each counter and histogram: a third more series that nobody asks for.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Family:
    """Series that belong together: those of a subclass, with our prefix, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._common: Any = {"namespace": "alphadrop", "registry": registry}

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A new counter; the library adds `_total` to its name."""
        return Counter(name, text, labels, **self._common)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """A new gauge."""
        return Gauge(name, text, labels, **self._common)

    def histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        """A new histogram; the last bucket, of everything, is added."""
        return Histogram(name, text, labels, buckets=buckets, **self._common)

    def info(self, name: str, text: str, *labels: str) -> Info:
        """A new info; the library adds `_info` to its name."""
        return Info(name, text, labels, **self._common)


class Totals:
    """Turns what workers count since they started into growth, which is never negative when one starts anew."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def growth(self, worker: str, name: str, total: float) -> float:
        """How much more the worker has counted than when it was last heard of."""
        with self._lock:
            last = self._last.setdefault(worker, {})
            before, last[name] = last.get(name, 0.0), total
        return total - before if total >= before else total

    def forget(self, worker: str) -> None:
        """The worker's process is another one, and counts from 0."""
        with self._lock:
            self._last.pop(worker, None)


def zero(series: Counter | Gauge | Histogram, labels: Iterable[str]) -> None:
    """Make a series of one label stand at 0 for each of its values, unless it has counted already."""
    for label in labels:
        series.labels(label)


def show(gauge: Gauge, labels: Sequence[str], values: Mapping[str, float]) -> None:
    """Set a gauge of one label for each of its values; what is not among `labels` is summed up under the last one."""
    rest = sum(value for label, value in values.items() if label not in labels)
    for label in labels:
        gauge.labels(label).set(values.get(label, 0) + (rest if label == labels[-1] else 0))
