"""Build ICC profiles for colour spaces that a file describes in another way, so that LittleCMS converts all of them.

Sources: primaries and transfer functions are those of ITU-T H.273 (07/2024), tables 2 and 3; a PNG's gAMA, cHRM and
cICP are those of the PNG specification, third edition; the profile's layout is that of ICC.1:2022; the adaptation to
D50 is Bradford's, ICC.1:2022, annex E.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from inference.errors import UnsupportedPicture

Matrix = NDArray[np.float64]

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""g, a, b, c, d of IEC 61966-2-1: (a x + b)^g from d on, c x below."""
_NEAR_SRGB_GAMMA = (1 / 2.2 * 0.95, 1 / 2.2 * 1.05)
"""gAMA values that mean sRGB: 1/2.2 within 5 %, the tolerance of libpng."""


class Curve(Enum):
    """A transfer function that is not a plain power."""

    SRGB = "srgb"
    PQ = "PQ"
    HLG = "HLG"


@dataclass(frozen=True)
class Primaries:
    """CIE 1931 xy chromaticities of white, red, green and blue."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


_D65 = (0.3127, 0.3290)
BT709 = Primaries(_D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
ADOBE_RGB = Primaries(_D65, (0.640, 0.330), (0.210, 0.710), (0.150, 0.060))
_PRIMARIES: Mapping[int, Primaries] = MappingProxyType(
    {
        1: BT709,
        4: Primaries((0.310, 0.316), (0.670, 0.330), (0.210, 0.710), (0.140, 0.080)),
        5: Primaries(_D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),
        6: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
        7: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
        8: Primaries((0.310, 0.316), (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
        9: Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
        11: Primaries((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
        12: Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
        22: Primaries(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
    }
)
# The camera curves (1, 6, 14, 15) are read as sRGB: stills that carry them were edited and viewed on sRGB displays.
_TRANSFERS: Mapping[int, Curve | float] = MappingProxyType(
    {1: Curve.SRGB, 4: 2.2, 5: 2.8, 6: Curve.SRGB, 8: 1.0, 13: Curve.SRGB, 14: Curve.SRGB, 15: Curve.SRGB,
     16: Curve.PQ, 18: Curve.HLG}
)  # fmt: skip
_ADOBE_GAMMA = 563 / 256
"""Adobe RGB (1998), section 4.3.1.2."""


@dataclass(frozen=True)
class ColourSpace:
    """Primaries with a transfer function: a `Curve`, or a gamma exponent (linear light = stored value ** exponent)."""

    primaries: Primaries
    transfer: Curve | float

    @property
    def is_srgb(self) -> bool:
        """Whether this is sRGB."""
        return self == SRGB


SRGB = ColourSpace(BT709, Curve.SRGB)
ADOBE = ColourSpace(ADOBE_RGB, _ADOBE_GAMMA)


def of_code_points(primaries: int, transfer: int) -> ColourSpace:
    """Return the space of H.273 code points, as in a PNG's cICP or an AVIF's nclx; unknown ones mean sRGB's."""
    return ColourSpace(_PRIMARIES.get(primaries, BT709), _TRANSFERS.get(transfer, Curve.SRGB))


def of_gamma(gamma: float | None, chromaticities: tuple[float, ...] | None) -> ColourSpace:
    """Return the space of a PNG's gAMA (encoding exponent, as 0.45455) and cHRM (x, y of white, red, green, blue)."""
    primaries = BT709
    if chromaticities is not None:
        x = chromaticities
        stated = Primaries((x[0], x[1]), (x[2], x[3]), (x[4], x[5]), (x[6], x[7]))
        primaries = stated if _is_usable(stated) and not _is_near(stated, BT709) else BT709
    near_srgb = gamma is None or _NEAR_SRGB_GAMMA[0] <= gamma <= _NEAR_SRGB_GAMMA[1]
    if near_srgb and (primaries == BT709 or gamma is None):
        return ColourSpace(primaries, Curve.SRGB)
    assert gamma is not None
    return ColourSpace(primaries, 1 / gamma)


def _is_near(one: Primaries, other: Primaries) -> bool:
    pairs = zip(
        (one.white, one.red, one.green, one.blue), (other.white, other.red, other.green, other.blue), strict=True
    )
    return all(abs(a[0] - b[0]) <= 0.003 and abs(a[1] - b[1]) <= 0.003 for a, b in pairs)


def _is_usable(primaries: Primaries) -> bool:
    """Return whether the white point lies inside the triangle of the primaries; damaged files contain any numbers."""
    points = (primaries.white, primaries.red, primaries.green, primaries.blue)
    if any(not 0 <= x <= 1 or not 0 < y <= 1 for x, y in points):
        return False
    columns = _columns(primaries)
    if abs(np.linalg.det(columns)) < 1e-6:
        return False
    return bool((np.linalg.solve(columns, _xyz(primaries.white)) > 0).all())


def _xyz(xy: tuple[float, float]) -> Matrix:
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _columns(primaries: Primaries) -> Matrix:
    return np.stack([_xyz(primaries.red), _xyz(primaries.green), _xyz(primaries.blue)], axis=1)


def to_xyz_d50(primaries: Primaries) -> Matrix:
    """Return the 3 x 3 matrix from linear RGB to CIE XYZ, adapted to D50."""
    white = _xyz(primaries.white)
    columns = _columns(primaries)
    rgb_to_xyz = columns * np.linalg.solve(columns, white)
    adapted: Matrix = _adaptation(white) @ rgb_to_xyz
    return adapted


def _adaptation(white: Matrix) -> Matrix:
    """Return the 3 x 3 matrix that adapts CIE XYZ from this white to D50."""
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adaptation: Matrix = np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD
    return adaptation


@lru_cache(maxsize=64)
def icc_profile(space: ColourSpace) -> bytes:
    """Build an ICC display profile of a colour space.

    Raises UnsupportedPicture for HDR, whose highlights do not fit into 8-bit sRGB.
    """
    if space.transfer in (Curve.PQ, Curve.HLG):
        raise UnsupportedPicture(
            f"this is an HDR picture ({space.transfer.value}, ITU-R BT.2100), which is not supported; export it as SDR"
        )
    return _profile(_tags(space))


def srgb_profile() -> bytes:
    """Build the sRGB profile that outputs embed, with all tags that ICC.1:2022 asks of a display profile."""
    adaptation = b"".join(_fixed(float(value)) for value in _adaptation(_xyz(_D65)).reshape(-1))
    described = {b"desc": _text("sRGB"), b"cprt": _text("CC0"), b"chad": b"sf32\0\0\0\0" + adaptation}
    return _profile(described | _tags(SRGB))


def _tags(space: ColourSpace) -> dict[bytes, bytes]:
    assert not isinstance(space.transfer, Curve) or space.transfer is Curve.SRGB
    curve = _curve(space.transfer)
    red, green, blue = to_xyz_d50(space.primaries).T
    tags = {b"wtpt": _xyz_tag(_D50), b"rXYZ": _xyz_tag(red), b"gXYZ": _xyz_tag(green), b"bXYZ": _xyz_tag(blue)}
    return tags | {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}


def _text(value: str) -> bytes:
    """Encode a multiLocalizedUnicodeType with one English text."""
    data = value.encode("utf-16-be")
    return struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(data), 28) + data


def _curve(transfer: Curve | float) -> bytes:
    """Encode a parametricCurveType: function 0 is a power, function 3 is sRGB's."""
    kind, numbers = (0, (transfer,)) if isinstance(transfer, float) else (3, _SRGB_CURVE)
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, numbers))


def _xyz_tag(xyz: Matrix) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(value)) for value in xyz)


def _fixed(value: float) -> bytes:
    """Encode an s15Fixed16Number."""
    return struct.pack(">i", round(max(-32768.0, min(32767.0, value)) * 65536))


def _profile(tags: Mapping[bytes, bytes]) -> bytes:
    """Assemble header, tag table and tags of a display profile."""
    at = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for signature, tag in tags.items():
        table += signature + struct.pack(">II", at + len(data), len(tag))
        data += tag + b"\0" * (-len(tag) % 4)
    size = at + len(data)
    header = struct.pack(">I4sI4s4s4s12x4s", size, b"\0" * 4, 0x04000000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    header += b"\0" * (68 - len(header)) + b"".join(_fixed(float(value)) for value in _D50)
    return header.ljust(128, b"\0") + table + data
