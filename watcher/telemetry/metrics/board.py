"""Holds the library's objects for a catalogue of series, with every set of labels at 0 from the start."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from watcher.telemetry.metrics.series import Series
from watcher.telemetry.metrics.words import OTHER


class Board:
    """Counts into a registry. Labels are given by position; a value that no label has counts as `other`."""

    def __init__(self, registry: CollectorRegistry, catalogue: Iterable[Series[Any]]) -> None:
        self._made: dict[Series[Any], Any] = {series: series.make(registry) for series in catalogue}
        self._found: dict[tuple[Series[Any], tuple[str, ...]], Any] = {}
        """What was counted into before: the library takes its time to find it."""
        self._devices: set[str] = set()
        self._lock = threading.Lock()
        for series in self._made:
            if series.labels and not series.per_device:
                self._begin(series)

    def open(self, device: str) -> None:
        """Series of a device stand at 0 from when it is first heard of."""
        with self._lock:
            if device in self._devices:
                return
            self._devices.add(device)
        for series in self._made:
            if series.per_device and not series.late:
                self._begin(series, device)

    def add(self, series: Series[Counter], *labels: str, by: float = 1.0) -> None:
        """Count."""
        self._one(series, labels).inc(by)

    def set(self, series: Series[Gauge], value: float, *labels: str) -> None:
        """Show a value."""
        self._one(series, labels).set(value)

    def show(self, series: Series[Gauge], values: Mapping[str, float]) -> None:
        """Set a gauge of one label for each of its values, 0 for those not given; unknown ones add up in the last."""
        [words] = series.labels.values()
        rest = sum(value for word, value in values.items() if word not in words)
        for word in words:
            self.set(series, values.get(word, 0) + (rest if word == words[-1] else 0), word)

    def observe(self, series: Series[Histogram], value: float, *labels: str) -> None:
        """Add a value to a distribution."""
        self._one(series, labels).observe(value)

    def tell(self, series: Series[Info], facts: Mapping[str, str], *labels: str) -> None:
        """Show facts; those of earlier are gone."""
        self._one(series, labels).info(dict(facts))

    def withdraw(self, series: Series[Any], *labels: str) -> None:
        """Show nothing rather than what is not known any more."""
        made = self._made[series]
        with self._lock:
            for given in [given for found, given in self._found if found is series and given[:1] == labels[:1]]:
                del self._found[series, given]
            for rest in series.sets(labels[0]):
                made.remove(*rest)

    def _begin(self, series: Series[Any], device: str = "") -> None:
        for labels in series.sets(device):
            self._made[series].labels(*labels)

    def _one(self, series: Series[Any], labels: tuple[str, ...]) -> Any:
        found = self._found.get((series, labels))
        return self._find(series, labels) if found is None else found

    def _find(self, series: Series[Any], labels: tuple[str, ...]) -> Any:
        made = self._made[series]
        if not labels:
            return made
        known = zip(labels, series.labels.values(), strict=True)
        words = tuple(label if not values or label in values else OTHER for label, values in known)
        with self._lock:
            found = made.labels(*words)
            if words == labels:  # whatever else is asked for must not fill the memory
                self._found[series, labels] = found
        return found


class Totals:
    """Turns what workers count since they started into growth, whatever becomes of them."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def growth(self, worker: str, name: str, total: float) -> float:
        """How much more the worker has counted than ever before.

        Less than before is no new worker, of which `forget` would have told: two reports may have overtaken each other,
        and the time of a batch that is just ending may be counted twice for a moment.
        """
        with self._lock:
            last = self._last.setdefault(worker, {})
            before = last.get(name, 0.0)
            last[name] = max(before, total)
        return max(0.0, total - before)

    def forget(self, worker: str) -> None:
        """The worker's process is another one, and counts from 0."""
        with self._lock:
            self._last.pop(worker, None)
