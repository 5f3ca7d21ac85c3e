"""Arrivals in a folder: events where there are any, listings in any case.

Events are hints and make it fast; the listing every `rescan` seconds makes it right. One thread, the caller's, does all
the work; watchdog's threads only put what they hear into an inbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import structlog

from watcher.core.batches import in_batches
from watcher.core.errors import SourceMissing, Unavailable
from watcher.sources.base import Arrival, SourceNews, Stop
from watcher.sources.finder import Finder
from watcher.sources.inotify import Change, Inbox, LimitReachedError, Mail, Watch
from watcher.sources.mounts import gives_events
from watcher.sources.names import SourceFilter
from watcher.stores.listing import Identity
from watcher.stores.local import LocalStore

log = structlog.get_logger(__name__)

Mode = Literal["auto", "events", "polling", "listing"]
BATCH = 500

_PULSE = 0.5
"""The longest wait, since nothing wakes the thread when it is to stop; seconds."""
_ROOT_CHECK = 1.0
_GIVE_UP_SETTLING = 10
"""After so many settle times a file that never holds still no longer keeps the first listing open."""
_LISTING_SHARE = 4
"""Polling waits so many times longer than it lists, so that a huge folder is not listed all the time."""
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
        exclude: Sequence[str] = (),
        news: SourceNews = SourceNews(),  # noqa: B008 (frozen, without state)
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`settle`, `rescan` and `poll` are seconds; `exclude` are keys of directories.

        `auto` watches with events where the file system gives them, and polls elsewhere: a listing every `poll`
        seconds. `listing` never watches and lists every `rescan` seconds, for a run that ends after the first listing.
        """
        self.store = store
        self.settle = settle
        self.rescan = rescan
        self.mode = mode
        self.poll = poll
        self.finder = Finder(store, SourceFilter(exclude), settle, clock)
        self.news = news
        self.clock = clock

    def forget(self, key: str) -> None:
        """An image was not there, or not in this version, when it was to be read: the next look finds it anew."""
        self.finder.forget(key)

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set; [] once, when the first listing is handed out.

        Raises SourceMissing if the folder is not there at the start. If it vanishes later, it is waited for.
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
        self._inbox = Inbox()
        self._finder = source.finder
        self._first = _FirstListing(self._finder, source.settle * _GIVE_UP_SETTLING, source.clock)
        self._watch: Watch | None = None
        self._wants_watch = source.mode == "events" or (source.mode == "auto" and gives_events(source.store.root))
        self._identity: Identity | None = None
        """Which directory the root is; None while it is lost."""
        self._trouble = ""
        self._rescan_at = self._check_at = self._clock()
        self._look_again = False
        self._listing_seconds = 0.0

    def batches(self) -> Iterator[list[Arrival]]:
        """See `FolderSource.arrivals`."""
        self._source.store.identity()
        while not self._stop.is_set():
            self._check_root()
            if self._identity is None:
                self._stop.wait(_PULSE)
                continue
            try:
                yield from self._turn()
            except SourceMissing as error:
                self._lose(str(error))
            except Unavailable as error:  # which may name a file
                self._lose(str(error), error.public)

    def close(self) -> None:
        """End the threads."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _turn(self) -> Iterator[list[Arrival]]:
        mail = self._inbox.take(self._patience())
        yield from in_batches(self._sort(mail), BATCH)
        yield from in_batches(self._finder.settled(), BATCH)
        if self._clock() >= self._rescan_at:
            yield from self._rescan()
        if self._first.handed_out():
            yield []

    def _patience(self) -> float:
        """Seconds until something is to be done without being told."""
        settled = self._finder.settling.deadline()
        deadline = self._rescan_at if settled is None else min(settled, self._rescan_at)
        return min(_PULSE, deadline - self._clock())

    # What the inbox says.

    def _sort(self, mail: Mail) -> Iterator[Arrival]:
        if mail.exhausted:
            self._poll_instead("inotify watch limit reached", _SYSCTL)
        if mail.lost:
            self._source.news.overflowed()
            # watchdog adds its watches anew meanwhile: a second listing finds what came before each one was there.
            self._rescan_at, self._look_again = self._clock(), True
        for path in mail.trees:
            key = self._key(path)
            if key:
                yield from self._finder.below(key + "/")
        for path, change in mail.files.items():
            key = self._key(path)
            if key and change is Change.WHOLE:
                yield from self._finder.whole(key)
            elif key:
                self._finder.touched(key)

    def _key(self, path: str) -> str:
        """The key of an absolute path, empty for the root itself and whatever is not below it."""
        top = self._source.store.root.rstrip("/") + "/"
        return path[len(top) :] if path.startswith(top) else ""

    # Listings.

    def _rescan(self) -> Iterator[list[Arrival]]:
        started, outside, found = self._clock(), 0.0, 0
        for batch in in_batches(self._finder.scan(self._stop), BATCH):
            found += len(batch)
            handed_over = self._clock()
            yield batch
            outside += self._clock() - handed_over
        if self._stop.is_set():
            return
        self._listing_seconds = self._clock() - started - outside
        self._plan_rescan()
        self._first.listed()
        self._source.news.scanned(found, self._listing_seconds)
        self._recovered()

    def _plan_rescan(self) -> None:
        source = self._source
        if self._look_again:
            pause = min(source.rescan, max(source.settle, _PULSE))
        elif self._watch is not None or source.mode == "listing":
            pause = source.rescan
        else:
            pause = max(source.poll, self._listing_seconds * _LISTING_SHARE)
        self._look_again = False
        self._rescan_at = self._clock() + pause

    # The root and its observer.

    def _check_root(self) -> None:
        if self._clock() < self._check_at:
            return
        self._check_at = self._clock() + _ROOT_CHECK
        try:
            identity = self._source.store.identity()
        except Unavailable as error:
            self._lose(str(error))
            return
        if self._identity not in (None, identity):
            self._lose(f"{self._source.store.root} has become another directory")
        if self._identity is None or (self._watch is not None and not self._watch.alive()):
            self._observe(identity)

    def _observe(self, identity: Identity) -> None:
        """Watch first, list then: nothing can come between them."""
        if self._watch is not None:
            log.warning("observer_died", path=self._source.store.root, cure="started again")
        self.close()
        try:
            if self._wants_watch:
                self._watch = Watch(self._source.store.root, self._inbox)
        except LimitReachedError as error:
            self._poll_instead(str(error), _SYSCTL)
        except FileNotFoundError as error:
            self._lose(str(error), "a folder went while it was to be watched")
            return
        except OSError as error:
            self._poll_instead(str(error), "see the system log")
        self._identity = identity
        self._rescan_at = self._clock()

    def _poll_instead(self, problem: str, cure: str) -> None:
        self.close()
        self._rescan_at = self._clock()
        log.warning("polling_instead_of_events", path=self._source.store.root, problem=problem, cure=cure)

    def _lose(self, why: str, public: str = "") -> None:
        """The root cannot be listed: wait for it, and take nothing for deleted."""
        self.close()
        self._identity = None
        if why != self._trouble:
            self._trouble = why
            log.warning("source_lost", problem=why)
            self._source.news.healthy(False, public or why)

    def _recovered(self) -> None:
        if self._trouble:
            self._trouble = ""
            log.info("source_found_again", path=self._source.store.root)
            self._source.news.healthy(True, "")


class _FirstListing:
    """Tells, once, when everything that the first listing showed has been handed out."""

    def __init__(self, finder: Finder, patience: float, clock: Callable[[], float]) -> None:
        self._settling = finder.settling
        self._patience = patience
        self._clock = clock
        self._open: set[str] | None = None
        self._told = False

    def listed(self) -> None:
        """A listing has ended; only the first one counts."""
        if self._open is None:
            self._open = set(self._settling)
            self._give_up_at = self._clock() + self._patience

    def handed_out(self) -> bool:
        """True exactly once: no file of that listing is waiting to hold still any more, or for too long."""
        if self._told or self._open is None:
            return False
        self._told = self._clock() >= self._give_up_at or self._open.isdisjoint(self._settling)
        return self._told
