"""Two fake models on one device: who cuts out which picture, and that neither waits for long."""

import threading
from collections.abc import Sequence
from concurrent.futures import wait

import numpy as np
import pytest
from torch import Tensor

from inference import Engine, EngineOptions, Picture
from inference.cascade import RECENT, Cascade, Router, Share, below, surer
from inference.engine import SharedDevice
from inference.errors import DeviceLost, EngineClosed
from inference.models.fake import FakeModel
from inference.models.fake_options import FakeOptions
from inference.picture import Cutout
from inference.review.doubts import Review


def picture(contrast: int, scale: int = 1) -> Picture:
    """A block that differs from its background by `contrast`: by 25 it is undecided, by 200 it is plain."""
    pixels = np.full((60 * scale, 80 * scale, 3), 230, np.uint8)
    pixels[15 * scale : 40 * scale, 20 * scale : 50 * scale] = 230 - contrast
    return Picture(pixels)


PLAIN, FAINT = picture(200), picture(25)


BELOW_HALF = below(0.5)


def cascade(
    fast: FakeModel | None = None, strong: FakeModel | None = None, router: Router = BELOW_HALF, batch: int = 1
) -> Cascade:
    shared, options = SharedDevice(), EngineOptions(batch=batch)
    first, second = (Engine(options, model=model or FakeModel(), shared=shared) for model in (fast, strong))
    return Cascade(first, second, router)


def test_the_strong_model_gets_what_the_fast_one_is_not_sure_of() -> None:
    strong = FakeModel()
    with cascade(strong=strong) as both:
        warm_up = len(strong.batches)
        plain, faint = (both.submit(one).result() for one in (PLAIN, FAINT))
    assert plain.other is None and plain.review is not None and plain.review.confidence >= 0.5
    assert faint.other is not None and faint.review is not None and faint.review.confidence < 0.5
    assert len(strong.batches) - warm_up == 1


def test_of_two_mattes_the_surer_one_stays() -> None:
    fast, strong = (Cutout(np.zeros((2, 2, 4), np.uint8), review=Review(value)) for value in (0.3, 0.6))
    better, kept, alike = surer(fast, strong), surer(strong, fast), surer(fast, fast)
    assert (better.by_strong, better.review, better.other) == (True, strong.review, fast.review)
    assert (kept.by_strong, kept.review, kept.other) == (False, strong.review, fast.review)
    assert not alike.by_strong


def test_an_announced_picture_goes_the_same_way() -> None:
    with cascade() as both, both.announce() as submit:
        assert submit(FAINT).result().other is not None


class GatedModel(FakeModel):
    """Waits in its second batch, the one after the warm-up, until the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.gate = threading.Event(), threading.Event()

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        if self.batches and not self.reached.is_set():
            self.reached.set()
            self.gate.wait()
        return super().coarse(batch)


def test_the_fast_model_waits_for_no_more_than_one_batch_of_the_strong_one() -> None:
    """Given three pictures for the strong model, when a plain one comes, then it passes all but the first of them."""
    order: list[str] = []
    shared, gated = SharedDevice(), GatedModel()
    fast = Engine(EngineOptions(batch=4), model=FakeModel(), shared=shared, on_batch=lambda stats: order.append("fast"))
    strong = Engine(EngineOptions(batch=1), model=gated, shared=shared, on_batch=lambda stats: order.append("strong"))
    with Cascade(fast, strong, below(0.5)) as both:
        faint = [both.submit(FAINT)]
        gated.reached.wait()
        plain = both.submit(PLAIN)
        faint += [strong.submit(FAINT) for _ in range(2)]
        gated.gate.set()
        wait([plain, *faint])
    assert order == ["fast", "strong", "fast", "strong", "strong"]


def test_a_picture_too_large_for_the_strong_model_is_left_to_the_fast_one() -> None:
    with cascade(strong=FakeModel(FakeOptions(oom_pixels=20_000))) as both:
        assert both.submit(picture(25, scale=9)).result().other is None


@pytest.mark.parametrize("broken", ["fast", "strong"])
def test_a_failure_of_either_model_loses_the_device(broken: str) -> None:
    models = {broken: FakeModel(FakeOptions(fail_at=2))}
    with cascade(models.get("fast"), models.get("strong")) as both:
        with pytest.raises(DeviceLost):
            both.submit(FAINT).result()
        assert both.lost.is_set()


def test_what_was_submitted_is_finished_when_the_cascade_closes() -> None:
    both = cascade()
    futures = [both.submit(one) for one in (FAINT, PLAIN, FAINT)]
    both.start()
    both.close()
    assert [future.result().other is not None for future in futures] == [True, False, True]
    with pytest.raises(EngineClosed):
        both.submit(PLAIN)


def test_figures_of_both_models_are_added() -> None:
    with cascade(FakeModel(FakeOptions(oom_above=1)), batch=2) as both:
        both.submit(FAINT).result()
        assert (both.batch_limit, both.places, both.stats().running) == (2, 4, 0)
        assert both.stats().busy_seconds >= both.fast.stats().busy_seconds


def test_a_share_is_kept_however_the_confidences_lie() -> None:
    rng = np.random.default_rng(1)
    kinds = {
        "all different": rng.random(2000),
        "all alike": np.full(2000, 0.9),
        "few values": rng.integers(0, 4, 2000) / 4,
        "worse than expected": rng.random(2000) * 0.3,
    }
    for name, confidences in kinds.items():
        share = Share(0.15, np.linspace(0.5, 1, 101).tolist())
        sent = [share(float(value)) for value in confidences]
        assert 0.12 < np.mean(sent[RECENT:]) < 0.18, name


def test_a_share_takes_the_least_sure() -> None:
    share = Share(0.2, np.linspace(0, 1, 101).tolist())
    values = np.random.default_rng(2).random(1000)
    sent = np.array([share(float(value)) for value in values])
    assert values[sent].max() < 0.3 and values[~sent].min() > 0.1


def test_no_share_and_all_of_it() -> None:
    for share in (0.0, 1.0):
        decide = Share(share, [0.2, 0.4, 0.6])
        assert {decide(value) for value in (0.1, 0.5, 0.9, 0.9)} == {share == 1.0}
