"""Bytes in, an upright sRGB picture out, or an error that says why not."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inference.codec.colour import is_srgb, to_rgb
from inference.codec.colour_space import ADOBE, ColourSpace, icc_profile
from inference.codec.header import (
    READABLE,
    identify,
    jpeg_size,
    require_end,
    require_few_scans,
    webp_size,
    without_jpeg_metadata,
)
from inference.codec.heif_boxes import Crop, PrimaryItem, primary_item
from inference.codec.png_chunks import png_size, read_chunks
from inference.codec.tiff import seek_main_page, unread_variant
from inference.errors import PictureError, PictureTooLarge, TruncatedPicture, UnsupportedPicture
from inference.picture import Picture

MAX_PIXELS = 178_000_000
"""Just below 2 x Image.MAX_IMAGE_PIXELS, where Pillow itself refuses some formats."""

# The readers are called by class, not through Image.open: that one warns or raises by a process-wide pixel limit,
# reads the first frame of an MPO by another road, and would try formats that nobody asked for.
_READERS: Mapping[str, Callable[[io.BytesIO], ImageFile]] = MappingProxyType(
    {
        "JPEG": JpegImageFile,
        "PNG": PngImageFile,
        "WEBP": WebPImageFile,
        "TIFF": TiffImageFile,
        "BMP": BmpImageFile,
        "GIF": GifImageFile,
        "AVIF": AvifImageFile,
    }
)
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_USUAL_TILE = 4096 * 4096
_FAST_JPEG = MappingProxyType({"RGB": "RGB", "L": "GRAY"})
# What libjpeg calls a warning, and would replace by grey (messages of jerror.h). Stray bytes are no such thing.
_JPEG_DAMAGE = ("premature end", "bad huffman", "found marker", "inconsistent progression")
_UNSUPPORTED_WORDS = ("unsupported", "not supported", "cannot handle", "unknown", "not implemented")


@dataclass(frozen=True)
class PictureInfo:
    """What the header says; width and height in pixels, as stored (an EXIF orientation may swap them)."""

    format: str
    width: int
    height: int


def probe(data: bytes | memoryview) -> PictureInfo:
    """Read format and size from the header alone; no pixel is decoded and no limit applied.

    Raises PictureError: not a picture, truncated within the header, or unsupported.
    """
    content = bytes(data)
    format = identify(content)
    with _explained(format, content):
        return PictureInfo(format, *_size(format, content))


def _size(format: str, content: bytes) -> tuple[int, int]:
    if format == "WEBP":
        return webp_size(content)
    size = {"JPEG": jpeg_size, "PNG": png_size}[format](content) if format in ("JPEG", "PNG") else None
    if size:
        return size
    image = _reader(format)(io.BytesIO(content))
    if isinstance(image, TiffImageFile):
        seek_main_page(image)
    return image.size


def _reader(format: str) -> Callable[[io.BytesIO], ImageFile]:
    """What opens pictures of a format. Raises UnsupportedPicture for HEIC where its package is not installed."""
    if format != "HEIC":
        return _READERS[format]
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnsupportedPicture(
            f"HEIC needs a package that is not installed here: pip install 'alphadrop[heic]', or export the picture as "
            f"{READABLE}"
        ) from None
    opened: Callable[[io.BytesIO], ImageFile] = HeifImageFile
    return opened


def decode(data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode the first frame: EXIF orientation applied, colours converted to sRGB, transparency put on white.

    The size in the header is held against `max_pixels` before a pixel is decoded. Raises PictureError, whatever the
    bytes are; MemoryError alone passes through, for it says nothing about the picture.
    """
    content = bytes(data)
    format = identify(content)
    with _explained(format, content):
        source = _opened(format, content, max_pixels)
        image, icc = source.image, source.profile()
        pixels = _jpeg_pixels(image, content, icc) if format == "JPEG" else to_rgb(image, icc)
        if source.crop is not None:
            box = source.crop
            pixels = np.ascontiguousarray(pixels[box.top : box.bottom, box.left : box.right])
        # Only now: Pillow turns some formats upright itself as it loads them, and then drops the tag.
        return Picture(_upright(pixels, _orientation(image)))


@dataclass(frozen=True)
class _Opened:
    """A picture whose header was read, and what its container says of it."""

    image: ImageFile
    icc: bytes | None
    space: ColourSpace | None = None
    """The colour space that the container states without an ICC profile."""
    crop: Crop | None = None
    """The part that is meant to be seen; None for all of it."""

    def profile(self) -> bytes | None:
        """The ICC profile that holds: the file's own, else one of the space it states, else of what its EXIF says.

        None means sRGB. Raises UnsupportedPicture for HDR without an ICC profile.
        """
        if self.icc:
            return self.icc
        space = self.space or _space_by_exif(self.image)
        return None if space is None or space.is_srgb else icc_profile(space)


def _opened(format: str, content: bytes, max_pixels: int) -> _Opened:
    """Read the header, and admit the picture by it."""
    if format == "WEBP":
        _admit(*webp_size(content), max_pixels)
    png = read_chunks(content) if format == "PNG" else None
    image = _read_header(format, png.data if png else content)
    if isinstance(image, TiffImageFile):
        seek_main_page(image)
        _admit_tiles(image)
    _admit(*image.size, max_pixels)
    if format == "JPEG":
        require_few_scans(content)
    require_end(format, content)
    if png:
        return _Opened(image, png.icc, png.space)
    item = primary_item(content) if format in ("AVIF", "HEIC") else PrimaryItem()
    crop = item.crop(*image.size) if format == "AVIF" else None  # libheif has cropped a HEIC by itself
    return _Opened(image, image.info.get("icc_profile"), item.space, crop)


def _read_header(format: str, content: bytes) -> ImageFile:
    """Open the picture; a JPEG that its metadata keeps from being opened is opened without it."""
    reader = _reader(format)
    try:
        return reader(io.BytesIO(content))
    except MemoryError:
        raise
    except Exception:
        bare = without_jpeg_metadata(content) if format == "JPEG" else content
        if len(bare) == len(content):
            raise
        return reader(io.BytesIO(bare))


def _space_by_exif(image: ImageFile) -> ColourSpace | None:
    """Adobe RGB where EXIF says so: interoperability index R03 (EXIF 2.3), or colour space 2, as some cameras write."""
    try:
        exif = image.getexif()
        if exif.get_ifd(ExifTags.IFD.Interop).get(1) == "R03":
            return ADOBE
        return ADOBE if exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace) == 2 else None
    except Exception:  # a parser of untrusted data, and nothing in it is worth losing the picture for
        return None


def _admit_tiles(image: TiffImageFile) -> None:
    """A tile is unpacked whole, even where it is a thousand times as large as the picture."""
    width, height = (image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
    if width * height > max(image.width * image.height, _USUAL_TILE):
        raise UnsupportedPicture(f"tiles of {width} x {height} pixels are larger than the TIFF's picture; save it anew")


def _admit(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise UnsupportedPicture(f"the header says {width} x {height} pixels; export the picture again")
    if width * height > max_pixels:
        raise PictureTooLarge(
            f"{width} x {height} is {width * height:,} pixels, the limit is {max_pixels:,}; "
            "supply a smaller picture or raise --max-pixels"
        )


def _jpeg_pixels(image: ImageFile, content: bytes, icc: bytes | None) -> NDArray[np.uint8]:
    """H x W x 3 sRGB by the fast decoder where the picture is RGB or grey, else by Pillow (CMYK, YCCK)."""
    fast = _fast_jpeg(content, _FAST_JPEG[image.mode]) if image.mode in _FAST_JPEG else None
    if fast is None:
        return to_rgb(image, icc)
    if image.mode == "RGB" and is_srgb(icc, "RGB"):
        return fast
    return to_rgb(Image.fromarray(fast if image.mode == "RGB" else fast[..., 0]), icc)


def _fast_jpeg(content: bytes, space: str) -> NDArray[np.uint8] | None:
    """Decode to H x W x C, or return None where Pillow is to try: odd subsampling, harmless stray bytes."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, space, strict=True)
        return pixels
    except ValueError as error:
        if any(word in str(error).lower() for word in _JPEG_DAMAGE):
            raise
        return None


def _orientation(image: ImageFile) -> int:
    """EXIF orientation, 1 (upright) to 8; broken EXIF data is as good as none."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a parser of untrusted data, and nothing in it is worth losing the picture for
        return 1
    return value if value in range(1, 9) else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo the camera's orientation (EXIF 2.3, tag 0x0112); H x W x 3 in, upright and C-contiguous out."""
    if orientation == 1:
        return pixels
    # One 3-byte item per pixel: moving items is 2.4 times as fast as moving channels.
    items = pixels.view("V3")[..., 0]
    if orientation >= 5:
        items = items.T
    if orientation in (3, 4, 7, 8):
        items = items[::-1]
    if orientation in (2, 3, 6, 7):
        items = items[:, ::-1]
    return np.ascontiguousarray(items).view(np.uint8).reshape(*items.shape, 3)


@contextmanager
def _explained(format: str, content: bytes) -> Iterator[None]:
    """Turn whatever the decoders raise into a PictureError."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        advice = "frames or tiles are larger than can be read here; supply a smaller picture"
        raise PictureTooLarge(f"the {format} data's {advice} ({error})") from error
    except Exception as error:  # parsers of untrusted data raise anything: OSError, SyntaxError, struct.error, ...
        raise _verdict(format, content, error) from error


def _verdict(format: str, content: bytes, error: Exception) -> PictureError:
    variant = unread_variant(content) if format == "TIFF" else None
    if variant:
        return UnsupportedPicture(f"{variant} is not read here; save it with 8 bits a channel, or as JPEG or PNG")
    detail = str(error) or type(error).__name__
    if isinstance(error, NotImplementedError) or any(word in detail.lower() for word in _UNSUPPORTED_WORDS):
        return UnsupportedPicture(f"this kind of {format} is not read here ({detail}); export it as plain {READABLE}")
    return TruncatedPicture(f"the {format} data ends early or is damaged ({detail}); upload or export it again")
