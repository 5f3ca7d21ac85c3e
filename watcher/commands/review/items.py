"""What there is to review: the outputs of a sink by image, with what they record and what was decided about them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

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
    """The key of the output that is shown: the plain cut-out if there is one, or else the first."""
    job: str
    model: str
    review: Review
    options: Mapping[str, str]
    """The options that each of its outputs in the sink records, as JSON by key; "" where one records none."""
    decision: Decision | None = None
    """What was decided about these outputs, if anything."""

    @property
    def decided(self) -> str:
        """The decision in a word; empty if there is none."""
        return self.decision.verdict.value if self.decision else ""

    @property
    def is_plain(self) -> bool:
        """Whether the output that is shown is the plain RGBA PNG."""
        return output_options(self.options[self.output]) == {}


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
        found[item.key] = _joined(found[item.key], item) if item.key in found else item
    items = (_with_decision(item, decisions.get(item.key)) for item in found.values())
    listing.items = sorted(items, key=lambda item: (item.review.confidence, item.key))
    return listing


def output_options(recorded: str) -> dict[str, Any] | None:
    """The look of an output, as the options that differ from the plain PNG; None where it records no options.

    >>> output_options('{"canvas":448,"output":{"background":"#ffffff","format":"jpeg"}}')
    {'background': '#ffffff', 'format': 'jpeg'}
    """
    try:
        look = json.loads(recorded).get("output", {})
    except (ValueError, AttributeError):
        return None
    return look if isinstance(look, dict) else None


def _joined(first: Item, second: Item) -> Item:
    """Two items of one image as one."""
    shown = second if second.is_plain and not first.is_plain else first
    return replace(shown, options={**first.options, **second.options})


def _with_decision(item: Item, decision: Decision | None) -> Item:
    return replace(item, decision=decision) if decision is not None and decision.job == item.job else item


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
    options = {ref.key: texts.get("options", "")}
    return Item(texts["source"], ref.key, texts["job"], texts.get("model", ""), review, options)
