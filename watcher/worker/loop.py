"""The worker's main loop: lease jobs and process each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from watcher.core.backoff import Backoff
from watcher.core.errors import Unavailable
from watcher.core.jobs import Lease
from watcher.protocol import Report, UnavailableReport
from watcher.queues.base import Leases, Queue
from watcher.worker.image_path import ImagePath

SUSPECT_WAIT = 60.0
"""Seconds that a worker may be busy before it leases nothing more until a crash suspect can run alone."""
IDLE_SECONDS = 2.0
"""After this time an idle worker looks into the queue unasked, since a wake-up may be lost."""
QUEUE_BACKOFF = (0.5, 15.0)
"""First and longest pause after the queue was unavailable, in seconds."""


def queue_failure(error: Unavailable) -> UnavailableReport:
    """The report that the queue cannot be used at present."""
    return UnavailableReport(stage="queue_wait", reason=error.reason, detail=str(error), public=error.public)


class Place:
    """What an image has while it is being made, and others wait for."""


class WorkerLoop:
    """Keeps as many images in flight as it may, until it is told to drain.

    An image whose files are made only waits for the sink and the queue, so it leaves its place to the next one.
    """

    def __init__(
        self,
        owner: str,
        path: ImagePath,
        queue: Queue,
        capacity: int,
        report: Callable[[Report], None],
        most: int = 0,
        *,
        suspect_first: bool = False,
    ) -> None:
        """`capacity` is the largest number of images that are being made, `most` that of all in flight.

        Without `most`, both are the same. With `suspect_first`, the newest crash suspect runs before any other image.
        """
        self.owner, self.path, self.queue, self.capacity = owner, path, queue, capacity
        self.most = max(most, capacity)
        self._report = report
        self._changed = threading.Condition()
        self._in_flight: set[Future[None]] = set()
        self._being_made: set[Place] = set()
        self._refill = capacity // 6 + 1
        """Free places that are worth a request to the queue, which costs the same for one job as for several."""
        self._alone = self._draining = self._woken = False
        self._suspect_first = suspect_first
        self._idle_at = time.monotonic()
        """When no image was in flight last."""
        self._queue_backoff = Backoff(*QUEUE_BACKOFF)
        self._error: BaseException | None = None

    def run(self) -> None:
        """Lease and process until drained. Raises what an image's thread raised, such as DeviceLost."""
        with ThreadPoolExecutor(self.most, thread_name_prefix="image") as pool:
            while not self._stopping():
                leases = self._lease()
                for lease in leases:
                    self._start(pool, lease, may_release=leases.waited)
                if not leases.waited:
                    self._wait()
        if self._error:
            raise self._error

    def wake(self) -> None:
        """Look into the queue: there may be work."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def drain(self) -> None:
        """Lease nothing more; `run` returns when no image is in flight."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    @property
    def in_flight(self) -> int:
        """Images in flight."""
        return len(self._in_flight)

    def _stopping(self) -> bool:
        return self._draining or self._error is not None

    def _lease(self) -> Leases:
        """Jobs that may start now: nothing runs beside a crash suspect."""
        with self._changed:
            self._woken = False
            free, idle = self._free(), not self._in_flight
            if idle:
                self._idle_at = time.monotonic()
        try:
            if free <= 0 or self._suspects_wait():
                return Leases()
            leases = self._lease_first_suspect() or self.queue.lease(self.owner, free, alone=idle)
            self._queue_backoff.reset()
            return leases
        except Unavailable as error:
            self._report(queue_failure(error))
            self._back_off()
            return Leases(waited=True)

    def _lease_first_suspect(self) -> Leases:
        leases = self.queue.lease_last_suspect(self.owner) if self._suspect_first else Leases()
        self._suspect_first = False
        return leases

    def _back_off(self) -> None:
        """Wait longer after each failure: a queue that answers too late hands out messages that nobody receives."""
        self._queue_backoff.fail()
        with self._changed:
            self._changed.wait_for(self._stopping, self._queue_backoff.delay())

    def _suspects_wait(self) -> bool:
        """Whether to finish what is in flight first, since a suspect would wait for as long as there is other work."""
        return time.monotonic() - self._idle_at > SUSPECT_WAIT and self.queue.suspects() > 0

    def _free(self) -> int:
        """How many images may be started now."""
        if self._alone:
            return 0
        return min(self.capacity - len(self._being_made), self.most - len(self._in_flight))

    def _start(self, pool: ThreadPoolExecutor, lease: Lease, may_release: bool) -> None:
        """Start an image; with `may_release`, one that was leased after the drain began goes back to the queue."""
        if may_release and self._stopping():
            lease.release()
            return
        with self._changed:
            self._alone, place = lease.alone, Place()
            self._being_made.add(place)
            future = pool.submit(self.path.process, lease, lambda: self._leave(place))
            self._in_flight.add(future)
        future.add_done_callback(lambda done: self._finish(done, place))

    def _leave(self, place: Place) -> None:
        """Let the next image begin: the files of this one are made."""
        with self._changed:
            self._being_made.discard(place)
            self._wake_if_free()

    def _finish(self, future: Future[None], place: Place) -> None:
        with self._changed:
            self._in_flight.discard(future)
            self._being_made.discard(place)
            self._alone = False
            self._error = self._error or future.exception()
            self._wake_if_free()

    def _wake_if_free(self) -> None:
        self._woken = self._woken or self._free() >= self._refill
        if self._woken or self._error:
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait until enough places are free, or there may be work."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._stopping(), timeout=IDLE_SECONDS)
