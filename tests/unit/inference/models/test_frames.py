"""The shipped model on objects that leave the frame, and on pictures without an object.

The drawings are the training's, from seeds of their own; the bounds are loose enough for any decent model to keep.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference import Engine, EngineOptions, Picture
from inference.synthetic import Sample
from inference.synthetic.backgrounds import plain_backdrop, render_background, studio_backdrop
from inference.synthetic.camera import photograph
from inference.synthetic.drawn_object import DrawnObject
from inference.synthetic.flat_objects import render_object
from inference.synthetic.pixels import mix, to_bytes, to_floats

Pixels = NDArray[np.uint8]
Figures = Callable[[str], None]

SIDE, OBJECTS = 480, 8
INSIDE = 10
"""Distance in pixels from the border to the line that the border is compared with."""
LEFT = 0.65
"""The share of an object's width or height that is within the frame."""
BORDERS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "left": lambda depth: np.s_[:, depth],
    "right": lambda depth: np.s_[:, -1 - depth],
    "top": lambda depth: np.s_[depth, :],
    "bottom": lambda depth: np.s_[-1 - depth, :],
}


@pytest.fixture(scope="module")
def alpha_of() -> Iterator[Callable[[Pixels], Pixels]]:
    """The shipped model's alpha for a picture."""
    with Engine(EngineOptions()) as engine:
        yield lambda pixels: engine.submit(Picture(np.ascontiguousarray(pixels))).result().pixels[..., 3]


# The frame.


def whole_object(rng: np.random.Generator) -> DrawnObject:
    """Any object but a portrait, which is cut off anyway."""
    while (cutout := render_object(rng, SIDE * 3 // 4)).cut_below:
        pass
    return cutout


def cut_off(border: str, number: int) -> Sample:
    """An object on a plain background, a third of it beyond one border, centred in the other direction."""
    rng = np.random.default_rng([21, number])
    cutout = whole_object(rng)
    background = np.clip((plain_backdrop if number % 2 else studio_backdrop)(rng, SIDE, SIDE), 0, 1).astype(np.float32)
    rows, columns = cutout.alpha.shape
    high, wide = (round(length * LEFT) for length in (rows, columns))
    seen, top, left = {
        "left": (np.s_[:, columns - wide :], (SIDE - rows) // 2, 0),
        "right": (np.s_[:, :wide], (SIDE - rows) // 2, SIDE - wide),
        "top": (np.s_[rows - high :, :], 0, (SIDE - columns) // 2),
        "bottom": (np.s_[:high, :], SIDE - high, (SIDE - columns) // 2),
    }[border]
    rgb, alpha = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    shown = cutout.alpha[seen]
    place = np.s_[top : top + shown.shape[0], left : left + shown.shape[1]]
    rgb[place], alpha[place] = cutout.rgb[seen], shown
    return Sample(to_bytes(mix(background, to_floats(rgb), to_floats(alpha))), alpha)


@pytest.mark.parametrize("border", BORDERS)
def test_an_object_is_not_cut_where_it_leaves_the_frame(
    border: str, alpha_of: Callable[[Pixels], Pixels], figures: Figures
) -> None:
    samples = [cut_off(border, number) for number in range(OBJECTS)]
    wrong = [np.abs(alpha_of(sample.image).astype(int) - sample.alpha) / 255 for sample in samples]
    outermost, inside = (np.mean([error[BORDERS[border](depth)] for error in wrong]) for depth in (0, INSIDE))
    shown = np.mean([sample.alpha[BORDERS[border](0)] for sample in samples]) / 255
    figures(
        f"objects cut by the frame, {border}: mean error {outermost:.3f} at the border, where they cover {shown:.2f}"
        f" of it; {inside:.3f} {INSIDE} pixels inside"
    )
    assert shown > 0.2
    assert outermost < 0.12
    assert outermost < inside + 0.05


# Pictures without an object.


def grain(number: int, strength: float) -> Pixels:
    """A uniform grey surface with a camera's noise in low light."""
    noise = np.random.default_rng(number).normal(140, strength, (360, SIDE, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def plain(*colour: int) -> Pixels:
    return np.full((360, SIDE, 3), colour, np.uint8)


def ramp() -> Pixels:
    return np.broadcast_to(np.linspace(40, 230, SIDE).astype(np.uint8)[None, :, None], (360, SIDE, 3))


FLAT = {
    "white": plain(255, 255, 255),
    "grey": plain(128, 128, 128),
    "black": plain(0, 0, 0),
    "red": plain(200, 30, 20),
    "ramp": ramp(),
    "ramp, upright": ramp().transpose(1, 0, 2),
    "grain": grain(1, 8),
    "coarse grain": grain(2, 25),
}


@pytest.mark.parametrize("name", FLAT)
def test_a_flat_picture_has_no_matte(name: str, alpha_of: Callable[[Pixels], Pixels]) -> None:
    assert alpha_of(FLAT[name]).mean() / 255 < 0.01


def test_a_background_without_an_object_has_a_low_matte(alpha_of: Callable[[Pixels], Pixels], figures: Figures) -> None:
    shares = []
    for number in range(40):
        rng = np.random.default_rng([22, number])
        shares.append(float(alpha_of(photograph(rng, render_background(rng, 320, 400))).mean()) / 255)
    worst = ", ".join(f"{share:.3f}" for share in sorted(shares)[-3:])
    empty = sum(share <= 0.001 for share in shares)
    static = float(alpha_of(np.random.default_rng(3).integers(0, 256, (360, SIDE, 3), np.uint8)).mean()) / 255
    figures(
        f"backgrounds without an object: mean coverage {np.mean(shares):.3f}, {empty} of {len(shares)} at most 0.001, "
        f"the worst {worst}; nothing but random colours: {static:.3f}"
    )
    assert np.median(shares) < 0.002
    assert np.mean(shares) < 0.08
