"""Pictures in many formats, for tests of the codecs."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Uniform random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photo(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """H x W x 3: smooth gradients of many hues, with four different corners."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red, green = 255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1)
    return np.stack([red, green, 127 + 100 * np.sin(x / 9 + y / 7)], axis=-1).astype(np.uint8)


def cutout(width: int, height: int, *, grain: float = 3.0) -> NDArray[np.uint8]:
    """H x W x 4: a shaded, grainy ellipse with a soft edge; the rest is transparent."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    inside = 1 - np.hypot((x - width / 2) / (width * 0.35), (y - height / 2) / (height * 0.4))
    alpha = np.clip(inside * 40, 0, 1) * 255
    shade = np.stack([120 + 60 * np.sin(x / 47), 100 + 80 * np.cos((x + y) / 61), 140 + 50 * np.sin(y / 31)], -1)
    grainy = shade + np.random.default_rng(1).normal(0, grain, shade.shape)
    return np.dstack([np.clip(grainy, 0, 255), alpha]).astype(np.uint8)


def saved(pixels: NDArray[Any] | Image.Image, format: str, **options: Any) -> bytes:
    """Encode pixels with Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def far(a: NDArray[Any], b: NDArray[Any]) -> int:
    """The largest difference in any channel, in levels of 0..255."""
    return int(np.abs(a.astype(np.int16) - b.astype(np.int16)).max())


def with_orientation(value: int) -> Image.Exif:
    """EXIF data with this orientation, 1 to 8."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def swapped_profile() -> bytes:
    """An ICC profile of sRGB with red and blue primaries exchanged, whose effect is obvious."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = icc.index(b"rXYZ"), icc.index(b"bXYZ")
    icc[red : red + 4], icc[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(icc)


PHOTO = photo()
IMAGE = Image.fromarray(PHOTO)
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}}
FILES: dict[str, bytes] = {
    "JPEG": saved(PHOTO, "JPEG", quality=95, subsampling=0),
    "WEBP lossy": saved(PHOTO, "WEBP", quality=95),
    "GIF": saved(PHOTO, "GIF"),
    "AVIF": saved(PHOTO, "AVIF", quality=95),
    "TIFF lzw": saved(PHOTO, "TIFF", compression="tiff_lzw"),
    "JPEG progressive": saved(PHOTO, "JPEG", progressive=True),
    "JPEG cmyk": saved(IMAGE.convert("CMYK"), "JPEG"),
    "PNG palette": saved(IMAGE.quantize(256), "PNG"),
} | {name: saved(PHOTO, name, **options) for name, options in LOSSLESS.items()}
