"""Where jobs wait. A queue may be lost: sources and the sink rebuild it. A new queue is one file and one line here."""

from __future__ import annotations

from pathlib import Path

from watcher.queues.sqlite import SqliteQueue


def open_queue(uri: str) -> SqliteQueue:
    """The queue of a `sqlite:///path`. Raises ConfigurationError."""
    return SqliteQueue(Path(uri.removeprefix("sqlite://")))
