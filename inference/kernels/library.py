"""Loads the compiled `kernels.c`, and calls it with tensors."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from inference.compiled import KernelsUnavailable, are_hidden, library_path, open_library

CELL: Final = 32
"""Side of a cell in pixels, see `band`."""
PARTS: Final = 4
"""Parts of a cell's side of which a neighbour's nearest counts, see `band`."""
RIM: Final = 6
"""Pixels by which a window extends beyond its cell on each side, see `cvunet`."""

FACTORS: Final = (1, 2, 4, 8)
"""How many times as large as its last refined level a picture can be."""

_VECTORS = ("AVX2", "AVX512")
"""What an x86-64 processor must have, as torch names it."""

_KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int, "l": ctypes.c_long, "f": ctypes.c_float}
_SIGNATURES = {
    "halve": "piip",
    "enlarge": "piiipiip",
    "find_cells": "piiiiiiifppp",
    "gather": "piipiipipi",
    "gather_guide": "piiiiipipi",
    "scatter": "ppiipippi",
    "join": "pppp" + "iiiiiii" + "pfppi",
    "upsample": "piipiipippp" + "iffip",
    "set_alpha": "ppl",
    "wide_fields": "piiipp",
    "narrow_fields": "piiipiipp",
    "decontaminate": "ppiipiip",
    "drop_unsure_islands": "piiiffffip",
}
"""Parameters of each function of `kernels.c`: pointer, int, long or float."""


class Kernels:
    """The functions of `kernels.c` for tensors on a CPU. All planes are contiguous, except where strides are said.

    The interpreter lock is released during each call, and any number of threads may call at the same time.
    """

    def __init__(self, path: Path) -> None:
        """Load a compiled library. Raises KernelsUnavailable as `open_library`."""
        library = open_library(path)
        for name, kinds in _SIGNATURES.items():
            getattr(library, name).argtypes = [_KINDS[kind] for kind in kinds]
        self._library = library

    def halve(self, picture: Tensor) -> Tensor:
        """Average each 2 x 2 block of H x W words, byte by byte; as `band.halve`."""
        height, width = picture.shape
        half = picture.new_empty(((height + 1) // 2, (width + 1) // 2))
        self._library.halve(at(picture), height, width, at(half))
        return half

    def enlarge(self, plane: Tensor, height: int, width: int) -> Tensor:
        """Resize h x w floats, whose rows may have a stride, to H x W: bilinear."""
        result, scratch = torch.empty(height, width), torch.empty(plane.shape[1] + 2)
        self._library.enlarge(rows_at(plane), *plane.shape, plane.stride(0), at(result), height, width, at(scratch))
        return result

    def find_cells(self, logits: Tensor, height: int, width: int, decided: float) -> tuple[Tensor, Tensor]:
        """Find which cells of a height x width picture are undecided, from logits h x w (rows may have a stride).

        Returns their N rows and columns, N x 2 int32, and for every cell a byte: 1 if it is undecided, else its alpha.
        """
        rows, columns = -(-height // CELL), -(-width // CELL)
        # The last cells may extend beyond the picture: the logits are continued, so that all cells cover equal parts.
        down, across = (
            side + round(side * (count * CELL / size - 1))
            for side, count, size in zip(logits.shape, (rows, columns), (height, width), strict=True)
        )
        states, cells = torch.empty(rows, columns, dtype=torch.uint8), torch.empty(rows * columns, 2, dtype=torch.int32)
        scratch = torch.empty(2 * across + 2 * (PARTS + 2) * PARTS * columns)
        source = (rows_at(logits), *logits.shape, logits.stride(0))
        found = self._library.find_cells(
            *source, down, across, rows, columns, decided, at(states), at(cells), at(scratch)
        )
        return cells[:found], states

    def gather(self, level: Tensor, logits: Tensor, cells: Tensor, dtype: torch.dtype) -> Tensor:
        """Copy the windows of N cells for the edge head: N x h x w x 16 blocks, see `band.WindowHead`.

        `level` has h x w words, `logits` are enlarged to it, with sides rounded up to even ones.
        """
        height, width = logits.shape
        blocks = (min(CELL, side) // 2 + RIM for side in logits.shape)
        windows = torch.empty(len(cells), *blocks, 16, dtype=dtype)
        self._library.gather(
            at(level), *level.shape, at(logits), height, width, at(cells), len(cells), at(windows), is_bfloat16(dtype)
        )
        return windows

    def gather_guide(self, guide: Tensor, height: int, width: int, cells: Tensor) -> Tensor:
        """Enlarge a guide h x w x C to the blocks of a height x width picture, in N cells: N x h x w x C.

        Raises ValueError unless C is a multiple of 8.
        """
        if guide.shape[2] % 8:
            raise ValueError(f"the guide has {guide.shape[2]} channels, which is not a multiple of 8")
        blocks = (min(CELL, side) // 2 + RIM - 2 for side in (height, width))
        windows = guide.new_empty((len(cells), *blocks, guide.shape[2]))
        self._library.gather_guide(
            at(guide), *guide.shape, height, width, at(cells), len(cells), at(windows), is_bfloat16(guide.dtype)
        )
        return windows

    def join(self, skip: Tensor, seen: Tensor, advice: Tensor, reduced: Tensor, weights: Tensor, bias: float) -> Tensor:
        """Join a skip connection B x C x H x W with the coarser level; as `cvunet.Up` before its blocks.

        `seen` is what the gate has made of the skip connection, B x D x H x W, `advice` and `reduced` what it and `Up`
        have made of the coarser level, B x D x h x w and B x C x h x w; `weights` are D floats. All are best in
        channels-last, and so is the result. Raises ValueError unless C is a multiple of 8 and D of 4.
        """
        count, channels, height, width = skip.shape
        hidden, (h, w) = seen.shape[1], advice.shape[2:]
        if channels % 8 or hidden % 4:
            raise ValueError(f"{channels} channels must be a multiple of 8, and {hidden} of 4")
        result = skip.new_empty((count, height, width, channels))
        scratch = torch.empty(w * (channels + hidden) + width)
        planes = [plane.movedim(1, -1).contiguous() for plane in (skip, seen, advice, reduced)]
        sizes = (count, height, width, h, w, channels, hidden)
        self._library.join(
            *map(at, planes), *sizes, at(weights), bias, at(result), at(scratch), is_bfloat16(skip.dtype)
        )
        return result.movedim(-1, 1)

    def scatter(self, found: Tensor, logits: Tensor, cells: Tensor, refined: Tensor, slopes: Tensor | None) -> None:
        """Write enlarged logits plus what the head found, N x h x w x 16, to `refined`, and slopes (H x W x 4 half)."""
        height, width = logits.shape
        into = at(slopes) if slopes is not None else None
        self._library.scatter(
            at(found), at(logits), height, width, at(cells), len(cells), at(refined), into, is_bfloat16(found.dtype)
        )

    def upsample(
        self,
        picture: Tensor,
        level: Tensor,
        logits: Tensor,
        slopes: Tensor,
        found: tuple[Tensor, Tensor],
        slope_scale: float,
        snap: float,
        factor: int,
    ) -> Tensor:
        """Compute alpha H x W uint8 of a picture `factor` (1, 2, 4 or 8) times as large as a refined level.

        As `band.upsample`, with slopes for normalised colours times `slope_scale`, and what `find_cells` has found.
        Raises ValueError for any other factor.
        """
        if factor not in FACTORS:
            raise ValueError(f"a picture can be {FACTORS} times as large as its last refined level, not {factor} times")
        alpha = torch.empty(picture.shape, dtype=torch.uint8)
        refined = (rows_at(logits), logits.stride(0), at(slopes))
        cells, states = found
        self._library.upsample(
            at(picture), *picture.shape, at(level), *level.shape, *refined, at(states), at(cells), len(cells),
            slope_scale, snap, factor, at(alpha),
        )  # fmt: skip
        return alpha

    def set_alpha(self, picture: Tensor, alpha: Tensor) -> bool:
        """Write alpha H x W uint8 into H x W words, in place; returns whether any is neither 0 nor 255."""
        return bool(self._library.set_alpha(at(picture), at(alpha), alpha.numel()))

    def wide_fields(self, picture: Tensor, radius: int) -> Tensor:
        """Average foreground and background of h x w words with alpha: h x w x 2 x 4, the last of four unused."""
        height, width = picture.shape
        fields, scratch = torch.empty(height, width, 2, 4), blur_scratch(width, radius)
        self._library.wide_fields(at(picture), height, width, radius, at(fields), at(scratch))
        return fields

    def narrow_fields(self, picture: Tensor, wide: Tensor, radius: int) -> Tensor:
        """Enlarge the wide fields to h x w words, fuse them with these, and average again: h x w x 2 x 4."""
        height, width = picture.shape
        fields, scratch = torch.empty(height, width, 2, 4), blur_scratch(width, radius, 8 * wide.shape[1])
        sizes = (wide.shape[0], wide.shape[1])
        self._library.narrow_fields(at(picture), height, width, radius, at(wide), *sizes, at(fields), at(scratch))
        return fields

    def decontaminate(self, picture: Tensor, alpha: Tensor, fields: Tensor) -> None:
        """Give the semi-transparent pixels of H x W words their foreground colour, in place."""
        height, width = fields.shape[:2]
        scratch = torch.empty(width, 8)
        self._library.decontaminate(at(picture), at(alpha), *alpha.shape, at(fields), height, width, at(scratch))

    def drop_unsure_islands(
        self, logits: Tensor, sure_logit: float, sure_share: float, part: float, clear: float, margin: int
    ) -> None:
        """Set logits h x w (even sides) to `clear` on unsure islands, in place; see `islands.drop_unsure_islands`."""
        height, width = logits.shape
        scratch = torch.empty(4, height // 2, width // 2, dtype=torch.int32)
        bfloat16 = is_bfloat16(logits.dtype)
        self._library.drop_unsure_islands(
            at(logits), height, width, bfloat16, sure_logit, sure_share, part, clear, margin, at(scratch)
        )


def at(plane: Tensor) -> int:
    """Where a plane lies in memory. Raises ValueError unless it is contiguous, and on the CPU."""
    if not plane.is_contiguous() or plane.device.type != "cpu":
        raise ValueError(f"a contiguous tensor of the CPU is needed, not {plane.stride()} on {plane.device}")
    return plane.data_ptr()


def rows_at(plane: Tensor) -> int:
    """Where a plane lies whose rows are contiguous. Raises ValueError."""
    if plane.stride(1) != 1 or plane.dtype != torch.float32 or plane.device.type != "cpu":
        raise ValueError(f"rows of contiguous floats are needed, not {plane.dtype} with strides {plane.stride()}")
    return plane.data_ptr()


def is_bfloat16(dtype: torch.dtype) -> bool:
    """Whether numbers are bfloat16; else they are 32-bit floats. Raises ValueError for any other type."""
    if dtype not in (torch.bfloat16, torch.float32):
        raise ValueError(f"the kernels compute with float32 or bfloat16, not {dtype}")
    return dtype == torch.bfloat16


def blur_scratch(width: int, radius: int, more: int = 0) -> Tensor:
    """Make room for the rows that a blur keeps, and for `more` floats."""
    return torch.empty((2 * radius + 2) * (width + 2 * radius) * 4 + more)


@cache
def _loaded() -> Kernels | KernelsUnavailable:
    try:
        return load(library_path())
    except KernelsUnavailable as error:
        return error


def load(path: Path) -> Kernels:
    """Load a compiled library, if this machine's processor can run it. Raises KernelsUnavailable."""
    capability = torch.backends.cpu.get_cpu_capability()
    if platform.machine() == "x86_64" and capability not in _VECTORS:
        raise KernelsUnavailable(f"the processor has no AVX2, or ATEN_CPU_CAPABILITY hides it ({capability})")
    return Kernels(path)


def kernels_for(device: torch.device) -> Kernels | None:
    """Return the compiled kernels if the device is a CPU and they are available. The one place that chooses."""
    if device.type != "cpu" or are_hidden():
        return None
    found = _loaded()
    return found if isinstance(found, Kernels) else None


def kernels_problem(device: torch.device) -> str:
    """Why a CPU computes without the compiled kernels; empty where it has them, and for other devices."""
    found = _loaded() if device.type == "cpu" else None
    return (
        f"compiled kernels are not used, so images take about twice the CPU time: {found}"
        if isinstance(found, KernelsUnavailable)
        else ""
    )
