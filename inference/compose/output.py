"""Compose one output of a cut-out: place it, fill the ground, encode it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inference.codec import encode
from inference.compose.source import SourceMetadata
from inference.compose.spec import OutputSpec
from inference.picture import Cutout


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


Text = Mapping[str, str] | Callable[[Box | None], Mapping[str, str]]
"""What a file records, by keyword; or what makes that of the object's box."""


@dataclass(frozen=True)
class Composed:
    """A finished output."""

    data: bytes = field(repr=False)
    """The file."""
    width: int
    height: int
    box: Box | None
    """The object's bounding box in the output; None if nothing is visible."""


def compose(cutout: Cutout, spec: OutputSpec, source: SourceMetadata, text: Text, *, png_level: int = 1) -> Composed:
    """Make the output that `spec` describes. `text` is recorded in the file, by keyword; `read_text` reads it.

    A text that states the object's box is a function: it is called once with the box that `Composed` will have.

    Identical input gives identical bytes. Raises OutputDoesNotFit if the output exceeds what its format or `max_bytes`
    allows, BackgroundUnreadable for the background picture, ValueError for text that is too long.
    """
    height, width = cutout.pixels.shape[:2]
    box = None
    recorded = text(box) if callable(text) else text
    return Composed(encode(cutout, text=recorded, level=png_level), width, height, box)
