"""How the values of an output's options are written, and read into one canonical form. Loads no codec."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255, sRGB."""

NO_BACKGROUND = "none"
"""A transparent background."""
COLOURS: dict[str, Colour] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "lightgrey": (211, 211, 211),
    "lightgray": (211, 211, 211),
}
"""Colours that have a name here; all others are written #RRGGBB."""
LONGEST_SIDE = 65_535
"""Longest side in pixels that can be asked of an output."""
_MAX_MARGIN = 400.0
"""Widest margin, in per cent of the object's longer side."""
_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2}


class Format(StrEnum):
    """A file format of outputs."""

    PNG = "png"
    WEBP = "webp"
    JPEG = "jpeg"
    TIFF = "tiff"
    AVIF = "avif"

    @property
    def suffix(self) -> str:
        """The usual extension of file names, with its dot."""
        return {"jpeg": ".jpg", "tiff": ".tif"}.get(self.value, f".{self.value}")

    @property
    def content_type(self) -> str:
        """The media type."""
        return f"image/{self.value}"

    @property
    def has_alpha(self) -> bool:
        """Whether files of this format can be transparent."""
        return self is not Format.JPEG

    @property
    def longest_side(self) -> int:
        """The longest side in pixels that the format allows."""
        return {"webp": 16_383, "jpeg": 65_535, "avif": 65_535}.get(self.value, (1 << 31) - 1)


class Align(StrEnum):
    """Where on its canvas the object is."""

    CENTRE = "centre"
    FOOT = "foot"


def number(value: Any) -> Any:
    """Refuse true and false, which would be taken as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def format_name(value: Any) -> Any:
    """Accept jpg and tif as well, in any case."""
    name = str(value).strip().lower()
    return {"jpg": "jpeg", "tif": "tiff"}.get(name, name)


def align_name(value: Any) -> Any:
    """Accept center and bottom as well."""
    name = str(value).strip().lower()
    return {"center": "centre", "bottom": "foot"}.get(name, name)


def share(value: Any) -> Any:
    """Read 0.85 or "85%"."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    return float(match[1]) / 100 if match else number(value)


def margin(value: Any) -> str:
    """Bring a margin into the form 40px or 5%."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(px|%|)\s*", str(number(value)))
    if match is None:
        raise ValueError(f"{value!r} is no margin; write pixels as 40px, or per cent of the object's longer side as 5%")
    amount, unit = float(match[1]), match[2] or "px"
    if unit == "px" and not amount.is_integer():
        raise ValueError(f"{value!r} is no whole number of pixels; did you mean {amount:g}%?")
    if unit == "px" and amount > LONGEST_SIDE:
        raise ValueError(f"{value!r} is too wide; a margin has at most {LONGEST_SIDE} px")
    if unit == "%" and amount > _MAX_MARGIN:
        raise ValueError(f"{value!r} is too wide; a margin has at most {_MAX_MARGIN:g}%")
    return f"{amount:g}{unit}"


def canvas(value: Any) -> str:
    """Bring a canvas into the form 2000x2000 or 3:4."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*([x:])\s*(\d{1,6})\s*", str(value).lower())
    if match is None:
        raise ValueError(f"{value!r} is no canvas; write a size in pixels as 2000x2000, or a ratio as 3:4")
    width, height = int(match[1]), int(match[3])
    if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
        raise ValueError(f"{value!r} is no canvas; each side is 1 to {LONGEST_SIDE}")
    return f"{width}{':' if match[2] == ':' else 'x'}{height}"


def background(value: str) -> str:
    """Bring colours into the form #rrggbb; leave `none` and a picture's path as they are."""
    text = value.strip()
    if not text:
        raise ValueError("is empty; write none, a colour such as white or #f4f4f4, or the path of a picture")
    if text.lower() == NO_BACKGROUND:
        return NO_BACKGROUND
    if text.lower() in COLOURS:
        return "#{:02x}{:02x}{:02x}".format(*COLOURS[text.lower()])
    if not text.startswith("#"):
        return text
    digits = text[1:].lower()
    if re.fullmatch(r"[0-9a-f]{3}", digits):
        digits = "".join(digit * 2 for digit in digits)
    if not re.fullmatch(r"[0-9a-f]{6}", digits):
        raise ValueError(f"{value!r} is no colour; write #RRGGBB, for example #f4f4f4. (A path may not begin with #.)")
    return f"#{digits}"


def file_size(value: Any) -> Any:
    """Read 5000000, "5MB" or "5MiB"."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(number(value)))
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"{value!r} is no file size; write bytes, or a unit as in 5MB or 5MiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def depth(value: Any) -> Any:
    """Read 8 or 16, also as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else number(value)
