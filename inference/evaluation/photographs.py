"""Real photographs to look at: those that scikit-image and matplotlib ship inside their packages."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PLACES = {
    "skimage": (
        "data",
        ("coffee.png", "chelsea.png", "astronaut.png", "camera.png", "motorcycle_left.png", "coins.png", "logo.png"),
    ),
    "matplotlib": ("mpl-data/sample_data", ("grace_hopper.jpg",)),
}


def photographs() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name and H x W x 3 pixels of every photograph that is installed."""
    for package, (folder, names) in PLACES.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for name in names:
            path = Path(spec.origin).parent / folder / name
            if path.exists():
                yield name, np.array(_flat(Image.open(path)))


def _flat(image: Image.Image) -> Image.Image:
    """RGB, what is transparent over white."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
