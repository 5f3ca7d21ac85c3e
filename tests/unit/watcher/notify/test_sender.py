"""The sender: what it sends when, in which order, and what it reports. The clocks stand still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.equipment.notes import done
from tests.equipment.support import Clock, wait_until
from watcher.core.errors import Unavailable
from watcher.notify.base import ACCEPTED, Answer, Reply
from watcher.notify.progress import Progress, SendResult
from watcher.notify.sender import Pace, Sender
from watcher.queues.outbox import Waiting
from watcher.testing import MemoryOutbox, MemoryTarget

AWAY = Answer(Reply.UNAVAILABLE, "memory://receiver answers 503")
REFUSED = Answer(Reply.REFUSED, "memory://receiver answers 400: no such article", "refused")
QUICK = Pace(one=(0.0, 0.0), target=(0.0, 0.0), poll=5.0, report=0.0, refusals=3)
"""Without any wait, so that each call of `step` sends."""


class Bench:
    """A sender with fakes around it; `steps` does its rounds."""

    def __init__(self, pace: Pace = QUICK) -> None:
        self.clock = Clock(1_700_000_000.0)
        self.outbox = MemoryOutbox(self.clock)
        self.target = MemoryTarget()
        self.reports: list[Progress] = []
        self.sender = Sender(self.outbox, self.target, self.reports.append, pace=pace, clock=self.clock)

    def steps(self, count: int = 50) -> None:
        for _ in range(count):
            self.sender.step()

    @property
    def arrived(self) -> list[str]:
        return [waiting.key for waiting in self.target.accepted]

    @property
    def results(self) -> dict[str, int]:
        total: Counter[SendResult] = Counter()
        for report in self.reports:
            total.update(report.results)
        return {result.value: count for result, count in total.items()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def for_key(key: str, answer: Answer) -> Callable[[Waiting], Answer]:
    """That answer for one key, and acceptance for all others."""
    return lambda waiting: answer if waiting.key == key else ACCEPTED


def test_what_waits_is_delivered_once_and_forgotten(bench: Bench) -> None:
    for key in ("a", "b", "c"):
        bench.outbox.add(done(key))
    bench.steps()
    assert bench.arrived == ["a", "b", "c"]
    assert bench.outbox.stats().pending == 0
    assert bench.results == {"delivered": 3}


def test_an_empty_outbox_is_looked_into_again_after_the_poll(bench: Bench) -> None:
    assert bench.sender.step() == QUICK.poll


def test_one_that_fails_holds_back_its_key_alone(bench: Bench) -> None:
    bench.target.answer = for_key("a", AWAY)
    for key, version in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")):
        bench.outbox.add(done(key, version))
    bench.steps()
    assert bench.arrived == ["b", "b"]
    bench.target.answer = lambda waiting: ACCEPTED
    bench.steps()
    assert [(waiting.key, waiting.id) for waiting in bench.target.accepted[2:]] == [
        ("a", done("a", version).id) for version in ("1", "2")
    ]


def test_one_that_the_target_cannot_handle_does_not_stop_the_others_even_after_an_outage(bench: Bench) -> None:
    bench.target.answer = lambda waiting: AWAY
    for key in ("poison", "b", "c"):
        bench.outbox.add(done(key))
    bench.steps(9)
    assert [len(batch) for batch in bench.target.sent] == [3] + [1] * 8  # one at a time while it takes nothing
    bench.target.answer = for_key("poison", AWAY)
    bench.steps()
    assert sorted(bench.arrived) == ["b", "c"]


def test_one_that_is_refused_too_often_is_set_aside_with_a_log_line(bench: Bench) -> None:
    bench.target.answer = for_key("a", REFUSED)
    bench.outbox.add(done("a", "1"))
    with capture_logs() as lines:
        bench.steps()
    assert bench.outbox.stats() == type(bench.outbox.stats())(set_aside=1)
    (line,) = [line for line in lines if line["log_level"] != "debug"]
    assert line["event"] == "notification_set_aside" and line["key"] == "a" and "no such article" in line["problem"]
    assert bench.results == {"failed": QUICK.refusals - 1, "set_aside": 1}
    bench.target.answer = lambda waiting: ACCEPTED
    bench.outbox.add(done("a", "2"))
    bench.steps()
    assert bench.arrived == ["a"]


def test_an_outage_never_sets_anything_aside(bench: Bench) -> None:
    bench.target.failing = Unavailable("no network")
    bench.outbox.add(done("a"))
    bench.steps(20 * QUICK.refusals)
    bench.target.failing = None
    bench.steps(2)
    assert bench.arrived == ["a"]


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(bench: Bench) -> None:
    bench.target.failing = Unavailable("no network")
    bench.outbox.add(done("a"))
    with capture_logs() as lines:
        bench.steps(10)
        bench.target.failing = None
        bench.steps(10)
    said = [(line["event"], line["target"]) for line in lines if line["log_level"] != "debug"]
    assert said == [("notify_failed", "memory://receiver"), ("notify_recovered", "memory://receiver")]


def test_the_waits_grow_and_the_target_may_ask_for_longer_ones() -> None:
    bench = Bench(Pace(one=(1.0, 300.0), target=(8.0, 30.0)))
    bench.target.answer = lambda waiting: AWAY
    bench.outbox.add(done("a"))
    assert 4 <= bench.sender.step() <= 8  # jitter shortens a wait by up to a half
    assert 0.5 <= (bench.outbox.next_due() or 0) <= 1
    asks = Bench(Pace(one=(1.0, 300.0), target=(8.0, 30.0)))
    asks.target.answer = lambda waiting: Answer(Reply.UNAVAILABLE, "429", "throttled", retry_after=120)
    asks.outbox.add(done("a"))
    assert 119 < asks.sender.step() <= 120
    assert asks.outbox.next_due() == 120


def test_it_reports_what_waits_since_when_and_how_late_it_was(bench: Bench) -> None:
    bench.target.answer = for_key("a", AWAY)
    bench.outbox.add(done("a", at=bench.clock.now - 60))
    bench.outbox.add(done("b", at=bench.clock.now - 30))
    bench.sender.step()
    (report,) = bench.reports
    assert (report.pending, report.oldest, report.delays) == (1, bench.clock.now - 60, (30.0,))
    assert report.results == {SendResult.DELIVERED: 1, SendResult.FAILED: 1}


def test_the_thread_outlives_errors_and_stops_when_told(bench: Bench) -> None:
    bench.target.failing = Unavailable("no network")
    bench.outbox.add(done("a"))
    bench.sender.start()
    wait_until(lambda: bench.target.sent)
    bench.target.failing = None
    bench.sender.wake()
    assert bench.sender.drain(patience=60) == 0
    bench.sender.stop(60)
    assert bench.target.closed and bench.arrived == ["a"]


def test_an_outbox_that_cannot_be_read_is_an_outage_of_its_own_and_leaves_nothing_known(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(limit: int) -> list[Waiting]:
        raise Unavailable("disk full")

    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr(bench.outbox, "due", fail)
        bench.sender.start()
        wait_until(lambda: bench.reports)
    assert bench.reports[-1].pending is None
    bench.outbox.add(done("a"))
    wait_until(lambda: bench.arrived)
    bench.sender.stop(60)
    assert "outbox_failed" in [line["event"] for line in lines]


def test_draining_gives_up_where_nothing_is_delivered(bench: Bench) -> None:
    bench.target.answer = lambda waiting: AWAY
    bench.outbox.add(done("a"))
    assert bench.sender.drain(patience=0.0) == 1
    assert bench.sender.drain(patience=60, give_up=lambda: True) == 1
