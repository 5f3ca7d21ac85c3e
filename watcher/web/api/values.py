"""How requests write colours, lengths and regions. Each reader raises ValueError with what to write instead."""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import ImageColor

from inference.compose.look import Rgba
from inference.compose.placement import Length, Margins
from inference.picture import Box

_AMOUNT = r"(\d{1,6}(?:\.\d{1,6})?)"
_LENGTH = re.compile(rf"{_AMOUNT}(px|%)?")
_SHARE = re.compile(rf"{_AMOUNT}%")
_MOST_PIXELS, _MOST_PERCENT = 500, 50
_HEXADECIMAL = re.compile(r"#?([0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")


@dataclass(frozen=True)
class Region:
    """A rectangle by two corners, in pixels or parts of the picture's sides."""

    left: Length
    top: Length
    right: Length
    bottom: Length

    def of(self, width: int, height: int) -> Box:
        """Return the part of a picture of this size. Raises ValueError if there is none."""
        left, right = sorted((min(self.left.of(width), width), min(self.right.of(width), width)))
        top, bottom = sorted((min(self.top.of(height), height), min(self.bottom.of(height), height)))
        if left == right or top == bottom:
            raise ValueError(f"is empty or outside of the picture, which has {width} x {height} pixels")
        return Box(left, top, right, bottom)


def colour(text: str) -> Rgba:
    """Read `81d4fa`, `#81d4fa`, `#81d4fa77`, `6ad` or a name of CSS.

    >>> colour("6ad"), colour("81d4fa77"), colour("white")
    ((102, 170, 221, 255), (129, 212, 250, 119), (255, 255, 255, 255))
    """
    name = text.strip().lower()
    if _HEXADECIMAL.fullmatch(name):
        name = "#" + name.removeprefix("#")
    if name.startswith("#") or name in ImageColor.colormap:
        try:
            red, green, blue, *alpha = ImageColor.getrgb(name)
            return red, green, blue, alpha[0] if alpha else 255
        except ValueError:
            pass
    raise ValueError("is no colour; write RRGGBB or RRGGBBAA in hex digits, such as 81d4fa, or a name such as white")


def comma_colour(text: str) -> Rgba:
    """Read `255,255,255,255`.

    >>> comma_colour("1, 2,3,255")
    (1, 2, 3, 255)
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(re.fullmatch(r"\d{1,3}", part) and int(part) <= 255 for part in parts):
        raise ValueError("is no colour; write red, green, blue and alpha, 0 to 255 each, such as 255,255,255,255")
    red, green, blue, alpha = map(int, parts)
    return red, green, blue, alpha


def margins(text: str) -> Margins:
    """Read one, two or four margins, as CSS orders them: `10%`, `10px 20px`, `1px 2px 3px 4px`."""
    found = [_length(part) for part in text.split()]
    if len(found) not in (1, 2, 4) or not all(map(_is_margin, found)):
        raise ValueError("takes one, two or four margins of at most 500px or 50%, such as 10% or 30px 20px")
    top, right, bottom, left = found if len(found) == 4 else (found * 4)[:4]
    return Margins(top, right, bottom, left)


def _is_margin(length: Length) -> bool:
    return length.amount <= (_MOST_PERCENT / 100 if length.is_part else _MOST_PIXELS)


def region(text: str) -> Region:
    """Read two corners: `0% 0% 100% 100%`, or `10px 20px 300px 400px`."""
    parts = text.split()
    if len(parts) != 4:
        raise ValueError("takes two corners as x1 y1 x2 y2, in px or %, such as 0% 0% 50% 100%")
    return Region(*map(_length, parts))


def scale(text: str) -> float | None:
    """Read `original`, which is None, or 10% to 100%."""
    if text.strip().lower() == "original":
        return None
    part = _share(text, "is original, or 10% to 100%")
    if part < 0.1:
        raise ValueError("is original, or 10% to 100%")
    return part


def position(text: str) -> tuple[float, float] | None:
    """Read `original`, which is None; `center`; or one or two shares such as `50%` or `0% 100%`."""
    word = text.strip().lower()
    if word == "original":
        return None
    if word in ("center", "centre"):
        return 0.5, 0.5
    parts = word.split()
    problem = "is original, center, or one or two shares from 0% to 100%, such as 50% 100%"
    if len(parts) not in (1, 2):
        raise ValueError(problem)
    found = [_share(part, problem) for part in parts]
    return found[0], found[-1]


def _length(text: str) -> Length:
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:20]!r} is no length; write pixels as 30px, or a part as 10%")
    is_part = match[2] == "%"
    if is_part and float(match[1]) > 100:
        raise ValueError(f"{text[:20]!r} is more than the whole; write at most 100%")
    return Length(float(match[1]) / (100 if is_part else 1), is_part)


def _share(text: str, problem: str) -> float:
    match = _SHARE.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        raise ValueError(problem)
    return float(match[1]) / 100
