"""Conversion from any pixel mode and ICC profile to sRGB with 8 bits a channel."""

import io
from dataclasses import dataclass
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
"""A profile that changes no colour by more levels than this is treated as sRGB."""


@dataclass(frozen=True)
class Pixels:
    """Pixels in sRGB, writable and C-contiguous."""

    rgb: NDArray[np.uint8]
    """H x W x 3, flattened on white; or H x W x 4, the fourth byte undefined, where that was asked for."""
    rgba: NDArray[np.uint8] | None = None
    """H x W x 4, straight alpha; None if every pixel is opaque."""


def to_srgb(image: Image.Image, icc: bytes | None) -> Pixels:
    """Convert a picture of any mode to sRGB, 8 bits per channel. Decodes it if needed.

    Transparency is flattened on white: the network takes only RGB, product photos usually have a white background, and
    the colour under transparent pixels is arbitrary, often black.
    """
    image.load()
    plain = _plain_mode(image)
    managed = _apply_profile(plain, icc, was_grey=image.mode in _GREY_WITH_ALPHA) if icc else plain
    transparent = managed.mode == "RGBA" and managed.getchannel("A").getextrema()[0] != 255
    return Pixels(np.array(_flatten(managed)), np.array(managed) if transparent else None)


def is_srgb(icc: bytes | None, mode: str) -> bool:
    """Whether pixels of this mode with this profile (None: no profile) need no conversion to sRGB."""
    return not icc or _to_srgb(icc, mode) is None


def _plain_mode(image: Image.Image) -> Image.Image:
    """Convert a picture to mode L, RGB, RGBA or CMYK."""
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
        # Pillow keeps the 16-bit colour key of a picture that it has reduced to 8 bits, and then rejects it.
        return image.convert("RGB")


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Scale a grey picture of more than 8 bits to H x W uint8; a PNG's transparent grey value becomes white."""
    if isinstance(image, TiffImageFile):
        return _grey_of_tiff(image)
    values = np.asarray(image)
    if image.mode not in _DEEP_INTEGERS:
        return _scaled_by_peak(values)
    grey = _scaled_from_16_bits(values)
    key = image.info.get("transparency")
    return np.where(values == key, np.uint8(255), grey) if isinstance(key, int) else grey


def _grey_of_tiff(image: TiffImageFile) -> NDArray[np.uint8]:
    """Scale by depth, sign and polarity, which the tags state."""
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
    """Compute round(value / 257) exactly in 16-bit arithmetic."""
    numbers = values.astype(np.uint16, copy=False)
    return (numbers // 257 + (numbers % 257 > 128)).astype(np.uint8)


def _scaled_by_peak(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale H x W numbers of unknown range: white is the smallest usual maximum that is not below the peak.

    Usual maxima are 1 (floats only), 255, 65535 and 2^32 - 1. Negative numbers and NaN become black.
    """
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    usual = _CEILINGS if values.dtype.kind == "f" else _CEILINGS[1:]
    peak = float(finite.max())
    ceiling = next((full for full in usual if peak <= full), peak)
    np.clip(finite, 0, ceiling, out=finite)
    finite *= 255 / ceiling
    return np.rint(finite).astype(np.uint8)


def _flatten(image: Image.Image) -> Image.Image:
    """Flatten on white, to mode RGB."""
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image)
    return canvas


def _apply_profile(image: Image.Image, icc: bytes, was_grey: bool) -> Image.Image:
    """Convert to sRGB by a profile of RGB, grey or CMYK pixels; profiles of other colour models are ignored."""
    model = _colour_model(icc)
    if model == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    elif model == "GRAY" and image.mode == "RGBA" and was_grey:
        return _apply_grey_profile(image, icc)
    transform = _to_srgb(icc, image.mode)
    if transform is None:
        return image
    in_place = image.mode in ("RGB", "RGBA")  # the picture is our copy, and its mode does not change
    return ImageCms.applyTransform(image, transform, inPlace=in_place) or image


def _apply_grey_profile(image: Image.Image, icc: bytes) -> Image.Image:
    """Apply a grey profile to the colour of an RGBA picture that was grey, and keep its alpha."""
    colour = _apply_profile(image.getchannel("R"), icc, was_grey=True).convert("RGB")
    colour.putalpha(image.getchannel("A"))
    return colour


@lru_cache(maxsize=16)
def _colour_model(icc: bytes) -> str:
    """Return the colour model of a profile: RGB, GRAY, CMYK, ...; empty if it cannot be read."""
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ""


@lru_cache(maxsize=16)
def _to_srgb(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform to sRGB; None if the profile is sRGB, damaged, or for another colour model.

    Cached, because a shop's photos share a few profiles. Transforms are thread-safe.
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
    """Measure the change on a 9 x 9 x 9 grid of colours: sRGB profiles have too many names to list."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    before = Image.fromarray(grid).convert(mode)
    after = ImageCms.applyTransform(before, transform) or before
    moved = np.asarray(after, np.int16) - np.asarray(before, np.int16)
    return bool(np.abs(moved).max() <= _SAME)
