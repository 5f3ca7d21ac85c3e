"""What one output looks like: its format, frame, background, shadow and metadata. Importing this loads no codec."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from inference.compose import values
from inference.compose.values import LONGEST_SIDE, NO_BACKGROUND, Align, Colour, Format

Number = Annotated[int, BeforeValidator(values.number)]
Share = Annotated[float, BeforeValidator(values.share), Field(allow_inf_nan=False)]


class OutputSpec(BaseModel):
    """One output's look. The default is the plain PNG: the whole frame, RGBA, nothing else.

    Raises pydantic's ValidationError, whose messages say what to write instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Annotated[Format, BeforeValidator(values.format_name)] = Format.PNG
    """File format: png, webp, jpeg, tiff or avif."""
    lossless: bool = False
    """Write WebP without loss. PNG and TIFF never lose anything."""
    quality: Annotated[Number, Field(ge=1, le=100)] | None = None
    """Quality of JPEG, lossy WebP and AVIF, 1 to 100; by default 92, 85 and 75."""
    depth: Annotated[Literal[8, 16], BeforeValidator(values.depth)] = 8
    """Bits per channel of PNG and TIFF: 16 keeps the colours of a 16-bit source; sources of 8 bits stay at 8."""
    content: Literal["cutout", "mask"] = "cutout"
    """The cut-out, or only its alpha as a grey picture in which the object is white."""
    background: Annotated[str, AfterValidator(values.background)] = NO_BACKGROUND
    """none, a colour (white, #f4f4f4), or the path of a picture that fills the frame."""
    trim: bool = False
    """Cut the frame down to the object and its margin."""
    margin: Annotated[str, BeforeValidator(values.margin)] = "0px"
    """Room around a trimmed object: pixels of the output (40px), or a share of the object's longer side (5%)."""
    canvas: Annotated[str, BeforeValidator(values.canvas)] | None = None
    """Put the object on a canvas of this size in pixels (2000x2000) or of this ratio (3:4)."""
    share: Annotated[Share, Field(gt=0, le=1)] | None = None
    """How much of the canvas the object takes, along the side that is tighter: 0.85 or 85%. Without it, the whole frame
    (or what trim leaves of it) is fitted into the canvas."""
    align: Annotated[Align, BeforeValidator(values.align_name)] = Align.CENTRE
    """Where the object is on its canvas: centre, or foot, where all objects stand on one line."""
    enlarge: bool = True
    """Whether a small object may be enlarged to fill its share of a canvas."""
    shadow: Annotated[Share, Field(ge=0, le=1)] = 0.0
    """Strength of a soft shadow under the object's foot: 0 is none, 1 is black."""
    max_side: Annotated[Number, Field(ge=1, le=LONGEST_SIDE)] | None = None
    """The longest side in pixels; larger outputs are scaled down."""
    dpi: Annotated[Number, Field(ge=1, le=65_535)] | None = None
    """Resolution to record, in dots per inch; by default that of the source, if it states one."""
    icc: bool = True
    """Embed an sRGB profile. Outputs are always in sRGB; a PNG says so in a chunk of its own."""
    exif: Literal["none", "rights", "all"] | None = None
    """What is carried over from the source's EXIF: none, rights (copyright and artist), or all but the orientation,
    thumbnails and the place. By default rights, and nothing in the plain PNG."""
    gps: bool = False
    """Whether all of the EXIF includes where the photo was taken."""
    max_bytes: Annotated[int, BeforeValidator(values.file_size), Field(ge=1)] | None = None
    """Largest file (5000000, 5MB, 5MiB): the quality is lowered until the file fits."""

    @model_validator(mode="after")
    def _is_possible(self) -> OutputSpec:
        for is_broken, message in _RULES:
            if is_broken(self):
                raise ValueError(message.format(format=self.format.value.upper()))
        return self

    @property
    def is_plain(self) -> bool:
        """Whether this is the plain PNG, which `codec.encode` writes."""
        return self == PLAIN

    @property
    def is_lossy(self) -> bool:
        """Whether the format loses detail, and has a quality."""
        return self.format in (Format.JPEG, Format.AVIF) or (self.format is Format.WEBP and not self.lossless)

    @property
    def colour(self) -> Colour | None:
        """The background's colour; None where there is none, or a picture."""
        if not self.background.startswith("#"):
            return None
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue

    @property
    def background_path(self) -> Path | None:
        """The path of the picture behind the object."""
        return None if self.colour or self.background == NO_BACKGROUND else Path(self.background)

    @property
    def canvas_size(self) -> tuple[int, int] | None:
        """Width and height of a canvas of fixed size, scaled down to `max_side`; None for a ratio or no canvas."""
        if self.canvas is None or "x" not in self.canvas:
            return None
        width, height = map(int, self.canvas.split("x"))
        scale = min(1.0, (self.max_side or LONGEST_SIDE) / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    @property
    def canvas_ratio(self) -> tuple[int, int]:
        """Width and height of the canvas's ratio; 1:1 if there is none."""
        width, _, height = (self.canvas or "1:1").replace("x", ":").partition(":")
        return int(width), int(height)

    @property
    def margin_parts(self) -> tuple[int, float]:
        """The margin as pixels of the output, and as a part of the object's longer side; one of them is 0."""
        if self.margin.endswith("%"):
            return 0, float(self.margin[:-1]) / 100
        return int(self.margin[:-2]), 0.0

    def margin_of(self, longer: int) -> int:
        """Return the margin in pixels around an object with this longer side."""
        pixels, part = self.margin_parts
        return pixels + round(part * longer)

    @property
    def is_opaque(self) -> bool:
        """Whether no pixel of the output is transparent."""
        return self.content == "mask" or self.background != NO_BACKGROUND

    @property
    def carried_exif(self) -> Literal["none", "rights", "all"]:
        """What is carried over from the source's EXIF."""
        return ("none" if self.is_plain else "rights") if self.exif is None else self.exif

    def changes(self) -> dict[str, Any]:
        """The options that differ from the plain PNG, as JSON values by name, in the order of the fields.

        Equal specs give equal changes, and the plain PNG gives none: they may enter a job's id.
        """
        return self.model_dump(mode="json", exclude_defaults=True)

    def most_pixels(self, width: int, height: int) -> int:
        """Most pixels that the output of a picture of this size can have, wherever its object is.

        >>> OutputSpec(canvas="2000x2000").most_pixels(640, 480)
        4000000
        >>> OutputSpec(trim=True, margin="10px").most_pixels(640, 480)
        330000
        """
        limit = self.max_side or math.inf
        across, down = (min(math.ceil(side), limit) for side in self.canvas_size or self._largest_frame(width, height))
        return int(across * down)

    def _largest_frame(self, width: int, height: int) -> tuple[float, float]:
        around, share = 2 * self.margin_of(max(width, height)), self.share or 1.0
        wide, high = float(width + around), float(height + around)
        if self.canvas:
            across, down = self.canvas_ratio
            wide, high = max(wide, high * across / down), max(high, wide * down / across)
        return wide / share, high / share


_Rule = tuple[Callable[[OutputSpec], bool], str]
_RULES: tuple[_Rule, ...] = (
    (
        lambda s: s.format is Format.JPEG and not s.is_opaque,
        "JPEG has no transparency: set background to a colour such as white, or choose png, webp, tiff or avif",
    ),
    (
        lambda s: s.lossless and s.format in (Format.JPEG, Format.AVIF),
        "{format} cannot be lossless: choose png, webp or tiff, or leave lossless out",
    ),
    (
        lambda s: s.quality is not None and not s.is_lossy,
        "{format} without loss has no quality: leave quality out, or choose jpeg, webp or avif",
    ),
    (
        lambda s: s.depth == 16 and s.format not in (Format.PNG, Format.TIFF),
        "{format} holds 8 bits per channel: choose png or tiff for a depth of 16",
    ),
    (
        lambda s: s.content == "mask" and s.depth == 16,
        "the matte has 8 bits: leave depth out of an output that is the mask only",
    ),
    (
        lambda s: s.content == "mask" and s.background != NO_BACKGROUND,
        "a mask has no background: leave background out, or set content to cutout",
    ),
    (
        lambda s: s.content == "mask" and s.shadow > 0,
        "a mask has no shadow: leave shadow out, or set content to cutout",
    ),
    (
        lambda s: s.margin != "0px" and not s.trim,
        "margin is the room around a trimmed object: add trim = true",
    ),
    (
        lambda s: 2 * s.margin_parts[0] >= min(s.canvas_size or (s.max_side or LONGEST_SIDE * 2,)),
        "the margin on both sides leaves no room for the object: set a smaller margin, or a larger canvas or max_side",
    ),
    (
        lambda s: s.share is not None and s.canvas is None,
        "share is the object's part of a canvas: add a canvas such as 2000x2000 or 1:1",
    ),
    (
        lambda s: s.share is not None and s.trim,
        "trim with its margin and share both say how much room the object has: leave one out",
    ),
    (
        lambda s: s.canvas is None and s.align is not Align.CENTRE,
        "align is where the object is on a canvas: add a canvas such as 2000x2000 or 1:1",
    ),
    (
        lambda s: s.canvas is None and not s.enlarge,
        "enlarge is about fitting into a canvas: add a canvas such as 2000x2000, or leave enlarge out",
    ),
    (
        lambda s: s.shadow > 0 and s.trim and s.margin == "0px",
        "a shadow needs room below the object: add a margin of 5% or more",
    ),
    (
        lambda s: s.gps and s.exif != "all",
        "gps is a part of the EXIF: set exif to all, or leave gps out",
    ),
)

PLAIN = OutputSpec()
"""The whole frame as RGBA PNG: what alphadrop writes when no output is configured."""
