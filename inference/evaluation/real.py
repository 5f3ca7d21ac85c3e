"""The `real` split: photographed objects with mattes that somebody has drawn, which no training sees.

Each object comes on a white sweep, on a coloured one and on a photograph, with a soft shadow, as a JPEG would have it.
The objects and the backgrounds are those that `make training-data` puts aside; a fixed seed places them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.corpus.gathering import flat, listed
from inference.corpus.layout import Layout
from inference.corpus.pictures import crop, files, read_object, read_picture
from inference.synthetic import Sample
from inference.synthetic.drawn_object import DrawnObject
from inference.synthetic.pixels import blur, grid, mix, multiply, to_bytes, to_floats
from inference.synthetic.placement import Layer
from inference.synthetic.sampling import Float, Rng, between
from inference.synthetic.shadows import cast_shadow
from inference.synthetic.textures import hsv

SEED = 20_261_128
BACKGROUNDS = ("white", "coloured", "photograph")
FRAMES = ((640, 640), (480, 640), (640, 480), (640, 512), (400, 640))
"""Heights and widths in pixels, in turn."""

Bytes = NDArray[np.uint8]


def real_names(layout: Layout) -> list[str]:
    """The split's objects, in the order of the list. Raises OSError, saying what to do, where they are not there."""
    names = sorted(listed("real-split"))
    missing = [name for name in names if not (layout.real_objects / flat(name)).exists()]
    if missing or not files(layout.real_backgrounds):
        raise FileNotFoundError(f"{layout.root} does not hold the real split: run make training-data")
    return names


def real_samples(layout: Layout, background: str) -> Iterator[tuple[str, Sample]]:
    """Name, picture and true matte of every object on one kind of background: the same each time.

    Raises OSError where the split is not there.
    """
    backdrops = [read_picture(path) for path in files(layout.real_backgrounds)] if background == BACKGROUNDS[2] else []
    for index, name in enumerate(real_names(layout)):
        rng = np.random.default_rng([SEED, index])
        height, width = FRAMES[index % len(FRAMES)]
        layer = centred(rng, read_object(layout.real_objects / flat(name)), height, width)
        if backdrops:
            behind = crop(rng, backdrops[index % len(backdrops)], height, width)
        else:
            behind = sweep_of(rng, white if background == BACKGROUNDS[0] else coloured, height, width)
        yield name, finished(rng, layer, behind)


def centred(rng: Rng, cutout: DrawnObject, height: int, width: int) -> Layer:
    """Place the object upright near the middle of the frame, at 55 to 90 % of the largest size that fits."""
    rows, columns = cutout.alpha.shape
    scale = min(height / rows, width / columns) * between(rng, 0.55, 0.9)
    size = (max(2, round(columns * scale)), max(2, round(rows * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    rgb, alpha = (
        np.asarray(cv2.resize(plane, size, interpolation=how), np.uint8) for plane in (cutout.rgb, cutout.alpha)
    )
    free = (height - size[1], width - size[0])
    top, left = (round(space * between(rng, 0.35, 0.65)) for space in free)
    around = (top, free[0] - top, left, free[1] - left)
    picture = cv2.copyMakeBorder(rgb, *around, cv2.BORDER_REPLICATE)
    matte = cv2.copyMakeBorder(alpha, *around, cv2.BORDER_CONSTANT, value=0)
    return Layer(to_floats(np.asarray(picture)), to_floats(np.asarray(matte)), float(top + size[1] - 1), cutout.stands)


def white(rng: Rng) -> Float:
    """Paper white, or a little less."""
    return np.full(3, between(rng, 0.93, 1.0), np.float32)


def coloured(rng: Rng) -> Float:
    """Any colour that a shop's paper roll has."""
    return hsv(rng.random(), between(rng, 0.15, 0.75), between(rng, 0.3, 0.95))


def sweep_of(rng: Rng, tint: Callable[[Rng], Float], height: int, width: int) -> Float:
    """A paper sweep of one colour: lighter above, with a soft bend, light falling off to the sides."""
    x, y = grid(height, width)
    bend = 1 - np.float32(between(rng, 0.0, 0.12)) / (1 + np.exp(-(y - np.float32(between(rng, 0.4, 0.7))) * 14))
    side = 1 - np.float32(between(rng, 0.0, 0.2)) * (x - np.float32(rng.random())) ** 2
    return np.clip(multiply(tint(rng), bend * side), 0, 1)


def finished(rng: Rng, layer: Layer, background: Float) -> Sample:
    """Compose the object with its shadow on its background, as a good camera and a JPEG would give it."""
    shaded = multiply(background, 1 - np.float32(between(rng, 0.1, 0.5)) * cast_shadow(rng, layer))
    picture = mix(shaded, layer.rgb, layer.alpha)
    picture = blur(picture, between(rng, 0.3, 0.6))
    noisy = picture + rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(between(rng, 0.0, 0.012))
    quality = int(rng.integers(80, 96))
    _, data = cv2.imencode(".jpg", to_bytes(np.clip(noisy, 0, 1)), (cv2.IMWRITE_JPEG_QUALITY, quality))
    return Sample(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8), to_bytes(layer.alpha))
