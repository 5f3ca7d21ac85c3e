"""The contact sheet of a review: picture, cut-out, confidence and doubts, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from inference.codec import MAX_PIXELS, decode
from inference.errors import PictureError
from inference.evaluation.contact_sheet import Row, contact_sheet
from watcher.commands.review.items import Item
from watcher.core.errors import Gone, Rejected, Stale
from watcher.stores.base import Store

CELL = 300
"""Side of a cell in pixels."""


def write_sheet(items: Sequence[Item], source: Store | None, sink: Store, path: Path) -> None:
    """Draw the items in their order; the pictures only where the source is known. Raises Unavailable or ValueError."""
    rows = [Row(_label(item), _cells(item, source, sink)) for item in items]
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, ["picture", "cut-out"] if source else ["cut-out"], path, CELL)


def _label(item: Item) -> str:
    lines = [item.key, f"confidence {item.review.confidence:.2f}"]
    lines += [doubt.replace("_", " ") for doubt in item.review.doubts]
    return "\n".join([*lines, item.model, *([item.decided] if item.decided else [])])


def _cells(item: Item, source: Store | None, sink: Store) -> list[Image.Image]:
    cutout = _picture(sink, item.output)
    return [_picture(source, item.key), cutout] if source else [cutout]


def _picture(store: Store, key: str) -> Image.Image:
    """The picture at a key, small; an empty one where there is none that can be read."""
    try:
        ref = store.stat(key)
        picture = decode(store.read(ref), max_pixels=MAX_PIXELS, keep_truncated=True) if ref else None
    except (PictureError, Gone, Stale, Rejected):
        picture = None
    if picture is None:
        return Image.new("RGB", (CELL, CELL), "#eeeeee")
    image = Image.fromarray(picture.pixels if picture.rgba is None else picture.rgba)
    image.thumbnail((2 * CELL, 2 * CELL))
    return image
