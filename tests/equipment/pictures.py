"""Product photos for acceptance tests: one flat object each, in a colour that the output must show."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

BACKGROUND = (242, 240, 236)
SIZES = ((60, 90), (128, 128), (200, 75), (97, 133), (180, 200), (75, 199), (64, 64))
"""Width and height."""
FOLDERS = ("", "shoes/", "shoes/women/red [new]/", "Hüte & Mützen/", "a/b/c/d/e/", "album.jpg/")
ENDINGS = ("jpg", "png", "webp", "JPG", "jpeg")
_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}
_LEVELS = (0, 36, 72, 108, 144, 180)
_CLOSE = 12
"""Error of a flat colour's channel that lossy formats may cause; two pictures' colours differ by more."""


@dataclass(frozen=True)
class Product:
    """A photo to draw: its key, its size (width, height), and the colour of its object."""

    key: str
    size: tuple[int, int]
    colour: tuple[int, int, int]

    @property
    def output(self) -> str:
        """The key of its cut-out under the default name."""
        return self.key.rpartition(".")[0] + ".png"

    def save(self, root: Path) -> None:
        """Write the photo below `root`."""
        place(root, self.key, photo(self.key, self.size, self.colour))


def products(count: int) -> list[Product]:
    """Photos of several formats and sizes in nested folders, all of different colours; at most 216."""
    return [
        Product(
            f"{FOLDERS[number % len(FOLDERS)]}photo {number:03}.{ENDINGS[number % len(ENDINGS)]}",
            SIZES[number % len(SIZES)],
            (_LEVELS[number % 6], _LEVELS[number // 6 % 6], _LEVELS[number // 36 % 6]),
        )
        for number in range(count)
    ]


def photo(key: str, size: tuple[int, int] = (96, 72), colour: tuple[int, int, int] = (200, 30, 40)) -> bytes:
    """Encode a photo in the format of its extension: a rectangle in the middle of a light background."""
    width, height = size
    image = Image.new("RGB", size, BACKGROUND)
    image.paste(colour, (width // 4, height // 4, width - width // 4, height - height // 4))
    file = io.BytesIO()
    format = _FORMATS[key.rpartition(".")[2].lower()]
    image.save(file, format, **({} if format == "PNG" else {"quality": 95}))
    return file.getvalue()


def place(root: Path, key: str, data: bytes) -> Path:
    """Write a file below `root` atomically: under a hidden name, then renamed."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_bytes(data)
    return hidden.rename(path)


def flaws(output: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> list[str]:
    """List what is wrong with the cut-out of a `photo`: its size, its colour, or a background that is still there."""
    with Image.open(output) as image:
        mode, pixels = image.mode, np.asarray(image).astype(int)
    if mode != "RGBA" or pixels.shape != (size[1], size[0], 4):
        return [f"{output.name} is {mode} of shape {pixels.shape}, not RGBA of {size}"]
    middle = pixels[size[1] // 2, size[0] // 2]
    found = []
    if middle[3] != 255 or np.abs(middle[:3] - colour).max() > _CLOSE:
        found.append(f"{output.name} is {middle} in the middle, not {colour}")
    if pixels[[0, 0, -1, -1], [0, -1, 0, -1], 3].any():
        found.append(f"{output.name} is not clear in its corners")
    return found


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes of PNG whose header states this size."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + body + _chunk(b"IEND", b"")


def cut_short(key: str) -> bytes:
    """The first two thirds of a photo."""
    whole = photo(key)
    return whole[: len(whole) * 2 // 3]


BAD: Mapping[str, tuple[bytes, str]] = {
    "bad/empty.jpg": (b"", "not_a_picture"),
    "bad/short1.jpg": (cut_short("x.jpg"), "truncated"),
    "bad/short2.png": (cut_short("x.png"), "truncated"),
    "bad/short3.webp": (cut_short("x.webp"), "truncated"),
    "bad/no end.jpg": (photo("x.jpg").removesuffix(b"\xff\xd9"), "truncated"),
    "bad/a[/b].jpg": (b"Dear all,\nplease find the photos attached.\n", "not_a_picture"),
    "bad/bomb.png": (png_that_claims(50_000, 50_000), "too_large"),
    "bad/nothing.png": (png_that_claims(0, 0), "truncated"),
    "bad/magic.png": (b"\x89PNX" + photo("x.png")[4:], "not_a_picture"),
    "bad/noise.png": (np.random.default_rng(7).bytes(5000), "not_a_picture"),
    "head.gif": (b"GIF89a", "truncated"),
    "canon.jpg": (b"\xff\x0a" + bytes(500), "unsupported"),
}
"""Files that must be rejected: bytes and reason by key."""
