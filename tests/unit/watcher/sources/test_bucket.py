"""Passes over a bucket, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef
from watcher.sources.base import Hint, SourceNews, Stop
from watcher.sources.bucket import BATCH, BucketSource


class Finder:
    """Finds what it is told to, and remembers what its owner did."""

    def __init__(self, *passes: list[str]) -> None:
        self._passes = iter(passes)
        self.history: list[str] = []

    def find(self, stop: Stop) -> Iterator[ImageRef]:
        self.history.append("find")
        for key in next(self._passes):
            if key == "broken":
                raise Unavailable("no network")
            yield ImageRef(key, "1", 1)

    def finished(self) -> None:
        self.history.append("finished")


def collect(source: BucketSource, batches: int, stop: threading.Event) -> list[list[str]]:
    found = [[a.ref.key for a in batch] for batch in islice(source.arrivals(stop), batches)]
    stop.set()
    return found


def test_the_first_pass_ends_with_an_empty_list_and_the_next_ones_do_not() -> None:
    finder = Finder(["a", "b"], ["c"], [], ["d"])
    source = BucketSource(finder, 0.0)
    assert collect(source, 4, threading.Event()) == [["a", "b"], [], ["c"], ["d"]]


def test_a_pass_is_finished_when_all_it_found_was_taken() -> None:
    finder = Finder(["a"] * (BATCH + 1), [])
    arrivals = BucketSource(finder, 0.0).arrivals(threading.Event())
    assert [len(next(arrivals)), len(next(arrivals))] == [BATCH, 1]
    assert finder.history == ["find"]
    assert next(arrivals) == []
    assert finder.history == ["find", "finished"]


def test_what_is_found_was_not_announced() -> None:
    arrivals = BucketSource(Finder(["a"]), 0.0).arrivals(threading.Event())
    assert [arrival.hint for arrival in next(arrivals)] == [Hint.RECONCILE]


def test_each_pass_is_told_of() -> None:
    told: list[int] = []
    news = SourceNews(scanned=lambda found, seconds: told.append(found))
    collect(BucketSource(Finder(["a", "b"], [], ["c"], ["d"]), 0.0, news), 4, threading.Event())
    assert told == [2, 0, 1]


def test_trouble_ends_it_and_is_not_taken_for_the_end_of_a_pass() -> None:
    finder = Finder(["a", "broken"])
    arrivals = BucketSource(finder, 0.0).arrivals(threading.Event())
    with pytest.raises(Unavailable):
        list(arrivals)
    assert finder.history == ["find"]


def test_it_stops_between_two_passes() -> None:
    stop = threading.Event()
    arrivals = BucketSource(Finder(["a"], ["b"]), 3600.0).arrivals(stop)
    assert [len(next(arrivals)), len(next(arrivals))] == [1, 0]
    stop.set()
    assert list(arrivals) == []
