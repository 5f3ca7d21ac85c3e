"""The mix: shapes, shares, and what counts as object."""

import numpy as np
import pytest

from inference.corpus.pictures import Corpus, Photograph
from inference.synthetic.drawn_object import DrawnObject
from inference.training.mix import (
    MixedStream,
    Shares,
    cropped,
    empty_picture,
    photographed_background,
    tiled,
    whole_photograph,
    with_lines,
    with_shadow,
    with_things_behind,
)


def corpus() -> Corpus:
    """One of everything: a red block on blue."""
    rgb = np.full((120, 160, 3), (40, 60, 200), np.uint8)
    alpha = np.zeros((120, 160), np.uint8)
    alpha[40:90, 50:110] = 255
    rgb[alpha > 0] = (220, 30, 30)
    block = DrawnObject(rgb[38:92, 48:112].copy(), alpha[38:92, 48:112].copy(), True, False)
    surface = np.random.default_rng(0).integers(80, 160, (64, 64, 3)).astype(np.uint8)
    return Corpus(
        [block], [block], [block], [Photograph(rgb, alpha)], [np.full((200, 300, 3), 90, np.uint8)], [surface]
    )


ONLY = {
    "whole": Shares(whole=1, composed=0, drawn=0, empty=0),
    "composed": Shares(whole=0, composed=1, drawn=0, empty=0, photographed_objects=1, photographed_backgrounds=1),
    "drawn": Shares(whole=0, composed=0, drawn=1, empty=0),
    "empty": Shares(whole=0, composed=0, drawn=0, empty=1),
}


@pytest.mark.parametrize("kind", ONLY)
def test_every_part_makes_pictures_of_the_size_that_is_asked_for(kind: str) -> None:
    stream = MixedStream(3, corpus(), ONLY[kind])
    for height, width in ((96, 128), (128, 96)):
        sample = stream.next(height, width)
        assert sample.image.shape == (height, width, 3) and sample.image.dtype == np.uint8
        assert sample.alpha.shape == (height, width) and sample.alpha.dtype == np.uint8
        assert (sample.alpha.max() == 0) == (kind == "empty")


def test_the_same_seed_gives_the_same_samples() -> None:
    one, two = (MixedStream(5, corpus()) for _ in range(2))
    for _ in range(6):
        first, second = one.next(64, 96), two.next(64, 96)
        assert (first.image == second.image).all() and (first.alpha == second.alpha).all()


def test_without_a_corpus_there_are_drawings_alone() -> None:
    stream = MixedStream(1, Corpus())
    assert all(stream.next(64, 64).image.shape == (64, 64, 3) for _ in range(8))


def test_a_shadow_is_background() -> None:
    one = corpus()
    plain = np.full((128, 128, 3), 0.8, np.float32)
    shaded = [with_shadow(np.random.default_rng(seed), plain, one.objects[0]) for seed in range(8)]
    assert min(float(picture.min()) for picture in shaded) < 0.6
    stream = MixedStream(2, one, ONLY["empty"])
    samples = [empty_picture(np.random.default_rng(seed), one, stream._composed, 64, 64) for seed in range(12)]
    assert all(sample.alpha.max() == 0 for sample in samples)


def test_an_objects_matte_ends_where_the_object_does_not_where_its_shadow_does() -> None:
    shares = Shares(whole=0, composed=1, drawn=0, empty=0, photographed_objects=1, photographed_backgrounds=1)
    stream = MixedStream(4, corpus(), shares)
    red = 0
    for _ in range(20):
        sample = stream.next(96, 96)
        inside = sample.image[sample.alpha > 250].astype(int)
        red += bool(len(inside)) and inside[:, 0].mean() > inside[:, 1].mean()
    assert red > 12  # the block is red in most lights; what is beside it is grey or blue


def test_a_photograph_keeps_its_matte_on_its_object() -> None:
    photographs = corpus().photographs
    for seed in range(10):
        rgb, alpha = cropped(np.random.default_rng(seed), photographs[0], 96, 96)
        inside, outside = rgb[alpha > 250].mean(axis=0), rgb[alpha < 5].mean(axis=0)
        assert inside[0] > 200 and outside[2] > 180
        assert whole_photograph(np.random.default_rng(seed), photographs, 96, 96).alpha.any()


def test_backgrounds_hold_no_object() -> None:
    for seed in range(12):
        background = photographed_background(np.random.default_rng(seed), corpus(), 64, 80)
        assert background.shape == (64, 80, 3) and background.min() >= 0 and background.max() <= 1
        assert not ((background[..., 0] > 0.75) & (background[..., 1] < 0.25)).any()  # the red block is left out


def test_lines_and_tiles_cover_the_frame() -> None:
    rng = np.random.default_rng(0)
    plain = np.full((64, 96, 3), 0.3, np.float32)
    assert (with_lines(rng, plain) != plain).any()
    assert tiled(rng, corpus().surfaces[0], 64, 96).shape == (64, 96, 3)


def test_things_behind_are_out_of_focus_and_belong_to_the_background() -> None:
    plain, block = np.full((96, 96, 3), 0.5, np.float32), corpus().objects[0]
    for seed in range(6):
        background = with_things_behind(np.random.default_rng(seed), plain, [block] * 3)
        assert background.shape == plain.shape and np.abs(background - plain).max() > 0.1
        assert 0.3 < (np.abs(background - plain).max(axis=2) < 0.02).mean() < 0.99
    stream = MixedStream(3, corpus(), Shares(whole=0, composed=1, drawn=0, empty=0, things_behind=1))
    assert all(0 < stream.next(96, 96).alpha.mean() < 255 for _ in range(6))
