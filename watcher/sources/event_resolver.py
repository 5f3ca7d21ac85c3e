"""From messages to images: which of the written objects are pictures of this source, and in which version."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from watcher.core.counts import Counts
from watcher.core.errors import NotAnEvent
from watcher.core.jobs import ImageRef
from watcher.sources.events import WriteEvent, parse
from watcher.sources.source_filter import SourceFilter
from watcher.stores.base import Store
from watcher.stores.listing import is_text

_SHOWN = 300
"""Characters of a source's URI that an error message shows."""


class EventResolver:
    """Finds the images that messages announce, for one source. Safe to use from any thread.

    Counts every message that it could resolve or never will: `("event_messages", RESULT)`, where RESULT is `accepted`
    or `ignored` for a store's events, `own` for those that `watch` has sent, and `invalid`.
    """

    def __init__(self, store: Store, names: SourceFilter, counts: Counts | None = None) -> None:
        """`store` is the source's: its URI decides what belongs to it, and it supplies what a message leaves out."""
        self._store = store
        self._names = names
        self._counts = counts or Counts()
        self._bucket, self._prefix = _bucket_and_prefix(store.uri)

    def resolve(self, body: bytes) -> list[ImageRef]:
        """The images of this source that a message announces; [] if none. Raises NotAnEvent or Unavailable."""
        try:
            events = newest(parse(body))
            found = [self._ref(event) for event in events]
        except NotAnEvent:
            self._counts.add("event_messages", "invalid")
            raise
        refs = list(dict.fromkeys(ref for ref in found if ref))
        result = "own" if any(event.source for event in events) else "accepted" if refs else "ignored"
        self._counts.add("event_messages", result)
        return refs

    def _ref(self, event: WriteEvent) -> ImageRef | None:
        """The image; None if it is not of this source, or the event has no version and no object exists.

        Ceph also announces uploads that have only begun.
        """
        keys = self._keys(event)
        if not keys:
            return None
        announced = ImageRef(keys[0], event.version, max(0, event.size), event.modified)
        # Gateways that do not know the size yet may also send 0: https://github.com/ceph/ceph/pull/34641
        if event.version and event.size > 0 and not event.other_key:
            return announced
        found = next(filter(None, map(self._store.stat, keys)), None)
        return found or (announced if event.version else None)  # if it is gone by now, the worker will say so

    def _keys(self, event: WriteEvent) -> list[str]:
        """The possible keys below the source, the likelier first; [] if it is no picture of this source."""
        readings = [event.key, event.other_key] if event.other_key else [event.key]
        return [key for key in self._below(event, readings) if _is_valid(key) and self._names.accepts(key)]

    def _below(self, event: WriteEvent, readings: Sequence[str]) -> Sequence[str]:
        if event.source:
            self._require_own(event.source)
            return readings
        if event.bucket != self._bucket:
            return []
        return [key.removeprefix(self._prefix) for key in readings if key.startswith(self._prefix)]

    def _require_own(self, source: str) -> None:
        """Only `watch` writes such messages: ignoring one would hide that `watch` and `work` disagree."""
        if source != self._store.uri:
            raise NotAnEvent(
                f"it is about the source {source[:_SHOWN]!r}, and this one is {self._store.uri!r}: "
                "`watch` and `work` must be given the same one"
            )


def newest(events: Sequence[WriteEvent]) -> list[WriteEvent]:
    """Leave out the events that are older than another one of the same key, if both have a sequencer.

    Sequencers start with a time, so the shorter one is padded on the right:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    width = max((len(event.sequencer) for event in events), default=0)
    last: dict[tuple[str, str], str] = {}
    for event in events:
        name = event.bucket, event.key
        last[name] = max(last.get(name, ""), _order(event, width))
    return [e for e in events if not e.sequencer or _order(e, width) == last[e.bucket, e.key]]


def _order(event: WriteEvent, width: int) -> str:
    return event.sequencer.lower().ljust(width, "0")


def _is_valid(key: str) -> bool:
    """Whether an object can have this key: JSON can hold lone surrogates, and no file name holds a NUL."""
    return "\0" not in key and is_text(key)


def _bucket_and_prefix(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix/`; ("", "") for other URIs, which no bucket's event is about."""
    scheme, _, place = uri.partition("://")
    bucket, _, prefix = place.partition("/")
    return (bucket, unquote(prefix)) if scheme == "s3" else ("", "")
