"""In-memory fakes for tests, ours and yours: a store, a queue, a broker, a lease, a receiver, an engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np

from inference.picture import Cutout, Picture
from watcher.core.errors import Conflict, Gone, Stale, WatcherError
from watcher.core.jobs import Facts, ImageRef, Job, Outcome, Output, Rejection
from watcher.core.notification import Notification
from watcher.notify.base import ACCEPTED, Answer, Reply
from watcher.queues.brokers.memory import MemoryBroker
from watcher.queues.memory import MemoryQueue
from watcher.queues.outbox import MemoryOutbox, Waiting
from watcher.stores.base import OutputInfo
from watcher.stores.output_metadata import read_output_info

__all__ = [
    "FakeEngine",
    "FakeLease",
    "MemoryBroker",
    "MemoryOutbox",
    "MemoryQueue",
    "MemoryStore",
    "MemoryTarget",
    "keep_all",
]


class MemoryStore:
    """A `Store` in a dictionary. Every write makes a new version.

    `failing["read"] = Unavailable("no network")` makes a method raise until the entry is removed. `after_read` is
    called with the key of every object that was read, so that a test may change the store at the worst moment.
    """

    def __init__(self, uri: str = "memory://store") -> None:
        self._uri = uri
        self._lock = threading.Lock()
        self._versions = 0
        self._objects: dict[str, tuple[ImageRef, bytes]] = {}
        self.now = 0.0
        """The store's clock, as Unix time; a test moves it."""
        self.facts: dict[str, Facts | None] = {}
        """The facts that each output was put with, by its key."""
        self.failing: dict[str, WatcherError] = {}
        self.after_read: Callable[[str], None] = lambda key: None

    @property
    def uri(self) -> str:
        """The URI that the constructor was given."""
        return self._uri

    def write(self, key: str, data: bytes) -> ImageRef:
        """Write an object as a user does; never raises."""
        with self._lock:
            self._versions += 1
            ref = ImageRef(key, str(self._versions), len(data), self.now)
            self._objects[key] = ref, data
            return ref

    def remove(self, key: str) -> None:
        """Delete an object as a user does; never raises."""
        with self._lock:
            self._objects.pop(key, None)

    def content(self, key: str) -> bytes | None:
        """The bytes at `key`, None if there is no object; never raises."""
        found = self._objects.get(key)
        return found[1] if found else None

    @property
    def keys(self) -> set[str]:
        """The keys of all objects; never raises."""
        return set(self._objects)

    def list(self, below: str = "") -> Iterator[ImageRef]:
        """See `Store.list`."""
        self._fail("list")
        refs = sorted((ref for ref, _ in self._objects.values()), key=lambda ref: ref.key.encode())
        yield from (ref for ref in refs if ref.key.startswith(below))

    def stat(self, key: str) -> ImageRef | None:
        """See `Store.stat`."""
        self._fail("stat")
        found = self._objects.get(key)
        return found[0] if found else None

    def read(self, ref: ImageRef) -> bytes:
        """See `Store.read`."""
        self._fail("read")
        found = self._objects.get(ref.key)
        if found is None:
            raise Gone(f"{ref.key} is not there any more")
        if found[0].version != ref.version:
            raise Stale(f"{ref.key} has changed since it was found")
        self.after_read(ref.key)
        return found[1]

    def output_info(self, key: str) -> OutputInfo | None:
        """See `Store.output_info`."""
        self._fail("output_info")
        return self._output_info(key)

    def put(self, output: Output, data: bytes, over: OutputInfo | None = None, facts: Facts | None = None) -> None:
        """See `Store.put`."""
        self._fail("put")
        present = self._output_info(output.key)
        if (over and over.version) != (present and present.version):
            raise Conflict(f"{output.key} has changed since it was looked at")
        self.write(output.key, data)
        self.facts[output.key] = facts

    def put_image(self, key: str, data: bytes) -> ImageRef:
        """See `Store.put_image`."""
        self._fail("put_image")
        return self.write(key, data)

    def put_record(self, key: str, data: bytes) -> None:
        """See `Store.put_record`."""
        self._fail("put_record")
        self.write(key, data)

    def record_location(self, key: str) -> str:
        """See `Store.record_location`: any key will do."""
        return key

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._fail("delete")
        self.remove(key)

    def probe_conditional_writes(self) -> None:
        """See `Store.probe_conditional_writes`: only `put` compares versions."""

    def sweep(self) -> int:
        """See `Store.sweep`: nothing is ever left behind."""
        return 0

    def _output_info(self, key: str) -> OutputInfo | None:
        found = self._objects.get(key)
        if found is None:
            return None
        ref, data = found
        info = read_output_info(lambda offset, length: data[offset : offset + length], len(data))
        return replace(info, version=ref.version) if info else None

    def _fail(self, method: str) -> None:
        if method in self.failing:
            raise self.failing[method]


@dataclass
class FakeLease:
    """A `Lease` that records how it ended. Raises AssertionError when it is ended twice."""

    job: Job
    alone: bool = False
    suspect: bool = False
    found_at: float = field(default_factory=time.time)
    end: Outcome | Rejection | float | None = None
    """The outcome, the rejection, or the delay with which it was released; None until it ends."""
    notification: Notification | None = None
    """The one with which it ended, if there was one."""

    def done(self, outcome: Outcome, notification: Notification | None = None) -> None:
        """See `Lease.done`."""
        self._end(outcome, notification)

    def release(self, delay: float = 0.0) -> None:
        """See `Lease.release`."""
        self._end(delay)

    def reject(self, rejection: Rejection, notification: Notification | None = None) -> None:
        """See `Lease.reject`."""
        self._end(rejection, notification)

    def _end(self, end: Outcome | Rejection | float, notification: Notification | None = None) -> None:
        if self.end is not None:
            raise AssertionError(f"the lease already ended as {self.end!r}, and cannot end as {end!r}")
        self.end, self.notification = end, notification


class MemoryTarget:
    """A receiver of notifications that keeps them in a list.

    `answer` decides about each; `failing = Unavailable("no network")` makes every call raise until it is removed.
    """

    name = "memory://receiver"
    batch = 8

    def __init__(self, answer: Callable[[Waiting], Answer] = lambda waiting: ACCEPTED) -> None:
        self.answer = answer
        self.failing: WatcherError | None = None
        self.accepted: list[Waiting] = []
        """What was accepted, in the order of arrival."""
        self.sent: list[list[Waiting]] = []
        """What each call of `send` got, whatever became of it."""
        self.closed = False

    def send(self, waiting: Sequence[Waiting]) -> list[Answer]:
        """See `Target.send`."""
        self.sent.append(list(waiting))
        if self.failing:
            raise self.failing
        answers = [self.answer(one) for one in waiting]
        pairs = zip(waiting, answers, strict=True)
        self.accepted += [one for one, answer in pairs if answer.reply is Reply.ACCEPTED]
        return answers

    def check(self, test: Notification) -> str:
        """See `Target.check`."""
        if self.failing:
            raise self.failing
        return f"{self.name} is in memory"

    def close(self) -> None:
        """See `Target.close`."""
        self.closed = True


def keep_all(picture: Picture) -> Cutout:
    """A cut-out of the whole picture, opaque."""
    opaque = np.full((picture.height, picture.width, 1), 255, np.uint8)
    return Cutout(np.concatenate((picture.pixels, opaque), axis=2))


class FakeEngine:
    """An engine without a device. `cut` makes the cut-out, or raises, when a picture is submitted."""

    takes_rgbx = False

    def __init__(self, cut: Callable[[Picture], Cutout] = keep_all) -> None:
        self._cut = cut
        self.submitted = 0
        """How many pictures were submitted."""
        self.announced = 0
        """How many pictures are announced and not yet submitted or given up."""
        self.core_lock: AbstractContextManager[None] = nullcontext()

    @contextmanager
    def announce(self) -> Iterator[Callable[[Picture], Future[Cutout]]]:
        """See `Engine.announce`."""
        self.announced += 1
        try:
            yield self.submit
        finally:
            self.announced -= 1

    def submit(self, picture: Picture) -> Future[Cutout]:
        """A future that already has a result or an error."""
        self.submitted += 1
        future: Future[Cutout] = Future()
        try:
            future.set_result(self._cut(picture))
        except Exception as error:
            future.set_exception(error)
        return future
