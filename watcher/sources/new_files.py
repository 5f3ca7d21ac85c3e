"""Decides which files of a folder are new: not reported before, and complete. Has no threads and sees no events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef
from watcher.sources.base import Arrival, DiscoveredVia, Stop
from watcher.sources.reported import ReportedVersions
from watcher.sources.settle import SettleTracker
from watcher.sources.source_filter import SourceFilter
from watcher.stores.listing import modified_at
from watcher.stores.local import LocalStore

_STOP_CHECK_INTERVAL = 1000
"""Files between two checks for a request to stop."""


class NewFileDetector:
    """Reports each version of each picture in a folder once."""

    def __init__(
        self, store: LocalStore, names: SourceFilter, settle: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._names = names
        self._settle = settle
        self._reported = ReportedVersions()
        self._unreadable: set[str] = set()
        """Reported files that this user may not read: they are reported again once that has changed."""
        self._readable_again: set[str] = set()
        """Files for which it has changed. The next listing reports them once more: the worker that could not read one
        may not have recorded that yet when it was reported, and a job that is in progress cannot be retried."""
        self.unreadable_folders = 0
        """How many folders the last listing could not read."""
        self.settling = SettleTracker(settle, clock)

    def handle_completed(self, key: str) -> Iterator[Arrival]:
        """An event says that the file is complete: report it, unless it is empty."""
        ref = self._unreported(key)
        if ref is None:
            return
        if ref.size:
            yield self._report(ref, DiscoveredVia.EVENT)
        else:  # many programs create a file empty and fill it later
            self.settling.restart(key, ref.version)

    def handle_changed(self, key: str) -> None:
        """An event says that the file changed, but not that it is complete: wait until it settles."""
        ref = self._unreported(key)
        if ref is not None:
            self.settling.restart(key, ref.version)

    def handle_new_directory(self, directory: str) -> Iterator[Arrival]:
        """A directory has appeared: report the pictures below it; "" is the whole folder."""
        if self._names.enters(directory):
            for ref in self._store.listing(directory, self._names.enters):
                yield from self._listed(ref, DiscoveredVia.EVENT)

    def settled(self) -> Iterator[Arrival]:
        """Report the files that have settled."""
        for key in self.settling.due():
            ref = self._unreported(key)
            if ref is not None and self.settling.has_settled(key, ref.version):
                yield self._report(ref, DiscoveredVia.SETTLED)

    def forget(self, key: str) -> None:
        """Report the file at this key again, whatever its version. Safe from any thread."""
        self._reported.forget(key)

    def scan(self, stop: Stop) -> Iterator[Arrival]:
        """List the folder, report its new pictures and forget the deleted ones; ends early on `stop`.

        Raises SourceMissing or Unavailable.
        """
        self._reported.unmark()
        known, unreadable = set(self._unreadable), set[str]()
        listing = self._store.listing("", self._names.enters)
        for count, ref in enumerate(listing):
            if count % _STOP_CHECK_INTERVAL == 0 and stop.is_set():
                return
            if not self._is_reported(ref):  # the checks below cost more, and few files need them
                yield from self._listed(ref, DiscoveredVia.SCAN)
            if ref.key in self._unreadable:
                unreadable.add(ref.key)
        self.unreadable_folders = listing.unreadable
        # A folder that is suddenly empty is more likely an unmounted disk than a thousand deletions.
        if listing.complete and self._reported.drop_unseen():
            self._unreadable -= known - unreadable

    def _listed(self, ref: ImageRef, discovered_via: DiscoveredVia) -> Iterator[Arrival]:
        """Report a listed file at once if it is old; a young one must settle first."""
        if not self._names.accepts(ref.key) or ref.key in self.settling or self._is_reported(ref):
            return
        if self._is_young(ref):
            self.settling.restart(ref.key, ref.version)
        else:
            yield self._report(ref, discovered_via)

    def _is_young(self, ref: ImageRef) -> bool:
        """By the wall clock. A time in the future, from a file server whose clock is ahead, counts as young."""
        return time.time() - modified_at(ref.version) < self._settle

    def _unreported(self, key: str) -> ImageRef | None:
        """The file as it is now; None if it is gone, is no picture, or was reported in this version."""
        if not self._names.accepts(key):
            return None
        try:
            ref = self._store.stat(key)
        except Unavailable:
            self.settling.restart(key, "")  # try again later
            return None
        if ref is None or self._is_reported(ref):
            self.settling.forget(key)
            return None
        return ref

    def _is_reported(self, ref: ImageRef) -> bool:
        if not self._reported.holds(ref.key, ref.version) or ref.key in self._readable_again:
            return False
        return ref.key not in self._unreadable or not self._store.is_readable(ref.key)

    def _report(self, ref: ImageRef, discovered_via: DiscoveredVia) -> Arrival:
        self.settling.forget(ref.key)
        self._reported.add(ref.key, ref.version)
        self._readable_again.discard(ref.key)
        if self._store.is_readable(ref.key):
            if ref.key in self._unreadable:
                self._unreadable.discard(ref.key)
                self._readable_again.add(ref.key)
        else:
            self._unreadable.add(ref.key)
        return Arrival(ref, discovered_via)
