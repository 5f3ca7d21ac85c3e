"""A folder as a source: file system events where there are any, and listings in any case.

Events make it fast; the listing every `rescan` seconds makes it complete. The caller's thread does all the work;
watchdog's threads only put changes into a queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal

import structlog

from watcher.core.batches import in_batches
from watcher.core.errors import SourceMissing, Unavailable
from watcher.core.outage import Outage
from watcher.sources.base import Arrival, SourceCallbacks, Stop
from watcher.sources.inotify import Change, ChangeBatch, ChangeQueue, DirectoryWatch, WatchLimitError
from watcher.sources.mounts import reports_all_changes
from watcher.sources.new_files import NewFileDetector
from watcher.sources.source_filter import SourceFilter
from watcher.stores.listing import Identity
from watcher.stores.local import LocalStore

log = structlog.get_logger(__name__)

Mode = Literal["auto", "events", "polling", "listing"]
BATCH = 500
"""Longest batch of arrivals."""

_MAX_WAIT = 0.5
"""Longest wait for changes in seconds, because a request to stop does not wake the thread."""
_ROOT_CHECK_INTERVAL = 1.0
_GIVE_UP_SETTLING = 10
"""After this many settle times, a file that keeps changing no longer delays the end of the first listing."""
_LISTING_SHARE = 4
"""Polling waits this many times longer than a listing takes, so that a huge folder is not listed all the time."""
_SYSCTL = "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances with sysctl"


class FolderSource:
    """The pictures below a directory, as they appear."""

    def __init__(
        self,
        store: LocalStore,
        *,
        settle: float = 2.0,
        rescan: float = 60.0,
        mode: Mode = "auto",
        poll: float = 2.0,
        names: SourceFilter | None = None,
        callbacks: SourceCallbacks = SourceCallbacks(),  # noqa: B008 (frozen, without state)
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`settle`, `rescan` and `poll` are seconds; `names` selects the pictures (default: all).

        `auto` watches with events where the file system reports all changes, and polls elsewhere: a listing every
        `poll` seconds. `listing` never watches and lists every `rescan` seconds, for a run that ends after one listing.
        """
        self.store = store
        self.settle = settle
        self.rescan = rescan
        self.mode = mode
        self.poll = poll
        self.detector = NewFileDetector(store, names or SourceFilter(), settle, clock)
        self.callbacks = callbacks
        self.clock = clock

    def forget(self, key: str) -> None:
        """See `Source.forget`."""
        self.detector.forget(key)

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set; [] once, when every file of the first listing was reported.

        Raises SourceMissing if the folder does not exist at the start. If it vanishes later, this waits for it.
        """
        run = _Run(self, stop)
        try:
            yield from run.batches()
        finally:
            run.close()


class _Run:
    """One call of `arrivals`."""

    def __init__(self, source: FolderSource, stop: Stop) -> None:
        self._source = source
        self._stop = stop
        self._clock = source.clock
        self._changes = ChangeQueue()
        self._detector = source.detector
        self._first = _FirstListing(self._detector, source.settle * _GIVE_UP_SETTLING, source.clock)
        self._watch: DirectoryWatch | None = None
        self._wants_watch = source.mode == "events" or (
            source.mode == "auto" and reports_all_changes(source.store.root)
        )
        self._identity: Identity | None = None
        """Which directory the root is; None during an outage."""
        self._outage = Outage(log, "source_failed", "source_recovered", source.clock)
        self._reported_reason = ""
        self._rescan_at = self._check_at = self._clock()
        self._list_twice = False
        self._listing_seconds = 0.0

    def batches(self) -> Iterator[list[Arrival]]:
        """See `FolderSource.arrivals`."""
        self._source.store.identity()
        while not self._stop.is_set():
            self._check_root()
            if self._identity is None:
                self._stop.wait(_MAX_WAIT)
                continue
            try:
                yield from self._step()
            except Unavailable as error:
                self._fail(error)

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _step(self) -> Iterator[list[Arrival]]:
        changes = self._changes.take(self._seconds_until_due())
        yield from in_batches(self._handle(changes), BATCH)
        yield from in_batches(self._detector.settled(), BATCH)
        if self._clock() >= self._rescan_at:
            yield from self._rescan()
        if self._first.is_over():
            yield []

    def _seconds_until_due(self) -> float:
        """Seconds until a file has settled or a listing is due, at most _MAX_WAIT."""
        settled = self._detector.settling.deadline()
        deadline = self._rescan_at if settled is None else min(settled, self._rescan_at)
        return min(_MAX_WAIT, deadline - self._clock())

    # Events.

    def _handle(self, changes: ChangeBatch) -> Iterator[Arrival]:
        if changes.limit_reached:
            self._poll_instead("inotify watch limit reached", _SYSCTL)
        if changes.overflowed:
            self._source.callbacks.on_overflow()
            # watchdog adds its watches again meanwhile: the second listing finds what arrived before each was added.
            self._rescan_at, self._list_twice = self._clock(), True
        for path in changes.directories:
            key = self._key(path)
            if key:
                yield from self._detector.handle_new_directory(key + "/")
        for path, change in changes.files.items():
            key = self._key(path)
            if key and change is Change.COMPLETED:
                yield from self._detector.handle_completed(key)
            elif key:
                self._detector.handle_changed(key)

    def _key(self, path: str) -> str:
        """The key of an absolute path; empty for the root itself and for a path outside of it."""
        top = self._source.store.root.rstrip("/") + "/"
        return path[len(top) :] if path.startswith(top) else ""

    # Listings.

    def _rescan(self) -> Iterator[list[Arrival]]:
        started, outside, found = self._clock(), 0.0, 0
        for batch in in_batches(self._detector.scan(self._stop), BATCH):
            found += len(batch)
            yielded = self._clock()
            yield batch
            outside += self._clock() - yielded
        if self._stop.is_set():
            return
        self._listing_seconds = self._clock() - started - outside
        self._schedule_rescan()
        self._first.listed()
        self._source.callbacks.on_listing(found, self._listing_seconds)
        self._source.callbacks.on_unreadable_folders(self._detector.unreadable_folders)
        self._recover()

    def _schedule_rescan(self) -> None:
        source = self._source
        if self._list_twice:
            pause = min(source.rescan, max(source.settle, _MAX_WAIT))
        elif self._watch is not None or source.mode == "listing":
            pause = source.rescan
        else:
            pause = max(source.poll, self._listing_seconds * _LISTING_SHARE)
        self._list_twice = False
        self._rescan_at = self._clock() + pause

    # The root directory and its watch.

    def _check_root(self) -> None:
        if self._clock() < self._check_at:
            return
        self._check_at = self._clock() + _ROOT_CHECK_INTERVAL
        try:
            identity = self._source.store.identity()
        except Unavailable as error:
            self._fail(error)
            return
        if self._identity not in (None, identity):
            replaced = "the folder has become another directory"
            self._fail(SourceMissing(f"{self._source.store.root}: {replaced}", public=replaced))
        if self._identity is None or (self._watch is not None and not self._watch.alive()):
            self._start_watch(identity)

    def _start_watch(self, identity: Identity) -> None:
        """Watch first and list afterwards, so that no file can appear between the two."""
        if self._watch is not None:
            log.warning("watch_failed", path=self._source.store.root, remedy="it is started again by itself")
        self.close()
        try:
            if self._wants_watch:
                self._watch = DirectoryWatch(self._source.store.root, self._changes)
        except WatchLimitError as error:
            self._poll_instead(str(error), _SYSCTL)
        except FileNotFoundError as error:
            self._fail(SourceMissing(str(error), public="a folder was deleted while its watch was started"))
            return
        except OSError as error:
            self._poll_instead(str(error), "see the system log")
        self._identity = identity
        self._rescan_at = self._clock()

    def _poll_instead(self, problem: str, remedy: str) -> None:
        self.close()
        self._rescan_at = self._clock()
        log.warning("polling_instead_of_events", path=self._source.store.root, problem=problem, remedy=remedy)

    def _fail(self, error: Unavailable) -> None:
        """The root cannot be listed: wait until it can, and take no file for deleted."""
        self.close()
        self._identity = None
        self._outage.fail(error)
        if error.public != self._reported_reason:
            self._reported_reason = error.public
            self._source.callbacks.on_health(False, error.public)

    def _recover(self) -> None:
        if self._outage.recover():
            self._reported_reason = ""
            self._source.callbacks.on_health(True, "")


class _FirstListing:
    """Detects when every file that the first listing found has been reported."""

    def __init__(self, detector: NewFileDetector, patience: float, clock: Callable[[], float]) -> None:
        """`patience` is how many seconds files may take to settle."""
        self._settling = detector.settling
        self._patience = patience
        self._clock = clock
        self._unsettled: set[str] | None = None
        self._is_over = False

    def listed(self) -> None:
        """A listing is finished; only the first one counts."""
        if self._unsettled is None:
            self._unsettled = set(self._settling)
            self._give_up_at = self._clock() + self._patience

    def is_over(self) -> bool:
        """True exactly once: when no file of that listing is unsettled, or the patience is over."""
        if self._is_over or self._unsettled is None:
            return False
        self._is_over = self._clock() >= self._give_up_at or self._unsettled.isdisjoint(self._settling)
        if self._is_over:
            self._unsettled = set()  # which may have named every file of the folder
        return self._is_over
