"""Codecs for the processes of `gpu_steps`: without torch, which takes seconds to load in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.codec import decode, encode
from inference.picture import Cutout


def decoded(file: str) -> NDArray[np.uint8]:
    """Read and decode a file: H x W x 3."""
    return decode(Path(file).read_bytes()).pixels


def encoded(pixels: NDArray[np.uint8]) -> int:
    """Encode a cut-out, H x W x 4; its size in bytes."""
    return len(encode(Cutout(pixels)))
