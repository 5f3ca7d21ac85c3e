"""Apply an ICC profile of curves and a matrix at 16 bits a channel, which Pillow's LittleCMS does only at 8.

Layout and formulas: ICC.1:2022, 10.6 (curveType), 10.18 (parametricCurveType), F.3 (three-component matrix model).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.codec.colour_space import BT709, to_xyz_d50

Curve = NDArray[np.float32]
"""Linear light, 0..1, of each of the 65,536 values of a channel."""

_STRIPE = 1 << 18
"""Pixels that are converted at a time: bounds the memory."""
_LUTS = (b"A2B0", b"A2B1", b"D2B0")
_PARAMETERS = (1, 3, 4, 5, 7)
"""Number of parameters of each function type of a parametric curve."""


@dataclass(frozen=True, eq=False)
class MatrixProfile:
    """A conversion to sRGB; without curves it changes nothing."""

    curves: tuple[Curve, Curve, Curve] | None = None
    matrix: NDArray[np.float32] | None = None
    """3 x 3, from linear RGB to linear sRGB; None for grey."""

    def to_srgb(self, colours: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Convert H x W x 3."""
        if self.curves is None:
            return np.ascontiguousarray(colours)
        result = np.empty_like(colours, order="C")
        rows = max(1, _STRIPE // colours.shape[1])
        for top in range(0, len(colours), rows):
            stripe = colours[top : top + rows]
            linear = np.stack([curve[stripe[..., i]] for i, curve in enumerate(self.curves)], axis=-1)
            light = linear if self.matrix is None else linear @ self.matrix.T
            result[top : top + rows] = _srgb_values(light)
        return result


def read_matrix_profile(icc: bytes) -> MatrixProfile | None:
    """Read a profile of RGB or grey; None if it has lookup tables, another colour model, or is damaged."""
    try:
        tags = _tags(icc)
        if any(tag in tags for tag in _LUTS):
            return None
        if icc[16:20] == b"GRAY":
            grey = _curve(tags[b"kTRC"])
            return MatrixProfile((grey, grey, grey))
        if icc[16:20] != b"RGB ":
            return None
        curves = (_curve(tags[b"rTRC"]), _curve(tags[b"gTRC"]), _curve(tags[b"bTRC"]))
        to_xyz = np.stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
        return MatrixProfile(curves, (np.linalg.inv(to_xyz_d50(BT709)) @ to_xyz).astype(np.float32))
    except (KeyError, IndexError, ValueError, struct.error):
        return None


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    entries = (struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(min(count, 100)))
    return {name: icc[at : at + size] for name, at, size in entries}


def _xyz(tag: bytes) -> NDArray[np.float64]:
    return np.array(struct.unpack_from(">3i", tag, 8), np.float64) / 65536


def _curve(tag: bytes) -> Curve:
    x = np.linspace(0, 1, 65536)
    if tag[:4] == b"para":
        return _parametric(tag, x).clip(0, 1).astype(np.float32)
    if tag[:4] != b"curv":
        raise ValueError(f"not a curve: {tag[:4]!r}")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return x.astype(np.float32)
    points = np.frombuffer(tag, ">u2", count, 12)
    y = x ** (float(points[0]) / 256) if count == 1 else np.interp(x, np.linspace(0, 1, count), points / 65535)
    return y.astype(np.float32)


def _parametric(tag: bytes, x: NDArray[np.float64]) -> NDArray[np.float64]:
    (kind,) = struct.unpack_from(">H", tag, 8)
    count = _PARAMETERS[kind]
    g, *rest = (value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12))
    if kind == 0:
        curve: NDArray[np.float64] = np.power(x, g)
        return curve
    a, b = rest[0], rest[1]
    c = rest[2] if kind >= 2 else 0.0
    power = np.maximum(a * x + b, 0) ** g
    if kind <= 2:
        return np.where(x >= -b / a, power + c, c)
    d = rest[3]
    e, f = (rest[4], rest[5]) if kind == 4 else (0.0, 0.0)
    return np.where(x >= d, power + e, c * x + f)


def _srgb_values(light: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Encode linear light by IEC 61966-2-1 to 0..65535; what is outside of sRGB is clipped."""
    light = light.clip(0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    values: NDArray[np.uint16] = np.rint(encoded * 65535).astype(np.uint16)
    return values
