"""Delivers what is in an outbox: at least once, and the notifications of a key in their order.

A notification that fails is sent again with a back-off of its own and holds back only the later ones of its key. While
the target takes nothing at all, the sender tries one notification at a time, each time another one if it can, since one
that the target cannot handle must not stand in the way of the others.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from watcher.core.backoff import Backoff
from watcher.core.errors import WatcherError
from watcher.core.outage import Outage
from watcher.notify.base import Answer, Reply, Target
from watcher.notify.progress import Progress, SendResult
from watcher.queues.outbox import Outbox, Waiting

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a sender tries; all in seconds but for `refusals`."""

    one: tuple[float, float] = (1.0, 300.0)
    """First and longest wait before a notification that failed is sent again."""
    target: tuple[float, float] = (1.0, 30.0)
    """First and longest wait before anything is sent to a target that took nothing."""
    poll: float = 2.0
    """Longest wait before the outbox is looked into again: another process may have added to it."""
    report: float = 1.0
    """Shortest time between two reports, unless there is nothing left to send."""
    refusals: int = 12
    """Refusals after which a notification is set aside: with the waits above, after about a quarter of an hour."""


class Sender:
    """Sends from one outbox to one target, which it owns, in a thread of its own."""

    def __init__(
        self,
        outbox: Outbox,
        target: Target,
        report: Callable[[Progress], None] = lambda progress: None,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Starts nothing yet; `clock` gives Unix times."""
        self._outbox, self._target, self._report, self._clock = outbox, target, report, clock
        self._pace = pace or Pace()
        self._outage = Outage(log.bind(target=target.name), "notify_failed", "notify_recovered")
        self._target_backoff = Backoff(*self._pace.target)
        self._blocked_until = self._reported_at = 0.0
        self._results: Counter[SendResult] = Counter()
        self._delays: list[float] = []
        self._changed = threading.Condition()
        self._woken = self._stopping = False
        self._thread: threading.Thread | None = None
        self.last_delivery = time.monotonic()
        """When a notification was delivered last, or the sender was made, as a monotonic time."""

    def start(self) -> None:
        """Start the thread. No error ends it."""
        self._thread = threading.Thread(target=self._run, daemon=True, name="notify")
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox: there may be a notification."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def stop(self, timeout: float) -> None:
        """Finish the request in progress, for at most `timeout` seconds, and disconnect. The outbox keeps the rest."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join(timeout)
        self._target.close()

    def drain(self, patience: float, give_up: Callable[[], bool] = lambda: False) -> int:
        """Wait until everything is delivered, but not while nothing is for `patience` seconds; returns what is left.

        Raises Unavailable.
        """
        began = time.monotonic()
        while (left := self._outbox.stats().pending) and not give_up():
            if time.monotonic() - max(began, self.last_delivery) > patience:
                break
            self.wake()
            time.sleep(0.05)
        return left

    def step(self) -> float:
        """Send what is due now, and return the seconds to wait before the next call. Raises Unavailable."""
        blocked = self._blocked_until - time.monotonic()
        if blocked > 0:
            return blocked
        due = self._outbox.due(1 if self._outage.failures else self._target.batch)
        if not due:
            self._send_report(idle=True)
            wait = self._outbox.next_due()
            return self._pace.poll if wait is None else min(wait, self._pace.poll)
        answers = self._send(due)
        self._settle(due, answers)
        self._judge_target(answers)
        self._send_report()
        return max(0.0, self._blocked_until - time.monotonic())

    def _run(self) -> None:
        outbox = Outage(log.bind(target=self._target.name), "outbox_failed", "outbox_recovered")
        backoff = Backoff(*self._pace.target)
        while not self._stopping:
            try:
                wait = self.step()
                outbox.recover()
                backoff.reset()
            except Exception as error:
                outbox.fail(error)
                self._report(Progress())
                backoff.fail()
                wait = backoff.delay()
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._stopping, wait)
                self._woken = False

    def _send(self, due: Sequence[Waiting]) -> list[Answer]:
        try:
            return self._target.send(due)
        except WatcherError as error:  # a ConfigurationError too: the operator may correct what is there
            return [Answer(Reply.UNAVAILABLE, str(error), error.reason)] * len(due)

    def _settle(self, due: Sequence[Waiting], answers: Sequence[Answer]) -> None:
        """Forget what was accepted, first of all, and postpone or set aside the rest."""
        pairs = list(zip(due, answers, strict=True))
        accepted = [waiting for waiting, answer in pairs if answer.reply is Reply.ACCEPTED]
        if accepted:
            self._outbox.delivered(accepted)
            now, self.last_delivery = self._clock(), time.monotonic()
            self._results[SendResult.DELIVERED] += len(accepted)
            self._delays += [max(0.0, now - waiting.finished_at) for waiting in accepted]
        for waiting, answer in pairs:
            if answer.reply is not Reply.ACCEPTED:
                self._postpone(waiting, answer)

    def _postpone(self, waiting: Waiting, answer: Answer) -> None:
        if answer.reply is Reply.REFUSED and waiting.failures + 1 >= self._pace.refusals:
            self._outbox.set_aside(waiting, answer.problem)
            self._results[SendResult.SET_ASIDE] += 1
            log.warning("notification_set_aside", id=waiting.id, key=waiting.key, problem=answer.problem)
            return
        delay = Backoff(*self._pace.one, failures=waiting.failures + 1).delay()
        self._outbox.postpone(waiting, max(delay, answer.retry_after))
        self._results[SendResult.FAILED] += 1
        log.debug("notification_failed", id=waiting.id, key=waiting.key, problem=answer.problem)

    def _judge_target(self, answers: Sequence[Answer]) -> None:
        """Leave the target alone for a while if it took nothing; one that refuses something is there."""
        if any(answer.reply is not Reply.UNAVAILABLE for answer in answers):
            self._outage.recover()
            self._target_backoff.reset()
            return
        for answer in answers:
            self._outage.record(answer.reason, answer.problem)
        self._target_backoff.fail()
        pause = max(self._target_backoff.delay(), *(answer.retry_after for answer in answers))
        self._blocked_until = time.monotonic() + pause

    def _send_report(self, *, idle: bool = False) -> None:
        now = time.monotonic()
        if not idle and now - self._reported_at < self._pace.report:
            return
        stats = self._outbox.stats()
        self._report(
            Progress(
                results=dict(self._results), delays=tuple(self._delays), pending=stats.pending, oldest=stats.oldest
            )
        )
        self._reported_at = now
        self._results.clear()
        self._delays.clear()
