"""Small valid files of every format, which the fuzz campaign damages."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from tests.equipment.encoded_pictures import photo, saved, with_orientation

SIZE = (28, 20)


def fuzz_files() -> dict[str, bytes]:
    """The files by a name for each; HEIC only where its package is installed."""
    pixels = photo(*SIZE)
    image = Image.fromarray(pixels)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = with_orientation(6)
    clear = np.dstack([pixels, np.tile(np.arange(SIZE[0], dtype=np.uint8) * 9, (SIZE[1], 1))])
    deep = (pixels[..., 0].astype(np.uint16) << 8) + 77
    files = {
        "JPEG": saved(pixels, "JPEG", quality=80, exif=exif, icc_profile=icc),
        "JPEG progressive": saved(pixels, "JPEG", progressive=True),
        "JPEG grey": saved(image.convert("L"), "JPEG"),
        "JPEG cmyk": saved(image.convert("CMYK"), "JPEG"),
        "MPO": saved(image, "MPO", save_all=True, append_images=[image]),
        "PNG": saved(clear, "PNG", exif=exif, icc_profile=icc),
        "PNG palette": saved(image.quantize(16), "PNG"),
        "PNG 16 bit": saved(Image.fromarray(deep), "PNG"),
        "APNG": saved(image, "PNG", save_all=True, append_images=[image.rotate(180)]),
        "WEBP lossy": saved(pixels, "WEBP", quality=60, exif=exif, icc_profile=icc),
        "WEBP lossless": saved(clear, "WEBP", lossless=True),
        "GIF": saved(image.quantize(16), "GIF", save_all=True, append_images=[image.quantize(8)]),
        "BMP": saved(pixels, "BMP"),
        "BMP palette": saved(image.quantize(16), "BMP"),
        "TIFF": saved(pixels, "TIFF", exif=exif),
        "TIFF lzw": saved(clear, "TIFF", compression="tiff_lzw"),
        "TIFF deflate": saved(Image.fromarray(deep), "TIFF", compression="tiff_adobe_deflate"),
        "TIFF jpeg": saved(pixels, "TIFF", compression="jpeg"),
        "TIFF two levels": saved(image.convert("1"), "TIFF", compression="group4"),
        "AVIF": saved(pixels, "AVIF", quality=60, speed=10, exif=exif),
        "AVIF alpha": saved(clear, "AVIF", quality=60, speed=10),
    }
    return files | _heic(image)


def _heic(image: Image.Image) -> dict[str, bytes]:
    try:
        import pillow_heif
    except ImportError:
        return {}
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=60)
    return {"HEIC": file.getvalue()}
