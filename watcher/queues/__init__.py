"""Queues of jobs. A lost queue is rebuilt from the source and the sink."""

from __future__ import annotations

from pathlib import Path

from watcher.queues.sqlite import SqliteQueue


def open_queue(uri: str) -> SqliteQueue:
    """Open the queue at `sqlite:///path`. Raises ConfigurationError or Unavailable."""
    return SqliteQueue(Path(uri.removeprefix("sqlite://")))
