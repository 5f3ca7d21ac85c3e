"""Finds and opens the library that is compiled from `kernels/kernels.c`, and calls what needs no torch.

Codecs use it as well as the kernels for tensors (`inference.kernels`), and they must not import torch.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

FOLDER: Final = Path(__file__).parent / "kernels"
SOURCE: Final = FOLDER / "kernels.c"
REMEDY: Final = "`make kernels` in a checkout or `pip install` of a wheel for this machine brings it"
CPUINFO: Final = Path("/proc/cpuinfo")

_hidden = threading.Event()


class KernelsUnavailable(Exception):
    """The compiled kernels cannot be used; the message says why, and what to do."""


class PixelKernels:
    """What is computed for every pixel without torch. The interpreter lock is released during each call."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Take a library that `open_library` has opened."""
        pointer, number = ctypes.c_void_p, ctypes.c_int
        library.filter_up.argtypes = [pointer, pointer, number, number, number, pointer]
        self._filter_up = library.filter_up
        library.measure_alpha.argtypes = [pointer, number, number, number, pointer, pointer]
        library.measure_alpha.restype = ctypes.c_int64
        self._measure_alpha = library.measure_alpha

    def filter_up(
        self, rows: NDArray[np.uint8], above: NDArray[np.uint8] | None, filtered: NDArray[np.uint8], keep_hidden: bool
    ) -> None:
        """Apply the filter of `codec.png` to h x w x 4 pixels, which follow the row `above` them.

        Writes h rows of their filter type and 4 * w filtered bytes.

        Without `keep_hidden`, fully transparent pixels count as black. Raises ValueError for arrays of other shapes,
        or that are not contiguous.
        """
        height, width, channels = rows.shape
        follows = above is None or above.size == 4 * width
        shapes = channels == 4 and filtered.shape == (height, 1 + 4 * width) and follows
        parts = (rows, filtered) if above is None else (rows, filtered, above)
        if not shapes or not all(part.flags.c_contiguous for part in parts):
            raise ValueError(f"contiguous rows of 4 channels are needed, not {rows.shape} into {filtered.shape}")
        before = None if above is None else above.ctypes.data
        self._filter_up(rows.ctypes.data, before, height, width, keep_hidden, filtered.ctypes.data)

    def measure_alpha(self, words: NDArray[np.uint32], least: int) -> tuple[int, tuple[int, int, int, int]]:
        """Sum up alpha, the highest byte of H x W words, and find where it is at least `least`: 1 to 255.

        Returns the sum and left, top, right and bottom, the latter two exclusive; zeros if that is nowhere. Raises
        ValueError for an array that is not contiguous.
        """
        if words.ndim != 2 or words.dtype != np.uint32 or not words.flags.c_contiguous:
            raise ValueError(f"contiguous rows of words are needed, not {words.shape} {words.dtype}")
        height, width = words.shape
        columns, box = np.empty(width, np.uint32), np.empty(4, np.int32)
        total = self._measure_alpha(words.ctypes.data, height, width, least, columns.ctypes.data, box.ctypes.data)
        left, top, right, bottom = box.tolist()
        return total, (left, top, right, bottom)


def pixel_kernels() -> PixelKernels | None:
    """Return what is compiled, where it is available: numpy does the same in at least twice the CPU time."""
    return None if _hidden.is_set() else _pixel_kernels()


@cache
def _pixel_kernels() -> PixelKernels | None:
    try:
        require_vectors()
        return PixelKernels(open_library(library_path()))
    except KernelsUnavailable:
        return None  # an engine on a CPU reports why, see `kernels_problem`


def require_vectors() -> None:
    """Raise KernelsUnavailable for an x86-64 processor without AVX2: the library would kill the process."""
    if platform.machine() == "x86_64" and " avx2 " not in CPUINFO.read_text():
        raise KernelsUnavailable("the processor has no AVX2")


def open_library(path: Path) -> ctypes.CDLL:
    """Open a compiled library. Raises KernelsUnavailable if it is missing, or is of another `kernels.c`."""
    if not path.exists():
        raise KernelsUnavailable(f"{path.name} is missing; {REMEDY}")
    try:
        library = ctypes.CDLL(str(path))
        library.kernels_source.restype = ctypes.c_char_p
        built_from = library.kernels_source().decode()
    except (OSError, AttributeError) as error:
        raise KernelsUnavailable(f"{path.name} could not be loaded: {error}; {REMEDY}") from error
    if built_from != source_digest():
        raise KernelsUnavailable(f"{path.name} was compiled from another version of {SOURCE.name}; {REMEDY}")
    return library


def source_digest() -> str:
    """SHA-256 of `kernels.c`, which a library states that was compiled from it."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def library_path() -> Path:
    """Where the library for this machine's processor lies."""
    return FOLDER / f"kernels-{platform.machine()}.so"


def are_hidden() -> bool:
    """Whether `without_kernels` is in effect."""
    return _hidden.is_set()


@contextmanager
def without_kernels() -> Iterator[None]:
    """Until the block ends, nothing compiled is used, in any thread: for comparisons with torch and numpy."""
    _hidden.set()
    try:
        yield
    finally:
        _hidden.clear()
