"""Drawn samples are reproducible, well formed and never degenerate."""

import cv2
import numpy as np
import pytest

from inference.synthetic import Sample, SampleStream, render_sample


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = np.random.default_rng(7)
    return [render_sample(rng, 96, 96) for _ in range(60)]


def share(sample: Sample) -> float:
    return float(sample.alpha.mean()) / 255


def test_the_same_seed_renders_the_same_sample() -> None:
    first, second = (render_sample(np.random.default_rng(3), 80, 80) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.alpha, second.alpha)


def test_another_seed_renders_another_sample() -> None:
    first, second = (render_sample(np.random.default_rng(seed), 80, 80) for seed in (3, 4))
    assert not np.array_equal(first.image, second.image)


def test_streams_are_equal_for_equal_seeds_and_differ_otherwise() -> None:
    one, same, other = SampleStream(5), SampleStream(5), SampleStream(6)
    for _ in range(12):
        left, right = one.next(64, 64), same.next(64, 64)
        assert np.array_equal(left.image, right.image)
        assert np.array_equal(left.alpha, right.alpha)
    assert not np.array_equal(one.next(64, 64).image, other.next(64, 64).image)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (131, 77), (48, 160), (160, 160)])
def test_any_size_gives_contiguous_bytes_of_that_size(height: int, width: int) -> None:
    for sample in (render_sample(np.random.default_rng(1), height, width), SampleStream(1).next(height, width)):
        assert sample.image.shape == (height, width, 3)
        assert sample.alpha.shape == (height, width)
        assert sample.image.dtype == sample.alpha.dtype == np.uint8
        assert sample.image.flags.c_contiguous
        assert sample.alpha.flags.c_contiguous


def test_a_stream_may_change_its_size_between_samples() -> None:
    stream = SampleStream(2, fresh=0.2)
    for side in [64] * 12 + [96, 48] * 6:
        assert stream.next(side, side).alpha.shape == (side, side)


def test_objects_are_neither_specks_nor_the_whole_frame(samples: list[Sample]) -> None:
    shares = [share(s) for s in samples if s.alpha.any()]
    assert min(shares) > 0.005
    assert max(shares) < 0.97


def test_few_samples_have_no_object(samples: list[Sample]) -> None:
    assert sum(not s.alpha.any() for s in samples) <= 6


def test_mattes_have_opaque_insides_and_soft_edges(samples: list[Sample]) -> None:
    full = [s for s in samples if s.alpha.any()]
    solid = [bool((s.alpha > 250).mean() > 0.003) for s in full]
    soft = [bool(((s.alpha > 20) & (s.alpha < 235)).any()) for s in full]
    assert np.mean(solid) > 0.9
    assert all(soft)


def test_soft_pixels_are_a_small_share_of_most_pictures(samples: list[Sample]) -> None:
    shares = [float(((s.alpha > 20) & (s.alpha < 235)).mean()) for s in samples if s.alpha.any()]
    assert np.median(shares) < 0.15


def test_objects_can_be_distinguished_from_their_surroundings(samples: list[Sample]) -> None:
    kernel = np.ones((9, 9), np.uint8)
    visible = []
    for sample in samples:
        inside = sample.alpha > 240
        around = (cv2.dilate(sample.alpha, kernel) > 20) & (sample.alpha < 10)
        if inside.any() and around.any():
            image = sample.image.astype(np.float32)
            visible.append(float(np.abs(image[inside].mean(axis=0) - image[around].mean(axis=0)).max()))
    assert np.median(visible) > 15


def test_a_stream_without_fresh_parts_recombines_the_ones_it_has() -> None:
    stream = SampleStream(9, fresh=0.0, pool=8)
    pictures = [stream.next(64, 64) for _ in range(40)]
    assert len(stream._objects) <= 8
    assert len(stream._backgrounds) <= 8
    assert len({p.image.tobytes() for p in pictures}) == 40


def test_a_pool_never_outgrows_its_limit() -> None:
    stream = SampleStream(9, fresh=1.0, pool=3)
    for _ in range(10):
        stream.next(48, 48)
    assert len(stream._objects) <= 3
    assert len(stream._backgrounds) <= 3
