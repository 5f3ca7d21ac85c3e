"""Places that hold objects. A new store is one file and one line here."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from watcher.stores.local import LocalStore


def open_store(uri: str) -> LocalStore:
    """The store of a `file://` URI."""
    return LocalStore(Path(unquote(urlsplit(uri).path)))
