"""Compose one output of a cut-out: lay it out, paint it, encode it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inference.codec import encode
from inference.compose.encoding import write
from inference.compose.frame import Frame, lay_out
from inference.compose.metadata import output_metadata
from inference.compose.painting import paint
from inference.compose.source import SourceMetadata
from inference.compose.spec import OutputSpec
from inference.picture import Box, Cutout


@dataclass(frozen=True)
class Composed:
    """A finished output."""

    data: bytes = field(repr=False)
    """The file."""
    width: int
    height: int
    box: Box | None
    """The object's bounding box in the output; None if nothing is visible."""


def compose(
    cutout: Cutout, spec: OutputSpec, source: SourceMetadata, text: Mapping[str, str], *, png_level: int = 1
) -> Composed:
    """Make the output that `spec` describes. `text` is recorded in the file, by keyword; `read_text` reads it.

    Identical input gives identical bytes, and the plain PNG those of `codec.encode`. Raises OutputDoesNotFit if the
    output exceeds what its format or `max_bytes` allows, BackgroundUnreadable for the background picture, and
    ValueError for text that is too long or, outside of a PNG, has a keyword other than `alphadrop:NAME`.
    """
    frame = _frame(cutout, spec)
    box = frame.project(cutout.box) if cutout.box else None
    if spec.is_plain:
        return Composed(encode(cutout, text=text, level=png_level), frame.width, frame.height, box)
    pixels = paint(cutout, spec, frame, box)
    data = write(pixels, spec, output_metadata(spec, source, text), png_level)
    return Composed(data, frame.width, frame.height, box)


def output_box(cutout: Cutout, spec: OutputSpec) -> Box | None:
    """Return the object's bounding box in an output before it is made; None if nothing is visible."""
    return _frame(cutout, spec).project(cutout.box) if cutout.box else None


def _frame(cutout: Cutout, spec: OutputSpec) -> Frame:
    height, width = cutout.pixels.shape[:2]
    return lay_out(spec, (width, height), cutout.box)
