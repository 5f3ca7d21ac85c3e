"""Compose one output of a cut-out: lay it out, paint it, encode it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inference.codec import encode
from inference.codec.png import AnyDepth
from inference.compose.deep_painting import paint_deep
from inference.compose.encoding import require_size, write
from inference.compose.frame import lay_out
from inference.compose.metadata import output_metadata
from inference.compose.painting import paint
from inference.compose.source import SourceMetadata
from inference.compose.spec import OutputSpec
from inference.picture import Box, Cutout

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

    Identical input gives identical bytes, and the plain PNG those of `codec.encode`. Raises OutputDoesNotFit if the
    output exceeds what its format or `max_bytes` allows, BackgroundUnreadable for the background picture, and
    ValueError for text that is too long or, outside of a PNG, has a keyword other than `alphadrop:NAME`.
    """
    height, width = cutout.pixels.shape[:2]
    frame = lay_out(spec, (width, height), cutout.box)
    box = frame.project(cutout.box) if cutout.box else None
    recorded = text(box) if callable(text) else text
    if spec.is_plain:
        return Composed(encode(cutout, text=recorded, level=png_level), frame.width, frame.height, box)
    require_size(frame.width, frame.height, spec)
    pixels: AnyDepth
    if spec.depth == 16 and source.deep is not None:
        pixels = paint_deep(cutout, source.deep, spec, frame, box)
    else:
        pixels = paint(cutout, spec, frame, box)
    data = write(pixels, spec, output_metadata(spec, source, recorded), png_level)
    return Composed(data, frame.width, frame.height, box)
