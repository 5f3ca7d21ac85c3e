"""From messages to images: which of the objects that were written are pictures of this source, and in which version."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from watcher.core.counts import Counts
from watcher.core.errors import NotAnEvent
from watcher.core.jobs import ImageRef
from watcher.sources.events import Notice, parse
from watcher.sources.names import SourceFilter
from watcher.stores.base import Store
from watcher.stores.listing import is_text

_SHOWN = 300
"""Characters of a source's name that a message gives."""


class Notices:
    """Reads messages for one source. Safe to use from any thread.

    Counts every message that it could read or never will: `("event_messages", "accepted" | "ignored" | "invalid")`.
    """

    def __init__(self, store: Store, names: SourceFilter, counts: Counts | None = None) -> None:
        """`store` is the source's: its URI says what belongs to it, and it is asked for what a message leaves open."""
        self._store = store
        self._names = names
        self._counts = counts or Counts()
        self._bucket, self._prefix = _place(store.uri)

    def refs(self, body: bytes) -> list[ImageRef]:
        """The images of this source that a message announces; [] if none. Raises NotAnEvent or Unavailable."""
        try:
            found = [self._ref(notice) for notice in newest(parse(body))]
        except NotAnEvent:
            self._counts.add("event_messages", "invalid")
            raise
        refs = list(dict.fromkeys(ref for ref in found if ref))
        self._counts.add("event_messages", "accepted" if refs else "ignored")
        return refs

    def _ref(self, notice: Notice) -> ImageRef | None:
        """None where it is not ours, or where nothing is there of which no more is known (Ceph tells of beginnings)."""
        keys = self._keys(notice)
        if not keys:
            return None
        said = ImageRef(keys[0], notice.version, max(0, notice.size), notice.modified)
        # Gateways that do not know a size yet may say 0, too: https://github.com/ceph/ceph/pull/34641
        if notice.version and notice.size > 0 and not notice.other_key:
            return said
        found = next(filter(None, map(self._store.stat, keys)), None)
        return found or (said if notice.version else None)  # it is gone by now: whoever looks for it will say so

    def _keys(self, notice: Notice) -> list[str]:
        """What its key may be below the source, likelier first; [] where it is no picture of this source."""
        readings = [notice.key, notice.other_key] if notice.other_key else [notice.key]
        return [key for key in self._below(notice, readings) if _is_name(key) and self._names.accepts(key)]

    def _below(self, notice: Notice, readings: Sequence[str]) -> Sequence[str]:
        if notice.source:
            self._require_own(notice.source)
            return readings
        if notice.bucket != self._bucket:
            return []
        return [key.removeprefix(self._prefix) for key in readings if key.startswith(self._prefix)]

    def _require_own(self, source: str) -> None:
        """Only `watch` writes such a message: to forget it would hide that it and `work` are at odds."""
        if source != self._store.uri:
            raise NotAnEvent(
                f"it is about the source {source[:_SHOWN]!r}, and this one is {self._store.uri!r}: "
                "`watch` and `work` must be given the same one"
            )


def newest(notices: Sequence[Notice]) -> list[Notice]:
    """Without those that are older than another one of the same key, where both have a sequencer.

    Sequencers begin with a time, so they are filled up on the right:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    width = max((len(notice.sequencer) for notice in notices), default=0)
    last: dict[tuple[str, str], str] = {}
    for notice in notices:
        name = notice.bucket, notice.key
        last[name] = max(last.get(name, ""), _order(notice, width))
    return [n for n in notices if not n.sequencer or _order(n, width) == last[n.bucket, n.key]]


def _order(notice: Notice, width: int) -> str:
    return notice.sequencer.lower().ljust(width, "0")


def _is_name(key: str) -> bool:
    """Whether anything can lie there: JSON can write halves of characters, and no file's name holds a NUL."""
    return "\0" not in key and is_text(key)


def _place(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix/`; ("", "") of other URIs, which no bucket's event is about."""
    scheme, _, place = uri.partition("://")
    bucket, _, prefix = place.partition("/")
    return (bucket, unquote(prefix)) if scheme == "s3" else ("", "")
