"""One picture, the chart, in every kind of file that shops use: each must be decoded upright to the same colours.

The colours that a file stores are computed here from published matrices, not by alphadrop's own code: sRGB by
IEC 61966-2-1, Display P3 by SMPTE EG 432-1 with the white point D65, Adobe RGB (1998) by Adobe's encoding of 2005.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.codec.colour_space import ADOBE, ColourSpace, icc_profile, of_code_points
from inference.codec.png import END, SIGNATURE, chunk
from tests.equipment.colour_difference import SRGB_TO_XYZ, lab, linear
from tests.equipment.encoded_pictures import saved, with_orientation
from tests.equipment.odd_files import (
    METADATA,
    adobe_exif,
    avif,
    chrm,
    clapped,
    gama,
    grey_profile,
    heic,
    tiff,
    tiff_of_12_bits,
    with_chunks,
)

Pixels = NDArray[np.uint8]
Kind = tuple[Callable[[], bytes], Pixels]
"""How the file is made, and what it must be decoded to, H x W x 3."""

P3_CHROMATICITIES = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
P3_TO_XYZ = np.array(
    [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0.0, 0.0451134, 1.0439444]]
)
ADOBE_TO_XYZ = np.array(
    [[0.5767309, 0.1855540, 0.1881852], [0.2973769, 0.6273491, 0.0752741], [0.0270343, 0.0706872, 0.9911085]]
)
ADOBE_GAMMA = 563 / 256
D65_TO_D50 = np.array(
    [[1.0478112, 0.0228866, -0.0501270], [0.0295424, 0.9904844, -0.0170491], [-0.0092345, 0.0150436, 0.7521316]]
)
"""Bradford's adaptation."""
D50 = np.array([0.9642, 1.0, 0.8249])

# An arithmetic-coded JPEG of the chart: `jpegtran -arithmetic -copy none` of Pillow's with quality 100, 4:4:4.
_ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    "AQEBAQH/2wBDAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQH/yQARCABAAGAD"
    "AREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwDSqTtTAGicdRFdSJFoTJFIVwsR9SxyENq7CCCD/wBcpJup1fX7V/vL6FBgy4mtV+nf"
    "XUngegTxk0rC3eumfETEkokO7dzpwfYQDVD9+rU3ro7Gn4Li0TRlztsV8i2ymCCwQP/Z"
)


def _quadrants(*colours: Any) -> Pixels:
    """64 x 96 x 3: flat colours at top left, top right, bottom left and bottom right, in whole blocks of any codec."""
    chart = np.zeros((64, 96, 3), np.uint8)
    for colour, (rows, columns) in zip(colours, _QUADRANTS, strict=True):
        chart[rows, columns] = colour
    return chart


_QUADRANTS = tuple((rows, columns) for rows in np.s_[:32, 32:] for columns in np.s_[:48, 48:])
CHART = _quadrants((200, 120, 90), (60, 130, 200), (80, 170, 70), (210, 180, 60))
GREYS = _quadrants(60, 128, 148, 200)
EDGES = np.zeros((64, 96), bool)
EDGES[30:34] = EDGES[:, 46:50] = True
"""Where lossy codecs may blend two colours; not compared."""

# What a file of another colour space stores.


def srgb_curve(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stored values, 0 to 1, by the curve of sRGB and Display P3."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def stored(to_xyz: NDArray[np.float64], curve: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Pixels:
    """The chart in another colour space of 8 bits."""
    light = linear(CHART) @ SRGB_TO_XYZ.T @ np.linalg.inv(to_xyz).T
    return np.rint(255 * curve(light)).astype(np.uint8)


IN_P3 = stored(P3_TO_XYZ, srgb_curve)
IN_ADOBE = stored(ADOBE_TO_XYZ, lambda light: light ** (1 / ADOBE_GAMMA))
IN_LINEAR = stored(SRGB_TO_XYZ, lambda light: light)
GREYS_IN_LINEAR = np.rint(255 * linear(GREYS)).astype(np.uint8)
P3, LINEAR = of_code_points(12, 13), ColourSpace(of_code_points(1, 13).primaries, 1.0)
_LOSSLESS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def _saved(pixels: Pixels, format: str, **options: Any) -> bytes:
    return saved(pixels, format, **_LOSSLESS[format], **options)


def _as_heic(pixels: Pixels, icc: bytes = b"") -> bytes:
    image = Image.fromarray(pixels)
    if icc:
        image.info["icc_profile"] = icc
    return heic(image)


def _heic_of(pixels: Pixels, primaries: int, transfer: int) -> bytes:
    data = bytearray(_as_heic(pixels))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def _with_alpha(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(pixels)
    image.putalpha(255)
    return image


def ink_profile(points: int = 9) -> bytes:
    """An ICC printer profile whose inks are cyan, magenta and yellow in the places of yellow, magenta and cyan.

    Without it, red and blue of a picture would be exchanged. Its table has Lab of 16 bits (ICC.1:2022, 10.10).
    """
    axis = np.linspace(1, 0, points)
    cyan, magenta, yellow, black = np.meshgrid(axis, axis, axis, axis, indexing="ij")
    rgb = 255 * np.stack([yellow, magenta, cyan], -1) * black[..., None]
    colours = lab(linear(rgb) @ SRGB_TO_XYZ.T @ D65_TO_D50.T, D50).reshape(-1, 3)
    table = np.rint(colours * (652.8, 256, 256) + (0, 32768, 32768)).astype(">u2").tobytes()
    identity = struct.pack(">9i", *(65536 if at % 4 == 0 else 0 for at in range(9)))
    lut = b"mft2\0\0\0\0" + bytes([4, 3, points, 0]) + identity + struct.pack(">HH", 2, 2)
    lut += struct.pack(">8H", *(0, 65535) * 4) + table + struct.pack(">6H", *(0, 65535) * 3)
    white = b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(65536 * value)) for value in D50)
    tags, body, at = b"", b"", 128 + 4 + 12 * 2
    for name, content in ((b"wtpt", white), (b"A2B0", lut)):
        tags += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">II4s4s4s4s12x4s", at + len(body), 0, b"\x02\x40\0\0", b"prtr", b"CMYK", b"Lab ", b"acsp")
    head = head.ljust(68, b"\0") + b"".join(struct.pack(">i", round(65536 * value)) for value in D50)
    return struct.pack(">I", at + len(body)) + head[4:].ljust(124, b"\0") + struct.pack(">I", 2) + tags + body


def _inks() -> Image.Image:
    """The chart in the inks of `ink_profile`, without black."""
    inks = np.zeros((*CHART.shape[:2], 4), np.uint8)
    inks[..., :3] = 255 - CHART[..., ::-1]
    return Image.frombytes("CMYK", (96, 64), inks.tobytes())


COLOURS: dict[str, Kind] = {
    "JPEG, Adobe RGB by interoperability index": (
        lambda: _saved(IN_ADOBE, "JPEG", exif=adobe_exif(interoperability=True)), CHART),
    "JPEG, Adobe RGB by colour space 2": (
        lambda: _saved(IN_ADOBE, "JPEG", exif=adobe_exif(interoperability=False)), CHART),
    "WebP, Adobe RGB by interoperability index": (
        lambda: _saved(IN_ADOBE, "WEBP", exif=adobe_exif(interoperability=True)), CHART),
    "PNG, Adobe RGB by interoperability index": (lambda: with_chunks(
        _saved(IN_ADOBE, "PNG"), chunk(b"eXIf", adobe_exif(interoperability=True).tobytes().removeprefix(b"Exif\0\0"))
    ), CHART),
    "PNG, gAMA 1.0": (lambda: with_chunks(_saved(IN_LINEAR, "PNG"), gama(1.0)), CHART),
    "PNG with alpha, gAMA 1.0": (lambda: with_chunks(saved(_with_alpha(IN_LINEAR), "PNG"), gama(1.0)), CHART),
    "grey PNG, gAMA 1.0": (lambda: with_chunks(saved(GREYS_IN_LINEAR[..., 0], "PNG"), gama(1.0)), GREYS),
    "grey PNG with alpha, gAMA 1.0": (
        lambda: with_chunks(saved(_with_alpha(GREYS_IN_LINEAR).convert("LA"), "PNG"), gama(1.0)), GREYS),
    "PNG, gAMA and cHRM of Display P3": (
        lambda: with_chunks(_saved(IN_P3, "PNG"), gama(0.45455), chrm(*P3_CHROMATICITIES)), CHART),
    "PNG, cICP of Display P3": (
        lambda: with_chunks(_saved(IN_P3, "PNG"), chunk(b"cICP", bytes([12, 13, 0, 1]))), CHART),
    "PNG, cICP before gAMA": (
        lambda: with_chunks(_saved(IN_P3, "PNG"), gama(1.0), chunk(b"cICP", bytes([12, 13, 0, 1]))), CHART),
    "PNG, sRGB before gAMA": (
        lambda: with_chunks(_saved(CHART, "PNG"), gama(1.0), chunk(b"sRGB", b"\0")), CHART),
    "PNG, gAMA of nearly sRGB": (lambda: with_chunks(_saved(CHART, "PNG"), gama(0.45455)), CHART),
    "PNG, sRGB's own cHRM and gAMA": (lambda: with_chunks(
        _saved(CHART, "PNG"), gama(0.45455), chrm(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)), CHART),
    "PNG, nonsense in cHRM": (lambda: with_chunks(_saved(CHART, "PNG"), chrm(*(0.0,) * 8)), CHART),
    "PNG, an ICC profile before everything": (
        lambda: with_chunks(_saved(IN_P3, "PNG", icc_profile=icc_profile(P3)), gama(1.0)), CHART),
    "AVIF, nclx of Display P3": (lambda: avif(Image.fromarray(IN_P3), 12, 13), CHART),
    "AVIF, unspecified nclx": (lambda: avif(Image.fromarray(CHART), 2, 2), CHART),
    "HEIC, nclx of Display P3": (lambda: _heic_of(IN_P3, 12, 13), CHART),
    **{f"{format}, ICC of Adobe RGB": (partial(_saved, IN_ADOBE, format, icc_profile=icc_profile(ADOBE)), CHART)
       for format in _LOSSLESS},
    "HEIC, ICC of Adobe RGB": (lambda: _as_heic(IN_ADOBE, icc_profile(ADOBE)), CHART),
    "PNG with alpha, ICC of Adobe RGB": (
        lambda: saved(_with_alpha(IN_ADOBE), "PNG", icc_profile=icc_profile(ADOBE)), CHART),
    **{f"grey {format}, ICC for grey": (
        partial(_saved, GREYS_IN_LINEAR[..., 0], format, icc_profile=grey_profile(gamma=1.0)), GREYS)
        for format in ("JPEG", "PNG", "TIFF")},
    "grey JPEG, ICC for RGB": (
        lambda: _saved(GREYS_IN_LINEAR[..., 0], "JPEG", icc_profile=icc_profile(LINEAR)), GREYS),
    "CMYK JPEG, ICC": (lambda: saved(_inks(), "JPEG", quality=100, subsampling=0, icc_profile=ink_profile()), CHART),
    "CMYK TIFF, ICC": (lambda: saved(_inks(), "TIFF", icc_profile=ink_profile()), CHART),
}  # fmt: skip

# Depth, sign and polarity.


def _deep(pixels: Pixels) -> NDArray[np.uint16]:
    return pixels.astype(np.uint16) * 257


def _raw_png(rows: Iterable[bytes], depth: int, colour: int, *, interlaced: bool = False) -> bytes:
    """A PNG of these rows, each with its filter's byte."""
    size = struct.pack(">IIBBBBB", 96, 64, depth, colour, 0, 0, int(interlaced))
    return SIGNATURE + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + END


def _deep_png(pixels: Pixels) -> bytes:
    return _raw_png((b"\0" + row.astype(">u2").tobytes() for row in _deep(pixels)), 16, 2)


DEPTHS: dict[str, Kind] = {
    "TIFF, 12-bit grey": (
        lambda: tiff_of_12_bits(np.rint(GREYS[..., 0] * (4095 / 255)).astype(np.uint16)), GREYS),
    "TIFF, 16-bit grey": (lambda: tiff((_deep(GREYS)[..., 0], {"photometric": "minisblack"})), GREYS),
    "TIFF, 16-bit grey, white is zero": (
        lambda: tiff((65535 - _deep(GREYS)[..., 0], {"photometric": "miniswhite"})), GREYS),
    "TIFF, 8-bit grey, white is zero": (lambda: tiff((255 - GREYS[..., 0], {"photometric": "miniswhite"})), GREYS),
    "TIFF, 32-bit grey, unsigned": (lambda: tiff(
        ((GREYS[..., 0] / 255 * (2**32 - 1)).astype(np.uint32), {"photometric": "minisblack"})), GREYS),
    "TIFF, floating point": (
        lambda: tiff(((GREYS[..., 0] / 255).astype(np.float32), {"photometric": "minisblack"})), GREYS),
    "TIFF, 16-bit colour": (lambda: tiff((_deep(CHART), {"photometric": "rgb"})), CHART),
    "PNG, 16-bit colour": (lambda: _deep_png(CHART), CHART),
    "PNG, 16-bit grey": (lambda: saved(Image.fromarray(_deep(GREYS)[..., 0]), "PNG"), GREYS),
}  # fmt: skip

# Which picture the container means, and how it is stored.


def _turned_over(chart: Pixels) -> Image.Image:
    """Another picture of the same size, which a decoder must not return."""
    return Image.fromarray(255 - chart)


def _animated(format: str, **options: Any) -> bytes:
    return saved(CHART, format, save_all=True, append_images=[_turned_over(CHART)], **options)


_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, steps of rows and columns of each pass (PNG, third edition, 8.1)."""


def _interlaced() -> bytes:
    passes = (CHART[top::down, left::right] for top, left, down, right in _ADAM7)
    return _raw_png((b"\0" + row.tobytes() for part in passes for row in part), 8, 2, interlaced=True)


def _thumbnail_first() -> bytes:
    small = _turned_over(CHART).resize((24, 16))
    return tiff((np.asarray(small), {"photometric": "rgb", "subfiletype": 1}), (CHART, {"photometric": "rgb"}))


def _with_hidden_frame() -> bytes:
    """An AVIF of the chart in a frame of another colour, which a clean aperture hides."""
    wide = np.full((96, 128, 3), (250, 20, 200), np.uint8)
    wide[16:80, 16:112] = CHART
    return clapped(avif(Image.fromarray(wide)), (96, 1, 64, 1, 0, 1, 0, 1))


CONTAINERS: dict[str, Kind] = {
    "JPEG": (lambda: _saved(CHART, "JPEG"), CHART),
    "JPEG, progressive": (lambda: _saved(CHART, "JPEG", progressive=True), CHART),
    "JPEG, arithmetic": (lambda: base64.b64decode(_ARITHMETIC), CHART),
    "JPEG, grey": (lambda: _saved(GREYS[..., 0], "JPEG"), GREYS),
    "JPEG, 4:2:0": (lambda: saved(CHART, "JPEG", quality=100, subsampling=2), CHART),
    "MPO": (lambda: _animated("MPO", quality=100, subsampling=0), CHART),
    "PNG, interlaced": (_interlaced, CHART),
    "PNG, palette": (lambda: saved(Image.fromarray(CHART).quantize(4), "PNG"), CHART),
    "PNG, animated": (lambda: _animated("PNG"), CHART),
    "GIF, animated": (lambda: _animated("GIF"), CHART),
    "WebP, lossy": (lambda: saved(CHART, "WEBP", quality=100), CHART),
    "WebP, animated": (lambda: _animated("WEBP", lossless=True), CHART),
    "AVIF, lossy": (lambda: saved(CHART, "AVIF", quality=90), CHART),
    "AVIF, animated": (lambda: _animated("AVIF", quality=100, subsampling="4:4:4"), CHART),
    "AVIF, clean aperture": (_with_hidden_frame, CHART),
    "HEIC": (lambda: _as_heic(CHART), CHART),
    "BMP": (lambda: saved(CHART, "BMP"), CHART),
    "TIFF, thumbnail first": (_thumbnail_first, CHART),
    "TIFF, two pages": (lambda: _animated("TIFF"), CHART),
    "TIFF, tiles": (lambda: tiff((CHART, {"photometric": "rgb", "tile": (32, 32)})), CHART),
    "TIFF, planes": (
        lambda: tiff((CHART.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"})), CHART),
    "BigTIFF": (lambda: tiff((CHART, {"photometric": "rgb"}), big=True), CHART),
}  # fmt: skip

# Orientation, in every container.

_INVERSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What a camera does to the upright picture before it states this orientation (EXIF 2.3, tag 0x0112)."""


def _as_shot(format: str, value: int) -> bytes:
    shot = Image.fromarray(CHART).transpose(_INVERSE[value])
    exif = with_orientation(value)
    if format == "HEIC":
        return heic(shot, exif=exif.tobytes())
    if format == "MPO":
        other = _turned_over(np.asarray(shot))
        return saved(shot, "MPO", quality=100, subsampling=0, exif=exif, save_all=True, append_images=[other])
    return saved(shot, format, exif=exif, **_LOSSLESS[format])


ORIENTATIONS: dict[str, Kind] = {
    f"{format}, orientation {value}": (partial(_as_shot, format, value), CHART)
    for format in (*_LOSSLESS, "MPO", "HEIC")
    for value in _INVERSE
}
USELESS_METADATA: dict[str, Kind] = {
    f"PNG, {name}": (partial(with_chunks, _saved(CHART, "PNG"), data), CHART) for name, data in METADATA.items()
}
CATALOGUE = COLOURS | DEPTHS | CONTAINERS | ORIENTATIONS | USELESS_METADATA
