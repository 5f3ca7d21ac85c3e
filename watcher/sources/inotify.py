"""Watches a directory tree with watchdog and puts the changes into one queue. Nothing else depends on watchdog."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import queue
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver


class Change(Enum):
    """What happened to a path."""

    MODIFIED = auto()
    """Created or modified: the file may be incomplete."""
    ATTRIBUTES = auto()
    """Times, owner or mode changed: the version may differ, but nothing was written."""
    COMPLETED = auto()
    """Closed after writing, or moved into place."""
    NEW_DIRECTORY = auto()
    """A directory appeared; there may be no events for the files that it holds already."""
    OVERFLOW = auto()
    """Events were lost; there is no path."""
    LIMIT_REACHED = auto()
    """The system allows no more watches; the path is the directory that is not watched."""


@dataclass
class ChangeBatch:
    """The changes since the last batch: files by path with their last change, and new directories."""

    files: dict[str, Change] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    overflowed: bool = False
    limit_reached: bool = False

    def add(self, change: Change, path: str) -> None:
        """Add one change; it replaces an earlier one of the same file."""
        match change:
            case Change.OVERFLOW:
                self.overflowed = True
            case Change.LIMIT_REACHED:
                self.limit_reached = True
            case Change.NEW_DIRECTORY:
                self.directories.add(path)
            case Change.ATTRIBUTES if path in self.files:
                pass  # copy2 and rsync set the times after closing: the file is as complete as before
            case _:
                self.files[path] = change


class ChangeQueue:
    """Takes changes from watching threads to one consumer. When it is full, the rest counts as an overflow."""

    _MAX_BATCH = 10_000

    def __init__(self, limit: int = 100_000) -> None:
        self._queue: queue.SimpleQueue[tuple[Change, str]] = queue.SimpleQueue()
        self._limit = limit
        self._full = threading.Event()

    def put(self, change: Change, path: str = "") -> None:
        """Never blocks."""
        if self._queue.qsize() < self._limit:
            self._queue.put((change, path))
        else:
            self._full.set()

    def take(self, timeout: float) -> ChangeBatch:
        """Wait at most `timeout` seconds for a change, then take it and those behind it."""
        batch = ChangeBatch()
        try:
            batch.add(*self._queue.get(timeout=max(0.0, timeout)))
            for _ in range(self._MAX_BATCH):
                batch.add(*self._queue.get_nowait())
        except queue.Empty:
            pass
        if self._full.is_set():
            self._full.clear()
            batch.overflowed = True
        return batch


class WatchLimitError(Exception):
    """The system allows no more inotify watches or instances."""


class DirectoryWatch:
    """A running observer of a directory and everything below it."""

    def __init__(self, root: str, changes: ChangeQueue) -> None:
        """All directories are watched when this returns. Raises WatchLimitError or OSError."""
        self._overflow_handler = _OverflowHandler(changes)
        self._observer = _started(root, changes)
        logging.getLogger(_OverflowHandler.LOGGER).addHandler(self._overflow_handler)

    def alive(self) -> bool:
        """Whether every thread that an event passes through is running."""
        threads = [self._observer, *self._observer.emitters, *_reader(self._observer)]
        return bool(self._observer.emitters) and all(thread.is_alive() for thread in threads)

    def stop(self) -> None:
        """Stop all threads."""
        logging.getLogger(_OverflowHandler.LOGGER).removeHandler(self._overflow_handler)
        _stop(self._observer)


class _Handler(FileSystemEventHandler):
    def __init__(self, changes: ChangeQueue) -> None:
        self._put = changes.put

    def on_any_event(self, event: FileSystemEvent) -> None:
        # "moved" without a destination left the tree; without a source, it came from outside.
        path = os.fsdecode(event.dest_path if isinstance(event, DirMovedEvent | FileMovedEvent) else event.src_path)
        if path:
            self._put(_CHANGES[type(event)], path)


# Opening, and closing after reading, are left out: reading a picture does not change it. Listings find deletions.
_CHANGES: dict[type[FileSystemEvent], Change] = {
    FileCreatedEvent: Change.MODIFIED,
    FileModifiedEvent: Change.MODIFIED,
    FileAttribEvent: Change.ATTRIBUTES,
    FileClosedEvent: Change.COMPLETED,
    FileMovedEvent: Change.COMPLETED,
    DirCreatedEvent: Change.NEW_DIRECTORY,
    DirMovedEvent: Change.NEW_DIRECTORY,
}


# watchdog adds a new directory's watch twice if its parent's listing and its own event coincide; both are the same.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)


class _OverflowHandler(logging.Handler):
    """Reports overflows of inotify's queue, which watchdog only logs."""

    LOGGER = "watchdog.observers"

    def __init__(self, changes: ChangeQueue) -> None:
        super().__init__(logging.WARNING)
        self._changes = changes
        logger = logging.getLogger(self.LOGGER)
        if not logger.isEnabledFor(logging.WARNING):
            logger.setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # The line about the overflow is followed by one about rebuilding the watches.
        if "overflowed" in text and "reconciling" not in text:
            self._changes.put(Change.OVERFLOW)


def _started(root: str, changes: ChangeQueue) -> BaseObserver:
    observer = None
    try:
        observer = _observer()
        _report_limit_errors(observer, changes)
        observer.schedule(_Handler(changes), root, recursive=True, event_filter=list(_CHANGES))
        observer.start()
    except OSError as error:
        if observer is not None:
            _stop(observer)
        if error.errno in (errno.ENOSPC, errno.EMFILE):
            raise WatchLimitError(str(error)) from error
        raise
    return observer


def _observer() -> BaseObserver:
    if platform.system() == "Linux":
        from watchdog.observers.inotify import InotifyObserver

        # "Full" events distinguish a file moved here from outside, which is complete, from a created one.
        return InotifyObserver(generate_full_events=True)
    from watchdog.observers import Observer

    return Observer()


def _stop(observer: BaseObserver) -> None:
    with contextlib.suppress(OSError):  # its descriptor may be broken
        observer.stop()
    if observer.is_alive():
        observer.join(timeout=5.0)


def _reader(observer: BaseObserver) -> list[threading.Thread]:
    """The thread that reads from the kernel, which watchdog does not list among its emitters."""
    reader = getattr(observer, "_inotify_fd", None)
    return [reader] if reader is not None else []


def _report_limit_errors(observer: BaseObserver, changes: ChangeQueue) -> None:
    """Report the directories that watchdog silently skips because it cannot watch them.

    See `InotifyWatchGroup._add_callback` in watchdog/observers/inotify_c.py.
    """
    for reader in _reader(observer):
        reader.add_callback = _reporting(reader.add_callback, changes)  # type: ignore[attr-defined]


def _reporting(add_watch: Callable[..., Any], changes: ChangeQueue) -> Callable[..., Any]:
    def add(path: bytes, *rest: Any) -> Any:
        try:
            return add_watch(path, *rest)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                changes.put(Change.LIMIT_REACHED, os.fsdecode(path))
            raise

    return add
