"""Files that Pillow does not write: with colour spaces, pages, apertures, depths and metadata of every kind."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image

from inference.codec.colour_space import BT709, ColourSpace, icc_profile
from inference.codec.png import chunk
from tests.equipment.encoded_pictures import saved


def plain(*rgb: int, size: int = 16) -> Image.Image:
    return Image.new("RGB", (size, size), rgb)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with further chunks behind its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def gama(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chrm(*numbers: float) -> bytes:
    return chunk(b"cHRM", b"".join(struct.pack(">I", round(number * 100_000)) for number in numbers))


def adobe_exif(*, interoperability: bool) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 65535 if interoperability else 2
    if interoperability:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: "R03"}
    return exif


def avif(image: Image.Image, primaries: int = 1, transfer: int = 13) -> bytes:
    """A lossless AVIF whose `nclx` has these code points."""
    data = bytearray(saved(image, "AVIF", quality=100, subsampling="4:4:4"))
    at = data.index(b"colrnclx") + 8
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def clapped(data: bytes, numbers: tuple[int, ...]) -> bytes:
    """An AVIF of Pillow's whose primary item has a clean aperture besides."""
    parts = dict(boxes(data))
    meta = dict(boxes(parts[b"meta"][4:]))
    iprp = boxes(meta[b"iprp"])
    count = len(boxes(dict(iprp)[b"ipco"]))
    grown = []
    for kind, body in iprp:
        if kind == b"ipco":
            body += box(b"clap", struct.pack(">IIIIiIiI", *numbers))
        if kind == b"ipma":
            assert body[:8] == b"\0\0\0\0" + struct.pack(">I", 1), "version 0 and one item"
            body = body[:10] + bytes([body[10] + 1]) + body[11:] + bytes([0x80 | (count + 1)])
        grown.append(box(kind, body))
    more = sum(map(len, grown)) - len(meta[b"iprp"])
    meta[b"iprp"] = b"".join(grown)
    (version, sizes), iloc = (meta[b"iloc"][0], meta[b"iloc"][4:6]), bytearray(meta[b"iloc"])
    assert version == 0 and sizes == b"\x44\x00", "offsets and lengths of four bytes"
    (offset,) = struct.unpack_from(">I", iloc, 14)
    struct.pack_into(">I", iloc, 14, offset + more)
    meta[b"iloc"] = bytes(iloc)
    parts[b"meta"] = parts[b"meta"][:4] + b"".join(box(kind, body) for kind, body in meta.items())
    return b"".join(box(kind, body) for kind, body in parts.items())


def tiff(*pages: tuple[NDArray[Any], dict[str, Any]], big: bool = False) -> bytes:
    """A TIFF of pages with options of `tifffile`; with `big` a BigTIFF."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=big) as writer:
        for pixels, options in pages:
            writer.write(pixels, **options)
    return file.getvalue()


def tiff_of_12_bits(values: NDArray[np.uint16]) -> bytes:
    """Grey, MSB first, two numbers in three bytes."""
    height, width = values.shape
    packed = bytearray()
    for row in values:
        for a, b in zip(row[::2].tolist(), row[1::2].tolist(), strict=True):
            packed += bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    tags = [(256, 4, width), (257, 4, height), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, height), (279, 4, len(packed))]  # fmt: skip
    head = b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return bytes(head) + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def grey_profile(gamma: float) -> bytes:
    """sRGB's profile of ours, made over for grey pixels: its red curve becomes the grey one."""
    icc = bytearray(icc_profile(ColourSpace(BT709, gamma)))
    icc[16:20] = b"GRAY"
    at = icc.index(b"rTRC")
    icc[at : at + 4] = b"kTRC"
    return bytes(icc)


def heic(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=100, chroma=444, **options)
    return file.getvalue()


def damaged(kind: bytes, body: bytes) -> bytes:
    """A chunk with a wrong checksum."""
    good = chunk(kind, body)
    return good[:-4] + bytes([good[-4] ^ 1]) + good[-3:]


METADATA = {
    "zTXt of 2 MiB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (2 << 20))),
    "iTXt of 2 MiB": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"a" * (2 << 20))),
    "iCCP of 2 MiB": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"a" * (2 << 20))),
    "iCCP that unpacks to 64 MiB": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(64 << 20))),
    "tEXt of 70 MB": chunk(b"tEXt", b"Comment\0" + b"a" * 70_000_000),
    "zTXt that is no zlib": chunk(b"zTXt", b"Comment\0\0not zlib at all"),
    "iCCP that is no zlib": chunk(b"iCCP", b"x\0\0not zlib at all"),
    "a wrong checksum in tEXt": damaged(b"tEXt", b"Comment\0hello"),
    "a wrong checksum in gAMA": damaged(b"gAMA", struct.pack(">I", 100_000)),
    "a wrong checksum in a private chunk": damaged(b"prVt", b"hello"),
    "a wrong checksum in eXIf": damaged(b"eXIf", b"II*\0\x08\0\0\0\0\0"),
    **{f"an empty {kind.decode()}": chunk(kind, b"") for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"acTL", b"cICP",
                                                                 b"eXIf", b"iCCP", b"bKGD", b"tIME", b"sBIT", b"fcTL")},
    **{f"a short {kind.decode()}": chunk(kind, b"\1\2\3") for kind in (b"gAMA", b"cHRM", b"pHYs", b"acTL", b"cICP")},
}  # fmt: skip
