"""What there is to review: the outputs of a sink by image, with what they record and what was decided about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from inference.review.doubts import Review
from watcher.core.errors import Gone, Stale
from watcher.core.jobs import ImageRef
from watcher.stores.base import FAILED_PREFIX, INTERNAL_PREFIX, Store
from watcher.stores.decisions import Decision, read_decisions
from watcher.stores.recorded import texts_of

_REQUESTS = 16
"""Concurrent requests to the sink."""


@dataclass(frozen=True)
class Item:
    """The outputs of one image."""

    key: str
    """The image's key in the source."""
    output: str
    """The key of its first output in the sink."""
    job: str
    model: str
    review: Review
    decision: Decision | None = None
    """What was decided about these outputs, if anything."""

    @property
    def decided(self) -> str:
        """The decision in a word; empty if there is none."""
        return self.decision.verdict.value if self.decision else ""


@dataclass
class Listing:
    """What a sink holds."""

    items: list[Item] = field(default_factory=list)
    """Least sure first."""
    unknown: int = 0
    """Outputs that record no confidence: of an earlier version, or made without a model."""


def list_items(sink: Store) -> Listing:
    """Read what every output in a sink records. Raises Unavailable."""
    decisions = {decision.key: decision for decision in read_decisions(sink)}
    listing, found = Listing(), dict[str, Item]()
    for ref, texts in _texts(sink):
        item = _item(ref, texts)
        if item is None:
            listing.unknown += "source" in texts
            continue
        decision = decisions.get(item.key)
        valid = decision if decision is not None and decision.job == item.job else None
        found.setdefault(item.key, replace(item, decision=valid))
    listing.items = sorted(found.values(), key=lambda item: (item.review.confidence, item.key))
    return listing


def _texts(sink: Store) -> Iterator[tuple[ImageRef, dict[str, str]]]:
    """Every file of the sink that could be an output, with what it records."""

    def read(ref: ImageRef) -> dict[str, str]:
        try:
            return texts_of(sink, ref)
        except (Gone, Stale, OSError):  # replaced or deleted meanwhile
            return {}

    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="review") as pool:
        for refs in _in_portions(_outputs(sink), 50 * _REQUESTS):
            yield from zip(refs, pool.map(read, refs), strict=True)


def _outputs(sink: Store) -> Iterator[ImageRef]:
    return (ref for ref in sink.list() if not ref.key.startswith((FAILED_PREFIX, INTERNAL_PREFIX)))


def _in_portions(refs: Iterable[ImageRef], most: int) -> Iterator[list[ImageRef]]:
    portion: list[ImageRef] = []
    for ref in refs:
        portion.append(ref)
        if len(portion) == most:
            yield portion
            portion = []
    if portion:
        yield portion


def _item(ref: ImageRef, texts: dict[str, str]) -> Item | None:
    if "source" not in texts or "job" not in texts or "confidence" not in texts:
        return None
    try:
        review = Review.parse(texts["confidence"], texts.get("doubts", ""))
    except ValueError:
        return None
    return Item(texts["source"], ref.key, texts["job"], texts.get("model", ""), review)
