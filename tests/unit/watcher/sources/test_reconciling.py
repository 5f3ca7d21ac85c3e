"""Comparisons, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef
from watcher.sources.base import DiscoveredVia, SourceCallbacks, Stop
from watcher.sources.reconciling import BATCH, ReconcilingSource


class ScriptedComparisons:
    """Finds what its script says, and records the calls."""

    def __init__(self, *passes: list[str]) -> None:
        self._passes = iter(passes)
        self.history: list[str] = []

    def find(self, stop: Stop) -> Iterator[ImageRef]:
        self.history.append("find")
        for key in next(self._passes):
            if key == "broken":
                raise Unavailable("no network")
            yield ImageRef(key, "1", 1)

    def confirm(self) -> None:
        self.history.append("confirm")


def collect(source: ReconcilingSource, batches: int, stop: threading.Event) -> list[list[str]]:
    found = [[a.ref.key for a in batch] for batch in islice(source.arrivals(stop), batches)]
    stop.set()
    return found


def test_only_the_first_comparison_ends_with_an_empty_list() -> None:
    passes = ScriptedComparisons(["a", "b"], ["c"], [], ["d"])
    source = ReconcilingSource(passes, 0.0)
    assert collect(source, 4, threading.Event()) == [["a", "b"], [], ["c"], ["d"]]


def test_a_comparison_is_confirmed_once_everything_was_taken() -> None:
    passes = ScriptedComparisons(["a"] * (BATCH + 1), [])
    arrivals = ReconcilingSource(passes, 0.0).arrivals(threading.Event())
    assert [len(next(arrivals)), len(next(arrivals))] == [BATCH, 1]
    assert passes.history == ["find"]
    assert next(arrivals) == []
    assert passes.history == ["find", "confirm"]


def test_arrivals_are_marked_as_found_by_reconciling() -> None:
    arrivals = ReconcilingSource(ScriptedComparisons(["a"]), 0.0).arrivals(threading.Event())
    assert [arrival.discovered_via for arrival in next(arrivals)] == [DiscoveredVia.RECONCILE]


def test_each_comparison_is_reported() -> None:
    told: list[int] = []
    callbacks = SourceCallbacks(on_listing=lambda found, seconds: told.append(found))
    collect(ReconcilingSource(ScriptedComparisons(["a", "b"], [], ["c"], ["d"]), 0.0, callbacks), 4, threading.Event())
    assert told == [2, 0, 1]


def test_an_error_ends_it_without_a_confirmation() -> None:
    passes = ScriptedComparisons(["a", "broken"])
    arrivals = ReconcilingSource(passes, 0.0).arrivals(threading.Event())
    with pytest.raises(Unavailable):
        list(arrivals)
    assert passes.history == ["find"]


def test_it_stops_between_two_comparisons() -> None:
    stop = threading.Event()
    arrivals = ReconcilingSource(ScriptedComparisons(["a"], ["b"]), 3600.0).arrivals(stop)
    assert [len(next(arrivals)), len(next(arrivals))] == [1, 0]
    stop.set()
    assert list(arrivals) == []
