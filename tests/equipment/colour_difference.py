"""How different two colours look: CIEDE2000. A difference of 1 is hardly visible, one of 2 is visible side by side.

Formulas: Sharma, Wu and Dalal, The CIEDE2000 Color-Difference Formula, 2005; sRGB is that of IEC 61966-2-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Of linear sRGB, relative to D65."""


def linear(rgb: NDArray[Any]) -> Floats:
    """Linear light of sRGB, 0 to 255."""
    values = rgb.astype(np.float64) / 255
    light: Floats = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light


def lab(xyz: Floats, white: Floats) -> Floats:
    """CIELAB of XYZ."""
    ratio = xyz / white
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def seen_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest CIEDE2000 between two pictures or colours of one shape, ... x 3, sRGB of 0 to 255."""
    white = SRGB_TO_XYZ.sum(axis=1)
    first, second = (lab(linear(rgb) @ SRGB_TO_XYZ.T, white) for rgb in (one, other))
    return float(ciede2000(first, second).max())


def ciede2000(one: Floats, other: Floats) -> Floats:
    """CIEDE2000 of CIELAB colours, ... x 3, with all weights 1."""
    mean_chroma = (np.hypot(one[..., 1], one[..., 2]) + np.hypot(other[..., 1], other[..., 2])) / 2
    g = 0.5 * (1 - _saturation(mean_chroma))
    (l1, c1, h1), (l2, c2, h2) = (_polar(colour, g) for colour in (one, other))
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    mean_l, mean_c, mean_h = (l1 + l2) / 2, (c1 + c2) / 2, np.where(grey, h1 + h2, _mean_hue(h1, h2))
    t = 1 + sum(size * _cos(times * mean_h + by) for size, times, by in _HUE_TERMS)
    low = (mean_l - 50) ** 2
    lightness = (l2 - l1) / (1 + 0.015 * low / np.sqrt(20 + low))
    chroma = (c2 - c1) / (1 + 0.045 * mean_c)
    hue = hue / (1 + 0.015 * mean_c * t)
    turned = -np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2)))) * 2 * _saturation(mean_c)
    squared: Floats = lightness**2 + chroma**2 + hue**2 + turned * chroma * hue
    return np.sqrt(squared)


_HUE_TERMS = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))


def _polar(colour: Floats, g: Floats) -> tuple[Floats, Floats, Floats]:
    """Lightness, chroma and hue in degrees, with a* stretched for greyish colours."""
    a, b = (1 + g) * colour[..., 1], colour[..., 2]
    return colour[..., 0], np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def _mean_hue(one: Floats, other: Floats) -> Floats:
    far = np.abs(one - other) > 180
    mean: Floats = ((one + other) / 2 + np.where(far, np.where(one + other < 360, 180, -180), 0)) % 360
    return mean


def _saturation(chroma: Floats) -> Floats:
    root: Floats = np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    return root


def _cos(degrees: Floats) -> Floats:
    cosine: Floats = np.cos(np.radians(degrees))
    return cosine
