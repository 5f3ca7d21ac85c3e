"""From whatever mode and profile a file has to plain sRGB, 8 bits a channel."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from inference.codec.tiff import as_unsigned, grey_range

_DEEP_INTEGERS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_DEEP = _DEEP_INTEGERS | {"I", "F"}
_GREY_WITH_ALPHA = frozenset({"L", "LA", "La"})
_CEILINGS = (1.0, 255.0, 65535.0, 2.0**32 - 1)
_SAME = 2
"""A profile that moves no colour by more levels than this is taken for sRGB."""


def to_rgb(image: Image.Image, icc: bytes | None) -> NDArray[np.uint8]:
    """Return H x W x 3 uint8 sRGB, writable and C-contiguous, of a picture of any mode; it is decoded as needed.

    Transparency is flattened over white: the network sees RGB alone, product photos stand on white, and what a file
    hides under its transparent pixels is arbitrary, often black.
    """
    image.load()
    plain = _plain_mode(image)
    managed = _managed(plain, icc, was_grey=image.mode in _GREY_WITH_ALPHA) if icc else plain
    return np.array(_flat(managed))


def is_srgb(icc: bytes | None, mode: str) -> bool:
    """Whether pixels of this mode with this profile (None: no profile) are to be taken as sRGB just as they are."""
    return not icc or _to_srgb(icc, mode) is None


def _plain_mode(image: Image.Image) -> Image.Image:
    """Of the same picture, a version in mode L, RGB, RGBA or CMYK."""
    if image.mode in _DEEP:
        return Image.fromarray(_eight_bits(image))
    if image.has_transparency_data:
        return _with_alpha(image)
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    try:
        return image.convert("RGBA")
    except (ValueError, OverflowError):
        # Pillow keeps the 16-bit colour key of a picture that it has reduced to 8 bits, and then refuses it.
        return image.convert("RGB")


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Scale a deep grey picture to H x W uint8; 16-bit pixels of a PNG's transparent grey become white."""
    if isinstance(image, TiffImageFile):
        return _grey_of_tiff(image)
    values = np.asarray(image)
    if image.mode not in _DEEP_INTEGERS:
        return _scaled_by_peak(values)
    grey = _scaled_from_16_bits(values)
    key = image.info.get("transparency")
    return np.where(values == key, np.uint8(255), grey) if isinstance(key, int) else grey


def _grey_of_tiff(image: TiffImageFile) -> NDArray[np.uint8]:
    """Depth, sign and polarity as the tags say."""
    meaning = grey_range(image)
    values = np.asarray(image)
    if meaning.full == 65535:
        grey = _scaled_from_16_bits(values)
    elif meaning.full is not None:
        grey = np.rint(np.minimum(values, meaning.full) * (255 / meaning.full)).astype(np.uint8)
    else:
        grey = _scaled_by_peak(as_unsigned(values) if meaning.unsigned else values)
    return np.subtract(255, grey, dtype=np.uint8) if meaning.white_is_zero else grey


def _scaled_from_16_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Exactly round(value / 257), without leaving 16 bits."""
    numbers = values.astype(np.uint16, copy=False)
    return (numbers // 257 + (numbers % 257 > 128)).astype(np.uint8)


def _scaled_by_peak(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale H x W numbers of an unstated range: the smallest usual full scale that holds the peak is white.

    Floats use 1, 255, 65535 or 2^32 - 1; integers the same without the 1. Negative numbers and NaN are black.
    """
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    usual = _CEILINGS if values.dtype.kind == "f" else _CEILINGS[1:]
    peak = float(finite.max())
    ceiling = next((full for full in usual if peak <= full), peak)
    np.clip(finite, 0, ceiling, out=finite)
    finite *= 255 / ceiling
    return np.rint(finite).astype(np.uint8)


def _flat(image: Image.Image) -> Image.Image:
    """Without alpha, as mode RGB."""
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image)
    return canvas


def _managed(image: Image.Image, icc: bytes, was_grey: bool) -> Image.Image:
    """Convert to sRGB by a profile of RGB, grey or CMYK pixels; a profile of another kind of pixel changes nothing."""
    kind = _pixels_of(icc)
    if kind == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    elif kind == "GRAY" and image.mode == "RGBA" and was_grey:
        return _grey_managed(image, icc)
    transform = _to_srgb(icc, image.mode)
    if transform is None:
        return image
    in_place = image.mode in ("RGB", "RGBA")  # the picture is ours, and the mode stays
    return ImageCms.applyTransform(image, transform, inPlace=in_place) or image


def _grey_managed(image: Image.Image, icc: bytes) -> Image.Image:
    """Apply a grey profile to the colour of an RGBA picture that was grey, and keep its alpha."""
    colour = _managed(image.getchannel("R"), icc, was_grey=True).convert("RGB")
    colour.putalpha(image.getchannel("A"))
    return colour


@lru_cache(maxsize=16)
def _pixels_of(icc: bytes) -> str:
    """The kind of pixel that a profile is for: RGB, GRAY, CMYK, ...; empty where it cannot be read."""
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ""


@lru_cache(maxsize=16)
def _to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB, or None where the profile is sRGB anyhow, is broken, or is of another kind of pixel.

    Cached, for a shop's photos share a few profiles; a transform may be used by several threads at once.
    """
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGBA" if mode == "RGBA" else "RGB",
        )
        return None if mode.startswith("RGB") and _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Measured on a 9 x 9 x 9 grid of colours: names of sRGB profiles are too many to list."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    before = Image.fromarray(grid).convert(mode)
    after = ImageCms.applyTransform(before, transform) or before
    moved = np.asarray(after, np.int16) - np.asarray(before, np.int16)
    return bool(np.abs(moved).max() <= _SAME)
