"""What the file system tells, from watchdog's threads into one inbox. All that watchdog knows of inotify stays here."""

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

    TOUCHED = auto()
    """Created or modified: it may not be whole."""
    ATTRIBUTES = auto()
    """Times, owner or mode: it may have another version, but nothing was written."""
    WHOLE = auto()
    """Closed after writing, or moved into place."""
    TREE = auto()
    """A directory has appeared, and what is in it may never be told of."""
    LOST = auto()
    """Events were lost; there is no path."""
    EXHAUSTED = auto()
    """The system's limit on watches is reached; the path says at which directory."""


@dataclass
class Mail:
    """What has come in since the last time: files by path with their last change."""

    files: dict[str, Change] = field(default_factory=dict)
    trees: set[str] = field(default_factory=set)
    lost: bool = False
    exhausted: bool = False

    def add(self, change: Change, path: str) -> None:
        """Sort in one change; later ones win."""
        match change:
            case Change.LOST:
                self.lost = True
            case Change.EXHAUSTED:
                self.exhausted = True
            case Change.TREE:
                self.trees.add(path)
            case Change.ATTRIBUTES if path in self.files:
                pass  # copy2 and rsync set the times after closing: the file is as whole as it was
            case _:
                self.files[path] = change


class Inbox:
    """Where watching threads put changes and one thread takes them out. Holds so many, then it is LOST for the rest."""

    _AT_ONCE = 10_000

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

    def take(self, timeout: float) -> Mail:
        """Wait for a change, then take what is there, within reason."""
        mail = Mail()
        try:
            mail.add(*self._queue.get(timeout=max(0.0, timeout)))
            for _ in range(self._AT_ONCE):
                mail.add(*self._queue.get_nowait())
        except queue.Empty:
            pass
        if self._full.is_set():
            self._full.clear()
            mail.lost = True
        return mail


class LimitReachedError(Exception):
    """The system allows no more inotify watches or instances."""


class Watch:
    """A running observer of a directory and all below it."""

    def __init__(self, root: str, inbox: Inbox) -> None:
        """All directories are watched when this returns. Raises LimitReachedError or OSError."""
        self._losses = _Losses(inbox)
        self._observer = _started(root, inbox)
        logging.getLogger(_Losses.LOGGER).addHandler(self._losses)

    def alive(self) -> bool:
        """Whether every thread that an event passes through still runs."""
        threads = [self._observer, *self._observer.emitters, *_reader(self._observer)]
        return bool(self._observer.emitters) and all(thread.is_alive() for thread in threads)

    def stop(self) -> None:
        """End all threads."""
        logging.getLogger(_Losses.LOGGER).removeHandler(self._losses)
        _end(self._observer)


class _Handler(FileSystemEventHandler):
    def __init__(self, inbox: Inbox) -> None:
        self._put = inbox.put

    def on_any_event(self, event: FileSystemEvent) -> None:
        # "moved" without a destination has left the watch; without a source it has come from outside.
        path = os.fsdecode(event.dest_path if isinstance(event, DirMovedEvent | FileMovedEvent) else event.src_path)
        if path:
            self._put(_CHANGES[type(event)], path)


# Opening and closing after reading is left out, or reading a picture would be news. Deletions are found by listing.
_CHANGES: dict[type[FileSystemEvent], Change] = {
    FileCreatedEvent: Change.TOUCHED,
    FileModifiedEvent: Change.TOUCHED,
    FileAttribEvent: Change.ATTRIBUTES,
    FileClosedEvent: Change.WHOLE,
    FileMovedEvent: Change.WHOLE,
    DirCreatedEvent: Change.TREE,
    DirMovedEvent: Change.TREE,
}


# watchdog adds a new directory's watch twice where its parent's listing and its own event meet; both are the same.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)


class _Losses(logging.Handler):
    """watchdog tells nobody but its log that inotify's queue has overflowed."""

    LOGGER = "watchdog.observers"

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(logging.WARNING)
        self._inbox = inbox
        logger = logging.getLogger(self.LOGGER)
        if not logger.isEnabledFor(logging.WARNING):
            logger.setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # A second line, about rebuilding its watches, follows the one about the loss.
        if "overflowed" in text and "reconciling" not in text:
            self._inbox.put(Change.LOST)


def _started(root: str, inbox: Inbox) -> BaseObserver:
    observer = None
    try:
        observer = _observer()
        _overhear_limits(observer, inbox)
        observer.schedule(_Handler(inbox), root, recursive=True, event_filter=list(_CHANGES))
        observer.start()
    except OSError as error:
        if observer is not None:
            _end(observer)
        if error.errno in (errno.ENOSPC, errno.EMFILE):
            raise LimitReachedError(str(error)) from error
        raise
    return observer


def _observer() -> BaseObserver:
    if platform.system() == "Linux":
        from watchdog.observers.inotify import InotifyObserver

        # "Full" events tell what was moved here from outside, and is whole, from what was created.
        return InotifyObserver(generate_full_events=True)
    from watchdog.observers import Observer

    return Observer()


def _end(observer: BaseObserver) -> None:
    with contextlib.suppress(OSError):  # its descriptor may be what has broken
        observer.stop()
    if observer.is_alive():
        observer.join(timeout=5.0)


def _reader(observer: BaseObserver) -> list[threading.Thread]:
    """The thread that reads from the kernel, which watchdog does not list."""
    reader = getattr(observer, "_inotify_fd", None)
    return [reader] if reader is not None else []


def _overhear_limits(observer: BaseObserver, inbox: Inbox) -> None:
    """Below the root, watchdog passes over directories that it cannot watch (`InotifyWatchGroup._add_callback`)."""
    for reader in _reader(observer):
        reader.add_callback = _telling(reader.add_callback, inbox)  # type: ignore[attr-defined]


def _telling(add_watch: Callable[..., Any], inbox: Inbox) -> Callable[..., Any]:
    def add(path: bytes, *rest: Any) -> Any:
        try:
            return add_watch(path, *rest)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                inbox.put(Change.EXHAUSTED, os.fsdecode(path))
            raise

    return add
