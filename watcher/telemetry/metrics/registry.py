"""What defines a metric, and the registry of values, in which each combination of labels exists from the start."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from watcher.telemetry.metrics.labels import OTHER

# Otherwise the library adds a `_created` gauge to each counter and histogram: a third more series that nobody uses.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

T = TypeVar("T", Counter, Gauge, Histogram, Info)

NAMESPACE = "alphadrop"
DEVICE = "device"
"""The label whose values are known only once a worker has reported."""
_UNITS = {
    "_timestamp_seconds": "Unix time in seconds",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_ratio": "0 to 1",
    "_watts": "watts",
    "_celsius": "degrees Celsius",
    "_images": "images",
    "_pixels": "pixels",
}


class OptionalGauge(Gauge):
    """A gauge without labels that has no sample until it is set, and none after `unset`."""

    _is_set = False

    def set(self, value: float) -> None:
        """Set the value."""
        self._is_set = True
        super().set(value)

    def unset(self) -> None:
        """Forget the value."""
        self._is_set = False

    def collect(self) -> Iterable[prometheus_client.Metric]:
        """The metric with its sample, if there is one."""
        for family in super().collect():
            if not self._is_set:
                family.samples.clear()
            yield family


@dataclass(frozen=True, eq=False)
class Metric(Generic[T]):
    """The definition of one metric. `name` lacks the namespace and the suffixes `_total` and `_info`."""

    kind: type[T]
    name: str
    help: str
    """The help text on `/metrics`: one sentence that says what is measured."""
    notes: str = ""
    """How to read it and what to use it for. Appears on the reference page only."""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The values of each label; empty for DEVICE."""
    combinations: Sequence[tuple[str, ...]] = ()
    """The combinations of label values that occur, where not every value occurs with every other one."""
    buckets: Sequence[float] = ()
    info_labels: Sequence[str] = ()
    """The names of the labels that carry the facts of an Info."""
    only_when_known: bool = False
    """Whether there is no sample before a value is known, because 0 would be wrong."""
    unit: str = ""

    @property
    def full_name(self) -> str:
        """The name as queries use it."""
        return f"{NAMESPACE}_{self.name}{ {Counter: '_total', Info: '_info'}.get(self.kind, '') }"

    @property
    def units(self) -> str:
        """The unit in words; empty for a plain number."""
        return self.unit or next((text for ending, text in _UNITS.items() if self.name.endswith(ending)), "")

    @property
    def per_device(self) -> bool:
        """Whether there is a sample for each device."""
        return DEVICE in self.labels

    def label_sets(self, device: str = "") -> Iterator[tuple[str, ...]]:
        """Every combination of label values, in the order of `labels`; of one device where the metric is per device."""
        values = [(device,) if name == DEVICE else values for name, values in self.labels.items()]
        return iter(self.combinations or product(*values))

    def create(self, registry: CollectorRegistry) -> T:
        """Create the metric in the client library's registry."""
        options: Any = {"buckets": self.buckets} if self.buckets else {}
        kind: Any = OptionalGauge if self.kind is Gauge and self.only_when_known and not self.labels else self.kind
        created: T = kind(self.name, self.help, tuple(self.labels), namespace=NAMESPACE, registry=registry, **options)
        return created


class MetricRegistry:
    """The values of all metrics. Labels are given by position; a value that a label does not list becomes `other`."""

    def __init__(self, registry: CollectorRegistry, definitions: Iterable[Metric[Any]]) -> None:
        self._metrics: dict[Metric[Any], Any] = {metric: metric.create(registry) for metric in definitions}
        self._cache: dict[tuple[Metric[Any], tuple[str, ...]], Any] = {}
        """Children by their labels: looking one up in the library is slow."""
        self._devices: set[str] = set()
        self._lock = threading.Lock()
        for metric in self._metrics:
            if metric.labels and not metric.per_device and not metric.only_when_known:
                self._create_children(metric)

    def add_device(self, device: str) -> None:
        """Create the metrics of a device at 0, except those of which 0 would be wrong. Does nothing the second time."""
        with self._lock:
            if device in self._devices:
                return
            self._devices.add(device)
        for metric in self._metrics:
            if metric.per_device and not metric.only_when_known:
                self._create_children(metric, device)

    def increment(self, metric: Metric[Counter], *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        self._child(metric, labels).inc(by)

    def set(self, metric: Metric[Gauge], value: float, *labels: str) -> None:
        """Set a gauge."""
        self._child(metric, labels).set(value)

    def set_each(self, metric: Metric[Gauge], values: Mapping[str, float]) -> None:
        """Set a gauge with one label for each value of that label.

        Label values that `values` lacks become 0. The last label value also gets the sum of all that are not listed.
        """
        [listed] = metric.labels.values()
        rest = sum(number for label, number in values.items() if label not in listed)
        for label in listed:
            self.set(metric, values.get(label, 0) + (rest if label == listed[-1] else 0), label)

    def observe(self, metric: Metric[Histogram], value: float, *labels: str) -> None:
        """Add an observation to a histogram."""
        self._child(metric, labels).observe(value)

    def set_info(self, metric: Metric[Info], facts: Mapping[str, str], *labels: str) -> None:
        """Set the labels of an Info metric, replacing all earlier ones."""
        self._child(metric, labels).info(dict(facts))

    def remove(self, metric: Metric[Any], device: str = "") -> None:
        """Show no sample rather than an old value; of one device where the metric is per device."""
        created = self._metrics[metric]
        if not metric.labels:
            created.unset()
            return
        with self._lock:
            for labels in metric.label_sets(device):
                self._cache.pop((metric, labels), None)
                created.remove(*labels)

    def _create_children(self, metric: Metric[Any], device: str = "") -> None:
        for labels in metric.label_sets(device):
            self._metrics[metric].labels(*labels)

    def _child(self, metric: Metric[Any], labels: tuple[str, ...]) -> Any:
        cached = self._cache.get((metric, labels))
        return self._find_child(metric, labels) if cached is None else cached

    def _find_child(self, metric: Metric[Any], labels: tuple[str, ...]) -> Any:
        created = self._metrics[metric]
        if not labels:
            return created
        listed = zip(labels, metric.labels.values(), strict=True)
        known = tuple(label if not values or label in values else OTHER for label, values in listed)
        with self._lock:
            child = created.labels(*known)
            if known == labels:  # unknown labels must not fill the memory
                self._cache[metric, labels] = child
        return child


class CumulativeTotals:
    """Converts workers' cumulative totals into counter increments, across restarts of the workers."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def increment(self, worker: str, name: str, total: float) -> float:
        """How much `total` exceeds the largest total of that name that the worker has reported; at least 0.

        A smaller total does not mean that the worker restarted (`reset` says so): two reports may arrive in the wrong
        order, and the time of a batch that is just finishing may be included twice for a moment.
        """
        with self._lock:
            last = self._last.setdefault(worker, {})
            before = last.get(name, 0.0)
            last[name] = max(before, total)
        return max(0.0, total - before)

    def reset(self, worker: str) -> None:
        """The worker's process was replaced, so that its totals start at 0."""
        with self._lock:
            self._last.pop(worker, None)
