"""Which files are new: what was handed out, what holds still, what a listing shows. No threads, no events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef
from watcher.sources.base import Arrival, Hint, Stop
from watcher.sources.names import SourceFilter
from watcher.sources.settle import SettleTracker
from watcher.stores.listing import modified_at
from watcher.stores.local import LocalStore

_LOOKS_AT_STOP = 1000


class Finder:
    """Finds each version of each picture of a store once."""

    def __init__(
        self, store: LocalStore, names: SourceFilter, settle: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._names = names
        self._settle = settle
        self._handed_out: dict[str, int] = {}
        """Hash of the version by key; a third of the memory that the versions would take."""
        self.settling = SettleTracker(settle, clock)

    def whole(self, key: str) -> Iterator[Arrival]:
        """A file is said to be whole."""
        ref = self._new(key)
        if ref is None:
            return
        if ref.size:
            yield self._hand_out(ref, Hint.EVENT)
        else:  # often made empty first and filled later
            self.settling.saw(key, ref.version)

    def touched(self, key: str) -> None:
        """Something happened to a file that does not make it whole."""
        ref = self._new(key)
        if ref is not None:
            self.settling.saw(key, ref.version)

    def settled(self) -> Iterator[Arrival]:
        """The files whose wait is over."""
        for key in self.settling.due():
            ref = self._new(key)
            if ref is not None and self.settling.held_still(key, ref.version):
                yield self._hand_out(ref, Hint.SETTLED)

    def below(self, directory: str) -> Iterator[Arrival]:
        """The pictures below the key of a directory that has appeared; "" is the whole store."""
        if self._names.enters(directory):
            for ref in self._store.listing(directory, self._names.enters):
                yield from self._listed(ref, Hint.EVENT)

    def forget(self, key: str) -> None:
        """Whatever is found at this key next is new. May be called from any thread."""
        self._handed_out.pop(key, None)

    def scan(self, stop: Stop) -> Iterator[Arrival]:
        """All pictures, then forget those that are gone. Raises SourceMissing or Unavailable; ends early on `stop`."""
        seen: dict[str, int] = {}
        listing = self._store.listing("", self._names.enters)
        for count, ref in enumerate(listing):
            if count % _LOOKS_AT_STOP == 0 and stop.is_set():
                return
            if not self._is_known(ref):  # the rest of this is for the few that are not
                yield from self._listed(ref, Hint.SCAN)
            if ref.key in self._handed_out:
                seen[ref.key] = self._handed_out[ref.key]
        # A root that is empty of a sudden is an unmounted disk before it is a thousand deletions.
        if listing.complete and seen:
            self._handed_out = seen

    def _listed(self, ref: ImageRef, hint: Hint) -> Iterator[Arrival]:
        """What a listing shows is taken at once if it is old, and watched for a while if it is young."""
        if not self._names.accepts(ref.key) or ref.key in self.settling or self._is_known(ref):
            return
        if self._is_young(ref):
            self.settling.saw(ref.key, ref.version)
        else:
            yield self._hand_out(ref, hint)

    def _is_young(self, ref: ImageRef) -> bool:
        """By the wall clock; a time in the future, on a file server whose clock is ahead, is young."""
        return time.time() - modified_at(ref.version) < self._settle

    def _new(self, key: str) -> ImageRef | None:
        """The file as it is now, None if it is gone or has been handed out like this."""
        if not self._names.accepts(key):
            return None
        try:
            ref = self._store.stat(key)
        except Unavailable:
            self.settling.saw(key, "")  # look again later
            return None
        if ref is None or self._is_known(ref):
            self.settling.forget(key)
            return None
        return ref

    def _is_known(self, ref: ImageRef) -> bool:
        return self._handed_out.get(ref.key) == hash(ref.version)

    def _hand_out(self, ref: ImageRef, hint: Hint) -> Arrival:
        self.settling.forget(ref.key)
        self._handed_out[ref.key] = hash(ref.version)
        return Arrival(ref, hint)
