"""What an output may carry over from its source besides the matte: resolution, EXIF and 16-bit colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inference.compose.spec import OutputSpec


@dataclass(frozen=True, eq=False)
class SourceMetadata:
    """Facts about a source that its decoded picture does not hold."""

    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution in dots per inch; None if the file states none."""
    exif: Mapping[int, object] = field(default_factory=dict)
    """The EXIF tags of the main directory, by number; nested directories are mappings."""
    deep: NDArray[np.uint16] | None = field(default=None, repr=False)
    """H x W x 3, sRGB, upright: the colours of a 16-bit source; None for a source of 8 bits."""


NO_METADATA = SourceMetadata()


def read_source(data: bytes | memoryview, specs: Iterable[OutputSpec]) -> SourceMetadata:
    """Read what these outputs need of a source's bytes, which `codec.decode` has accepted; nothing for the plain PNG.

    Never raises for damaged metadata, which counts as missing.
    """
    return NO_METADATA
