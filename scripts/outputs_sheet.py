"""Draws docs/images/outputs.jpg and presets.jpg: what each option and each preset makes of three drawn products.

Run it with `make sheets`. The products are drawn with exact mattes, so the sheets show the outputs, not a network.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from inference.compose import NO_METADATA, PRESETS, OutputSpec, compose
from inference.evaluation.contact_sheet import HAIRLINE, Row, contact_sheet
from inference.picture import Cutout
from inference.synthetic import SOLID
from inference.synthetic.backgrounds import render_background

IMAGES = Path("docs/images")
FRAME = (1500, 1200)
"""Width and height of the photos."""
PRODUCTS = {"cup": (5, (520, 420)), "bag": (10, (180, 130)), "bench": (1, (330, 500))}
"""Number of the drawing, and where in its photo the product is."""
SEED, SIZE = 77, 700
CELL = 190

OPTIONS: dict[str, dict[str, Any]] = {
    "the plain PNG": {},
    "content = mask": {"content": "mask"},
    "trim, margin = 5%": {"trim": True, "margin": "5%"},
    "background = #e8e2d8": {"background": "#e8e2d8", "trim": True, "margin": "12%"},
    "background = wall.png": {"canvas": "1:1", "share": 0.8, "shadow": 0.6, "align": "foot"},
    "shadow = 0.6": {"canvas": "1:1", "share": 0.8, "shadow": 0.6, "background": "white"},
    "canvas 4:5, foot": {"canvas": "4:5", "share": 0.8, "align": "foot", "shadow": 0.6, "background": "#f1f2f4"},
}


def main() -> None:
    """Draw both sheets."""
    wall = _drawn_wall(IMAGES.parent.parent / "runs" / "wall.png")
    OPTIONS["background = wall.png"]["background"] = str(wall)
    cutouts = {name: _cutout(number, place) for name, (number, place) in PRODUCTS.items()}
    rows = [
        Row(name, [_framed(_photo(cutout)), *(_framed(_made(cutout, OutputSpec(**o))) for o in OPTIONS.values())])
        for name, cutout in cutouts.items()
    ]
    contact_sheet(rows, ["photo", *OPTIONS], IMAGES / "outputs.jpg", CELL)
    presets = [
        Row(name, [_framed(_made(cutout, preset.spec)) for preset in PRESETS.values()])
        for name, cutout in cutouts.items()
    ]
    contact_sheet(presets, list(PRESETS), IMAGES / "presets.jpg", CELL)


def _drawn_wall(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    _picture(render_background(np.random.default_rng([SEED, 4]), 900, 900)).save(path)
    return path


def _cutout(number: int, place: tuple[int, int]) -> Cutout:
    """A photo-sized cut-out of a drawn product."""
    drawn = SOLID.render(np.random.default_rng([SEED, number]), SIZE)
    pixels = np.zeros((FRAME[1], FRAME[0], 4), np.uint8)
    height, width = drawn.alpha.shape
    pixels[place[1] : place[1] + height, place[0] : place[0] + width] = np.dstack([drawn.rgb, drawn.alpha])
    return Cutout(pixels)


def _photo(cutout: Cutout) -> Image.Image:
    """The product before a drawn background, as a camera would have seen it."""
    background = _picture(render_background(np.random.default_rng([SEED, 12]), FRAME[1], FRAME[0]))
    layer = Image.fromarray(cutout.pixels)
    background.paste(layer, (0, 0), layer)
    return background


def _picture(colours: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(np.rint(colours.clip(0, 1) * 255).astype(np.uint8))


def _made(cutout: Cutout, spec: OutputSpec) -> Image.Image:
    return Image.open(io.BytesIO(compose(cutout, spec, NO_METADATA, {}).data))


def _framed(picture: Image.Image) -> Image.Image:
    """Scale to a cell and add a line around it, because a white background has no visible edge on white paper."""
    small = ImageOps.contain(picture, (CELL - 2, CELL - 2), Image.Resampling.LANCZOS)
    if small.mode == "RGBA":
        return small
    return ImageOps.expand(small.convert("RGB"), 1, HAIRLINE)


if __name__ == "__main__":
    main()
