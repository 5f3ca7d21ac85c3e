"""CV-UNet in the engine: a matte depends neither on the rest of the batch nor on the precision."""

import numpy as np
import pytest
import torch

from inference import Engine, EngineOptions, Picture
from inference.models.native import CVUNetModel
from inference.models.registry import resolve
from inference.resampling import resize_pixels, to_canvas
from inference.rgba import rgb_to_rgbx
from inference.synthetic import render_sample


def test_a_picture_gets_the_same_matte_alone_and_in_a_batch() -> None:
    samples = [render_sample(np.random.default_rng([7, i]), 240, 320) for i in range(4)]
    pictures = [Picture(s.image) for s in samples]
    with Engine(EngineOptions(batch=4, max_wait=30)) as engine:
        alone = [engine.submit(p).result().pixels for p in pictures]
        with engine.announce() as last:  # holds the batch open until all four are in
            futures = [engine.submit(p) for p in pictures[:3]]
            together = [p.result().pixels for p in [*futures, last(pictures[3])]]
        assert engine.submit(pictures[0]).result().stats is not None
    for a, b in zip(alone, together, strict=True):
        assert np.abs(a[..., 3].astype(int) - b[..., 3]).max() <= 1


@torch.inference_mode()
def test_refining_at_half_the_size_gives_nearly_the_same_matte() -> None:
    model = CVUNetModel(resolve("nano"))
    model.load(torch.device("cpu"))
    picture = rgb_to_rgbx(torch.from_numpy(render_sample(np.random.default_rng(5), 480, 640).image))
    coarse = model.coarse(to_canvas(picture, model.canvas(640, 480), model.dtype))
    full, half = model.refine(picture, coarse), model.refine(resize_pixels(picture, (240, 320)), coarse)
    assert half.shape == (240, 320)
    assert (resize_pixels(half[..., None], (480, 640))[..., 0].int() - full.int()).abs().float().mean() < 3


@torch.inference_mode()
def test_sixteen_bits_are_as_accurate_as_thirty_two() -> None:
    errors: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for dtype, found in errors.items():
        model = CVUNetModel(resolve("nano"))
        model.load(torch.device("cpu"))
        model.use(model.network.to(dtype))
        for number in range(12):
            sample = render_sample(np.random.default_rng([11, number]), 240, 320)
            pixels = rgb_to_rgbx(torch.from_numpy(sample.image))
            alpha = model.refine(pixels, model.coarse(to_canvas(pixels, model.canvas(320, 240), dtype)))
            found.append(np.abs(alpha.numpy().astype(int) - sample.alpha).mean() / 255)
    assert abs(np.mean(errors[torch.bfloat16]) - np.mean(errors[torch.float32])) < 0.001


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_matte_as_the_cpu() -> None:
    picture = Picture(render_sample(np.random.default_rng(3), 480, 640).image)
    with Engine(EngineOptions(device="cpu")) as cpu, Engine(EngineOptions(device="cuda")) as gpu:
        one, two = (e.submit(picture).result().pixels[..., 3].astype(int) for e in (cpu, gpu))
    assert np.abs(one - two).mean() < 0.5
