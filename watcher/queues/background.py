"""What goes on behind a broker's queue: messages are kept from running out, and acknowledged when they have ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from watcher.core.backoff import backoff
from watcher.core.counts import Counts
from watcher.core.errors import Denied, Unavailable
from watcher.queues.brokers.base import Broker
from watcher.queues.in_flight import Held

log = structlog.get_logger(__name__)

BATCH = 10
"""So many acknowledgements are sent at once at the latest: SQS takes no more in one request."""
BATCH_SECONDS = 0.2
"""So long the first of them waits for others."""
TRIES = 3
"""So often a broker may refuse a single acknowledgement, before the message is left to come again."""
LOOK_SECONDS = 5.0
"""Between two looks whether messages are still ours, at a broker where they do not run out."""
MOST_BACKOFF = 10.0
MOST_PENDING = 300
"""So many acknowledgements may wait. Whatever is done beyond that is only more that may come again."""
UNHEARD_SECONDS = 30.0
"""So long a broker may take no acknowledgement before nothing more is handed out."""


class Background:
    """A thread whose death is not silent."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._run = run
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True, name=name)
        self._thread.start()

    def check(self) -> None:
        """Raises RuntimeError if it has died."""
        if self._error is not None:
            raise RuntimeError(f"the thread {self._thread.name} has died of a fault") from self._error

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self._thread.join(timeout)

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._error = error
            log.exception("thread_died", thread=self._thread.name)


class Heartbeat:
    """Keeps messages ours: each is extended at a third of the time for which it is, so that one beat may fail."""

    def __init__(
        self, broker: Broker, held: Callable[[], Sequence[Held]], lose: Callable[[Held], bool], counts: Counts
    ) -> None:
        """`lose` is told what is not ours any more; it says whether that is news."""
        self._broker, self._held, self._lose, self._counts = broker, held, lose, counts
        self.every = LOOK_SECONDS if broker.visibility is None else broker.visibility / 3
        """Seconds from one beat to the next."""
        self._stop = threading.Event()
        self._thread = Background("heartbeat", self._run)
        self.check = self._thread.check

    def close(self) -> None:
        """Stop; what is in hand runs out."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        pause = self.every
        while not self._stop.wait(pause):
            pause = self._beat()

    def _beat(self) -> float:
        """Extend everything in hand; seconds until the next time."""
        held = [held for held in self._held() if not held.lost]
        try:
            lost = self._broker.extend([one.message for one in held]) if held else []
        except Unavailable as error:
            self._counts.add("lease_extensions", "failed", len(held))
            log.warning("heartbeat_failed", queue=self._broker.name, problem=str(error))
            return self.every / 5
        handles = [message.handle for message in lost]
        gone = [one for one in held if one.message.handle in handles and self._lose(one)]
        self._counts.add("lease_extensions", "ok", len(held) - len(handles))
        self._counts.add("lease_extensions", "lost", len(gone))
        if gone:
            log.warning("messages_lost", queue=self._broker.name, messages=len(gone))
        return self.every


class Acknowledger:
    """Tells the broker, several at a time and until it has heard, what has become of messages."""

    def __init__(self, broker: Broker, keep: Callable[[Held], None]) -> None:
        """`keep` is given what was to be somebody else's where we may not send."""
        self._broker, self._keep = broker, keep
        self._changed = threading.Condition()
        self._pending: list[Held] = []
        self._tries: dict[Held, int] = {}
        self._trouble: tuple[float, str] | None = None
        """Since when no acknowledgement is taken, by the monotonic clock, and why."""
        self._deadline: float | None = None
        self._thread = Background("acknowledger", self._run)
        self.check = self._thread.check

    def add(self, held: Held) -> None:
        """It has ended, or is to be somebody else's if it is unfinished. Returns at once."""
        with self._changed:
            self._pending.append(held)
            self._changed.notify_all()

    def pending(self) -> list[Held]:
        """What the broker has not heard of yet."""
        with self._changed:
            return list(self._pending)

    def check_heard(self) -> None:
        """Raises Unavailable where so much is not heard, or for so long, that no more is to be done in vain."""
        with self._changed:
            waiting, (since, problem) = len(self._pending), self._trouble or (math.inf, "there are too many")
        if waiting > MOST_PENDING or time.monotonic() - since > UNHEARD_SECONDS:
            raise Unavailable(f"acknowledgements are not taken, {waiting} are waiting: {problem}")

    def close(self, timeout: float) -> None:
        """Tell the rest, for at most `timeout` seconds; what is not told comes again."""
        with self._changed:
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        failures = 0
        while batch := self._next():
            try:
                self._tell(batch)
                failures = 0
            except Unavailable as error:
                failures += 1
                log.warning("acknowledging_failed", queue=self._broker.name, problem=str(error))
                if not self._pause(backoff(failures, BATCH_SECONDS, MOST_BACKOFF)):
                    return

    def _next(self) -> list[Held]:
        """Up to BATCH messages, once there are so many or the first has waited; [] when all is told and we close.

        What has ended is first: a queue that is full takes nothing anew before something has left it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing)
            self._changed.wait_for(lambda: len(self._pending) >= BATCH or self._closing, BATCH_SECONDS)
            return sorted(self._pending, key=lambda held: held.unfinished)[:BATCH]

    @property
    def _closing(self) -> bool:
        return self._deadline is not None

    def _pause(self, seconds: float) -> bool:
        """Wait, less long where we close; False when closing has taken all the time that it may."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closing, seconds):
                return True
        time.sleep(min(seconds, BATCH_SECONDS))
        return self._deadline is None or time.monotonic() < self._deadline

    def _tell(self, batch: list[Held]) -> None:
        """Raises Unavailable; then what is still pending is to be told again."""
        self._acknowledge([held for held in batch if not held.unfinished])
        self._acknowledge(self._pass_on([held for held in batch if held.unfinished]))

    def _acknowledge(self, ended: list[Held]) -> None:
        if not ended:
            return
        try:
            refused = [message.handle for message in self._broker.acknowledge([held.message for held in ended])]
        except Unavailable as error:
            self._trouble = self._trouble or (time.monotonic(), str(error))
            raise
        self._trouble = None
        self._forget([held for held in ended if held.message.handle not in refused or not self._may_try(held)])

    def _forget(self, told: list[Held]) -> None:
        with self._changed:
            self._pending = [held for held in self._pending if held not in told]
        for held in told:
            self._tries.pop(held, None)

    def _may_try(self, held: Held) -> bool:
        self._tries[held] = self._tries.get(held, 0) + 1
        return self._tries[held] < TRIES

    def _pass_on(self, unfinished: list[Held]) -> list[Held]:
        """Add them once more, after which they have ended: whatever a broker hands out twice is taken for suspect.

        That would go against images that are given up for no fault of their own. Returns those that have ended.
        """
        if self._closing:
            self._give_back([held for held in unfinished if held.suspect])
            unfinished = [held for held in unfinished if not held.suspect]
        if not unfinished:
            return []
        try:
            self._broker.send([held.message.body for held in unfinished])
        except Denied as error:
            self._retain(unfinished, error)
            return []
        for held in unfinished:
            held.unfinished = False
        return unfinished

    def _retain(self, unfinished: list[Held], error: Denied) -> None:
        """We may not send, and to give them back would go against them: as long as we are here, they are as well."""
        if self._closing:
            self._give_back(unfinished)
            return
        log.warning("messages_kept", queue=self._broker.name, messages=len(unfinished), problem=str(error))
        for held in unfinished:  # before they are forgotten here: a heartbeat must find them in one place or the other
            self._keep(held)
        self._forget(unfinished)

    def _give_back(self, unfinished: list[Held]) -> None:
        if unfinished:
            self._broker.give_back([held.message for held in unfinished])
            self._forget(unfinished)
