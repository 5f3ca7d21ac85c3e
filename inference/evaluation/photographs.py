"""Photographs to look at, which no training has seen: of the training data's packages, scikit-image and matplotlib."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.corpus.gathering import flat, looked_at
from inference.corpus.layout import Layout


def photographs(layout: Layout) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name and H x W x 3 pixels of every photograph that is there, in the order of `corpus/looked-at.txt`."""
    for package, path in looked_at():
        place = _found(package, path) or layout.looked_at / flat(path)
        if place.exists():
            with Image.open(place) as image:
                yield place.name.rpartition("+")[2], np.array(image.convert("RGB"))


def _found(package: str, path: str) -> Path | None:
    """The file in an installed Python package of that name."""
    spec = find_spec(package)
    return Path(spec.origin).parent / path if spec and spec.origin else None
