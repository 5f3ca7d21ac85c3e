"""The drawn held-out splits, and the score of a model on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np

from inference import Cutout, Engine, Picture
from inference.evaluation.scoring import Judged, judged
from inference.synthetic import DRAWN, SOLID, ContentMix, Sample, render_sample

HELD_OUT = 20_250_701
"""The splits' seed. The training's seeds are small numbers, so no sample of them is ever trained on."""
SPLITS: dict[str, ContentMix] = {"drawn": DRAWN, "solid": SOLID}
"""Flat drawings, as they were since the first weights, and solid objects."""
SIZES = ((320, 320), (384, 512), (512, 384), (480, 640), (640, 480), (512, 512), (360, 640), (640, 400))


def held_out(index: int, split: str = "drawn") -> Sample:
    """Draw the picture of this number in a split: always the same, and in one of several sizes."""
    height, width = SIZES[index % len(SIZES)]
    return render_sample(np.random.default_rng([HELD_OUT, index]), height, width, SPLITS[split])


def judge(engine: Engine, count: int, split: str = "drawn") -> Iterator[Judged]:
    """Yield the figures of each picture; the next ones are rendered while the engine works."""
    waiting: deque[tuple[int, Sample, Future[Cutout]]] = deque()
    for index in range(count):
        sample = held_out(index, split)
        waiting.append((index, sample, engine.submit(Picture(sample.image))))
        if len(waiting) > 2:
            yield _judged(*waiting.popleft())
    while waiting:
        yield _judged(*waiting.popleft())


def _judged(index: int, sample: Sample, promise: Future[Cutout]) -> Judged:
    return judged(str(index), sample.image, sample.alpha, promise.result())
