"""Remembers which version of each file was reported, in some 30 bytes a file: a folder may hold millions."""

from __future__ import annotations

import threading
from array import array

_NONE = 0
"""As a key's hash: the slot is unused. As a version's hash: the file is to be reported again."""
_LEAST_SLOTS = 64
_FULL = 0.75
"""Share of used slots at which the table is enlarged."""
_GROWTH = 1.5


class ReportedVersions:
    """A hash table that holds the 64-bit hashes of keys and of their versions, and nothing else.

    Where two keys have the same hash, which no folder of a million files has in 37 million tries, both are reported
    at every listing, and the queue knows that they are done. Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear(_LEAST_SLOTS)

    def __len__(self) -> int:
        """Number of keys."""
        return self._used

    @property
    def size(self) -> int:
        """Bytes of memory that the table takes."""
        return len(self._seen) * (self._keys.itemsize + self._versions.itemsize + 1)

    def holds(self, key: str, version: str) -> bool:
        """Whether this is the version of the key that was reported last. Marks the key as seen."""
        with self._lock:
            slot = self._find(hash(key) or 1)
            if self._keys[slot] == _NONE:
                return False
            self._seen[slot] = 1
            return self._versions[slot] == (hash(version) or 1)

    def add(self, key: str, version: str) -> None:
        """Hold this version of the key, and mark the key as seen."""
        with self._lock:
            if self._used >= _FULL * len(self._keys):
                self._rebuild(int(len(self._keys) * _GROWTH), only_seen=False)
            self._put(hash(key) or 1, hash(version) or 1, 1)

    def forget(self, key: str) -> None:
        """Hold no version of the key."""
        with self._lock:
            slot = self._find(hash(key) or 1)
            if self._keys[slot] != _NONE:
                self._versions[slot] = _NONE

    def unmark(self) -> None:
        """Mark no key as seen."""
        with self._lock:
            self._seen = bytearray(len(self._keys))

    def drop_unseen(self) -> int:
        """Drop the keys that are not marked as seen, unless that would be all; returns how many are."""
        with self._lock:
            seen = sum(self._seen)
            if 0 < seen < self._used:
                self._rebuild(max(_LEAST_SLOTS, int(seen / _FULL * _GROWTH)), only_seen=True)
            return seen

    def _clear(self, slots: int) -> None:
        self._keys, self._versions = array("q", bytes(8 * slots)), array("q", bytes(8 * slots))
        self._seen = bytearray(slots)
        self._used = 0

    def _find(self, key: int) -> int:
        """The slot of a key's hash, or the unused one where it belongs."""
        keys = self._keys
        slot = key % len(keys)
        while keys[slot] != key and keys[slot] != _NONE:
            slot = (slot + 1) % len(keys)
        return slot

    def _put(self, key: int, version: int, seen: int) -> None:
        slot = self._find(key)
        self._used += self._keys[slot] == _NONE
        self._keys[slot], self._versions[slot], self._seen[slot] = key, version, seen

    def _rebuild(self, slots: int, *, only_seen: bool) -> None:
        entries = zip(self._keys, self._versions, self._seen, strict=True)
        self._clear(slots)
        for key, version, seen in entries:
            if key != _NONE and (seen or not only_seen):
                self._put(key, version, seen)
