"""Codecs: bytes to pictures and cut-outs to bytes. Stateless blocking functions that release the GIL."""

from inference.codec.decode import MAX_PIXELS, PictureInfo, decode, probe
from inference.codec.encode import encode, is_complete_png, read_text
from inference.codec.png import HEAD_BYTES, encode_png

__all__ = [
    "HEAD_BYTES",
    "MAX_PIXELS",
    "PictureInfo",
    "decode",
    "encode",
    "encode_png",
    "is_complete_png",
    "probe",
    "read_text",
]
