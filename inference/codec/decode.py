"""Decoding: a file's bytes to an upright sRGB picture, or to a PictureError."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

from inference.codec.colour import Pixels, is_srgb, to_srgb
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
from inference.codec.png_chunks import png_depth, png_size, read_chunks
from inference.codec.tiff import seek_main_page, tiff_depth, unsupported_variant
from inference.codec.truncated import complete
from inference.errors import PictureError, PictureTooLarge, TruncatedPicture, UnsupportedPicture
from inference.picture import Picture

MAX_PIXELS = 178_000_000
"""Just below 2 x Image.MAX_IMAGE_PIXELS, where Pillow itself refuses some formats."""

# Readers are called by class, not through Image.open, which applies a process-wide pixel limit, reads the first frame
# of an MPO with another class, and tries formats that are not listed here.
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
"""Pixels of a tile that is accepted for any picture."""
_FAST_JPEG = MappingProxyType({"RGB": "RGB", "L": "GRAY"})
# libjpeg reports missing pixels, which it replaces by grey, as warnings with these texts (jerror.h). It warns of
# harmless stray bytes, too. simplejpeg raises ValueError for all of them, so only the text distinguishes them.
_JPEG_DAMAGE = ("premature end", "bad huffman", "found marker", "inconsistent progression")
# Pillow raises the same classes for unsupported variants as for damaged data; only the text distinguishes them.
_UNSUPPORTED_WORDS = ("unsupported", "not supported", "cannot handle", "unknown", "not implemented")


@dataclass(frozen=True)
class PictureInfo:
    """What the header states: width and height in pixels, as stored (an EXIF orientation may swap them)."""

    format: str
    width: int
    height: int
    deep: bool = False
    """Whether a PNG or TIFF has more than 8 bits a channel."""


def probe(data: bytes | memoryview) -> PictureInfo:
    """Read format, size and depth from the header, without decoding a pixel or applying a limit.

    Raises NotAPicture, UnsupportedPicture, or TruncatedPicture if the header is incomplete.
    """
    content = bytes(data)
    format = identify(content)
    with _decoder_errors(format, content):
        return _info(format, content)


def _info(format: str, content: bytes) -> PictureInfo:
    if format == "WEBP":
        return PictureInfo(format, *webp_size(content))
    size = {"JPEG": jpeg_size, "PNG": png_size}[format](content) if format in ("JPEG", "PNG") else None
    if size:
        return PictureInfo(format, *size, deep=format == "PNG" and png_depth(content) > 8)
    image = reader_of(format)(io.BytesIO(content))
    if isinstance(image, TiffImageFile):
        seek_main_page(image)
        return PictureInfo(format, *image.size, deep=tiff_depth(image) > 8)
    return PictureInfo(format, *image.size)


def reader_of(format: str) -> Callable[[io.BytesIO], ImageFile]:
    """Return Pillow's reader for a format. Raises UnsupportedPicture for HEIC if its package is not installed."""
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


def decode(
    data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS, keep_truncated: bool = False, rgbx: bool = False
) -> Picture:
    """Decode the first frame, apply the EXIF orientation, convert colours to sRGB, and flatten transparency on white.

    The picture also keeps its own alpha, if the file has any.
    The size in the header is checked against `max_pixels` before any pixel is decoded. With `keep_truncated`, a
    truncated or damaged JPEG, PNG or uncompressed TIFF is decoded as far as possible, and marked as truncated. With
    `rgbx`, the usual JPEG is decoded to four bytes a pixel (`Picture.rgbx`), which costs no more.

    Raises a PictureError for any bytes that are not such a picture; only MemoryError passes through, because it says
    nothing about the picture.
    """
    content = bytes(data)
    format = identify(content)
    try:
        with _decoder_errors(format, content):
            return _decode(format, content, max_pixels, rgbx, strict=True)
    except TruncatedPicture:
        if not keep_truncated:
            raise
    with _decoder_errors(format, content):
        return _decode_part(format, content, max_pixels, rgbx)


def _decode(format: str, content: bytes, max_pixels: int, rgbx: bool, *, strict: bool) -> Picture:
    source = open_picture(format, content, max_pixels)
    image, icc = source.image, source.profile()
    pixels = _jpeg_pixels(image, content, icc, rgbx, strict) if format == "JPEG" else to_srgb(image, icc)
    # After loading: Pillow applies the orientation of some formats itself, and then removes the tag.
    orientation = orientation_of(image)
    rgba = None if pixels.rgba is None else upright(pixels.rgba, source.crop, orientation)
    decoded = upright(pixels.rgb, source.crop, orientation)
    return Picture(decoded[..., :3], rgba, rgbx=decoded if decoded.shape[2] == 4 else None)


def _decode_part(format: str, content: bytes, max_pixels: int, rgbx: bool) -> Picture:
    """Decode what a truncated file has. Raises TruncatedPicture if that is nothing, or a single colour."""
    info = _info(format, content)
    _check_size(info.width, info.height, max_pixels)
    completed = complete(format, content)
    picture = _decode(format, completed, max_pixels, rgbx, strict=False) if completed else None
    if picture is None or (picture.pixels == picture.pixels[0, 0]).all():
        raise TruncatedPicture(
            f"the {format} data is truncated or damaged, and nothing of the picture can be kept; upload the file again"
        )
    return replace(picture, truncated=True)


def upright(pixels: NDArray[np.uint8], crop: Crop | None, orientation: int) -> NDArray[np.uint8]:
    """Crop H x W x C and apply the EXIF orientation."""
    if crop is not None:
        pixels = np.ascontiguousarray(pixels[crop.top : crop.bottom, crop.left : crop.right])
    return _apply_orientation(pixels, orientation)


@dataclass(frozen=True)
class OpenedPicture:
    """A picture whose header has been read, with what its container states about it."""

    image: ImageFile
    icc: bytes | None
    space: ColourSpace | None = None
    """The colour space that the container states without an ICC profile."""
    crop: Crop | None = None
    """The visible part; None for the whole picture."""

    def profile(self) -> bytes | None:
        """Return the ICC profile: the file's own, or one of the colour space that the container or EXIF states.

        None means sRGB. Raises UnsupportedPicture for HDR without an ICC profile.
        """
        if self.icc:
            return self.icc
        space = self.space or _space_by_exif(self.image)
        return None if space is None or space.is_srgb else icc_profile(space)


def open_picture(format: str, content: bytes, max_pixels: int) -> OpenedPicture:
    """Read the header and check size, tiles and completeness, before any pixel is decoded."""
    if format == "WEBP":
        _check_size(*webp_size(content), max_pixels)
    png = read_chunks(content) if format == "PNG" else None
    image = _read_header(format, png.data if png else content)
    if isinstance(image, TiffImageFile):
        seek_main_page(image)
        _check_tiles(image)
    _check_size(*image.size, max_pixels)
    if format == "JPEG":
        require_few_scans(content)
    require_end(format, content)
    if png:
        return OpenedPicture(image, png.icc, png.space)
    item = primary_item(content) if format in ("AVIF", "HEIC") else PrimaryItem()
    crop = item.crop(*image.size) if format == "AVIF" else None  # libheif has cropped a HEIC by itself
    return OpenedPicture(image, image.info.get("icc_profile"), item.space, crop)


def _read_header(format: str, content: bytes) -> ImageFile:
    """Open a picture; a JPEG with metadata that Pillow rejects is opened without it."""
    reader = reader_of(format)
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
    """Return Adobe RGB if EXIF states it, by interoperability index R03 (EXIF 2.3) or colour space 2 (some cameras)."""
    try:
        exif = image.getexif()
        if exif.get_ifd(ExifTags.IFD.Interop).get(1) == "R03":
            return ADOBE
        return ADOBE if exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace) == 2 else None
    except Exception:  # parsers of untrusted data raise anything; without EXIF, the picture is still usable
        return None


def _check_tiles(image: TiffImageFile) -> None:
    """Reject oversized tiles: a tile is decoded as a whole, even if it is far larger than the picture."""
    width, height = (image.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
    if width * height > max(image.width * image.height, _USUAL_TILE):
        raise UnsupportedPicture(f"tiles of {width} x {height} pixels exceed the TIFF's picture; save it again")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise UnsupportedPicture(f"the header states {width} x {height} pixels; export the picture again")
    if width * height > max_pixels:
        raise PictureTooLarge(
            f"{width} x {height} is {width * height:,} pixels, the limit is {max_pixels:,}; "
            "use a smaller picture or raise --max-pixels"
        )


def _jpeg_pixels(image: ImageFile, content: bytes, icc: bytes | None, rgbx: bool, strict: bool) -> Pixels:
    """Decode to sRGB: by simplejpeg if the picture is RGB or grey, else by Pillow (CMYK, YCCK)."""
    final = image.mode == "RGB" and is_srgb(icc, "RGB")
    space = "RGBX" if rgbx and final else _FAST_JPEG.get(image.mode)
    fast = _fast_jpeg(content, space, strict) if space else None
    if fast is None:
        return to_srgb(image, icc)
    if final:
        return Pixels(fast)
    return to_srgb(Image.fromarray(fast if image.mode == "RGB" else fast[..., 0]), icc)


def _fast_jpeg(content: bytes, space: str, strict: bool) -> NDArray[np.uint8] | None:
    """Decode to H x W x C; None for what only Pillow accepts: unusual subsampling, harmless stray bytes.

    Unless `strict`, missing pixels are grey.
    """
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, space, strict=strict)
        return pixels
    except ValueError as error:
        if any(word in str(error).lower() for word in _JPEG_DAMAGE):
            raise
        return None


def orientation_of(image: ImageFile) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; 1 if the EXIF data is damaged."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # parsers of untrusted data raise anything; without EXIF, the picture is still usable
        return 1
    return value if value in range(1, 9) else 1


def _apply_orientation(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation (EXIF 2.3, tag 0x0112) to H x W x C: upright and C-contiguous."""
    if orientation == 1:
        return pixels
    # One item of 3 or 4 bytes per pixel: moving items is 2.4 times as fast as moving channels.
    channels = pixels.shape[2]
    items = pixels.view(f"V{channels}")[..., 0]
    if orientation >= 5:
        items = items.T
    if orientation in (3, 4, 7, 8):
        items = items[::-1]
    if orientation in (2, 3, 6, 7):
        items = items[:, ::-1]
    return np.ascontiguousarray(items).view(np.uint8).reshape(*items.shape, channels)


@contextmanager
def _decoder_errors(format: str, content: bytes) -> Iterator[None]:
    """Convert whatever a decoder raises to a PictureError."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureTooLarge(
            f"frames or tiles of the {format} data are larger than the limit ({error}); use a smaller picture"
        ) from error
    except Exception as error:  # parsers of untrusted data raise anything: OSError, SyntaxError, struct.error, ...
        raise _to_picture_error(format, content, error) from error


def _to_picture_error(format: str, content: bytes, error: Exception) -> PictureError:
    variant = unsupported_variant(content) if format == "TIFF" else None
    if variant:
        return UnsupportedPicture(f"{variant} is not supported; save it with 8 bits a channel, or as JPEG or PNG")
    detail = str(error) or type(error).__name__
    if isinstance(error, NotImplementedError) or any(word in detail.lower() for word in _UNSUPPORTED_WORDS):
        return UnsupportedPicture(f"this kind of {format} is not supported ({detail}); export it as plain {READABLE}")
    return TruncatedPicture(f"the {format} data is truncated or damaged ({detail}); upload or export it again")
