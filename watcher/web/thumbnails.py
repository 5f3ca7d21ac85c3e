"""Small pictures for lists: made by a child process, one at a time, and kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from watcher.web.child import Child, ChildFailed
from watcher.web.errors import ApiError

SIZE = 320
"""Pixels of the longer side."""
KEPT_BYTES = 48 * 2**20
"""Thumbnails that are kept in memory: some five thousand."""
TIMEOUT = 20.0
"""Seconds that one may take."""


class Thumbnails:
    """Makes and keeps thumbnails. Thread-safe."""

    def __init__(self, max_pixels: int, kept_bytes: int = KEPT_BYTES) -> None:
        """Pictures with more than `max_pixels` get none."""
        self._max_pixels, self._room = max_pixels, kept_bytes
        self._child = Child("watcher.web.thumbnail_process", TIMEOUT)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tag: str, read: Callable[[], bytes]) -> bytes:
        """The thumbnail of a picture of this version, as WebP. Raises ApiError where none can be made."""
        with self._lock:
            if tag in self._kept:
                self._kept.move_to_end(tag)
                return self._kept[tag]
        thumbnail = self._make(read())
        with self._lock:
            if tag not in self._kept:
                self._kept[tag] = thumbnail
                self._room -= len(thumbnail)
            while self._room < 0 and self._kept:
                self._room += len(self._kept.popitem(last=False)[1])
        return thumbnail

    def close(self) -> None:
        """End the child process."""
        self._child.close()

    def _make(self, data: bytes) -> bytes:
        try:
            header, thumbnail = self._child.ask({"size": SIZE, "max_pixels": self._max_pixels}, data)
            problem = header.get("problem", "")
        except ChildFailed as error:
            problem = str(error)
        if problem:
            raise ApiError(404, "no_thumbnail", "No thumbnail", f"no thumbnail can be made: {problem}")
        return thumbnail
