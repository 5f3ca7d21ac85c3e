"""Pictures with true mattes: those of the calibration, made of training material, and those of the `real` split."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from inference.corpus.layout import Layout
from inference.corpus.pictures import Corpus, crop, load_corpus
from inference.evaluation.held_out import SIZES
from inference.evaluation.real import BACKGROUNDS, FRAMES, centred, coloured, finished, real_samples, sweep_of, white
from inference.synthetic import SOLID, Sample, render_sample

SEED = 20_261_129
"""Of no training and no held-out split."""
SOLIDS = 60
"""Drawn solid objects of the calibration."""

Named = tuple[str, str, Sample]
"""A split, a picture's name, and the picture with its true matte."""


def calibration_pictures(layout: Layout) -> Iterator[Named]:
    """Pictures to fit the confidence on; none of them, and no part of them, is in the `real` split.

    The training's objects on other backgrounds, composed like the `real` split, and drawn solid objects. Raises OSError
    where the training data is missing.
    """
    corpus = load_corpus(layout, rendered=False)
    if not corpus.objects or not corpus.backgrounds:
        raise FileNotFoundError(f"{layout.root} holds no training material: run make training-data")
    yield from chain(_composed(corpus), _solids(), _whole(corpus))


def real_pictures(layout: Layout) -> Iterator[Named]:
    """The `real` split on all its backgrounds. Raises OSError where it is not there."""
    for background in BACKGROUNDS:
        for name, sample in real_samples(layout, background):
            yield background, name, sample


def _composed(corpus: Corpus) -> Iterator[Named]:
    """Every object on a photograph, and on a white or a coloured sweep."""
    for index, cutout in enumerate((*corpus.objects, *corpus.taught)):
        height, width = FRAMES[index % len(FRAMES)]
        for background in (BACKGROUNDS[index % 2], BACKGROUNDS[2]):
            rng = np.random.default_rng([SEED, index, BACKGROUNDS.index(background)])
            layer = centred(rng, cutout, height, width)
            if background == BACKGROUNDS[2]:
                behind = crop(rng, corpus.backgrounds[index % len(corpus.backgrounds)], height, width)
            else:
                behind = sweep_of(rng, white if background == BACKGROUNDS[0] else coloured, height, width)
            yield background, str(index), finished(rng, layer, behind)


def _solids() -> Iterator[Named]:
    for index in range(SOLIDS):
        height, width = SIZES[index % len(SIZES)]
        yield "solid", str(index), render_sample(np.random.default_rng([SEED, index]), height, width, SOLID)


def _whole(corpus: Corpus) -> Iterator[Named]:
    """Whole photographs, with the teacher's mattes in place of true ones."""
    for index, photograph in enumerate(corpus.photographs):
        yield "photograph whole", str(index), Sample(photograph.rgb, photograph.alpha)
