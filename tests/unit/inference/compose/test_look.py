"""Cut-outs as a request wants them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from inference.compose.look import Drawn, Look, Rgba, draw, draw_layers, keep_inside
from inference.compose.placement import NO_MARGINS, Placement
from inference.compose.values import Format
from inference.errors import OutputDoesNotFit
from inference.picture import Box, Cutout

RED = (200, 30, 40)
BLUE = (0, 0, 255, 255)
VEIL = (0, 0, 255, 128)


@pytest.fixture(scope="module")
def cutout() -> Cutout:
    """An opaque red rectangle of 60 x 30 in the middle of nothing, 120 x 80."""
    pixels = np.zeros((80, 120, 4), np.uint8)
    pixels[25:55, 30:90] = (*RED, 255)
    return Cutout(pixels)


def shown(drawn: Drawn) -> Image.Image:
    image = Image.open(io.BytesIO(drawn.data))
    image.load()
    assert image.size == (drawn.width, drawn.height)
    assert image.format == drawn.format.value.upper()
    return image


def near(found: object, wanted: tuple[int, ...]) -> bool:
    return bool(np.abs(np.asarray(found, int) - wanted).max() <= 3)


@pytest.mark.parametrize(
    ("look", "format", "mode", "corner", "middle"),
    [
        (Look(), "PNG", "RGBA", (0, 0, 0, 0), (*RED, 255)),
        (Look(format=Format.WEBP), "WEBP", "RGBA", (0, 0, 0, 0), (*RED, 255)),
        (Look(format=Format.JPEG), "JPEG", "RGB", (255, 255, 255), RED),
        (Look(colour=BLUE), "JPEG", "RGB", (0, 0, 255), RED),
        (Look(colour=BLUE, format=Format.PNG), "PNG", "RGB", (0, 0, 255), RED),
        (Look(colour=VEIL), "PNG", "RGBA", (0, 0, 255, 128), (*RED, 255)),
        (Look(colour=VEIL, format=Format.JPEG), "JPEG", "RGB", (127, 127, 255), RED),
        (Look(is_mask=True), "PNG", "L", (0,), (255,)),
        (Look(is_mask=True, format=Format.JPEG), "JPEG", "L", (0,), (255,)),
    ],
)
def test_background_and_format(
    look: Look, format: str, mode: str, corner: tuple[int, ...], middle: tuple[int, ...], cutout: Cutout
) -> None:
    image = shown(draw(cutout, look))
    assert (image.format, image.mode, image.size) == (format, mode, (120, 80))
    assert near(image.getpixel((0, 0)), corner)
    assert near(image.getpixel((60, 40)), middle)


@pytest.mark.parametrize("colour", [None, BLUE, VEIL])
def test_a_picture_as_background_takes_the_place_of_a_colour(colour: Rgba | None, cutout: Cutout) -> None:
    image = shown(draw(cutout, Look(colour=colour, format=Format.PNG), Image.new("RGB", (7, 9), "lime")))
    assert (image.mode, image.getpixel((0, 0)), image.getpixel((60, 40))) == ("RGB", (0, 255, 0), RED)
    assert draw(cutout, Look(), Image.new("RGB", (7, 9), "lime")).format is Format.JPEG


def test_the_background_is_seen_at_the_crops_own_size(cutout: Cutout) -> None:
    image = shown(draw(cutout, Look(placement=Placement(crop=NO_MARGINS), colour=BLUE, format=Format.PNG)))
    assert image.size == (60, 30) and image.getcolors() == [(1800, RED)]


def test_a_shadow_darkens_what_is_below(cutout: Cutout) -> None:
    image = shown(draw(cutout, Look(shadow=0.6, colour=(255, 255, 255, 255), format=Format.PNG)))
    assert near(image.getpixel((0, 0)), (255, 255, 255))
    assert max(np.asarray(image)[56, 60]) < 230


def test_the_layers_put_together_are_the_cutout(cutout: Cutout) -> None:
    colours, alpha = (np.asarray(shown(layer)) for layer in draw_layers(cutout, Look()))
    assert (alpha == cutout.pixels[..., 3]).all()
    assert near(colours[40, 60], RED) and not colours[0, 0].any()


def test_what_is_outside_of_a_region_is_removed(cutout: Cutout) -> None:
    assert keep_inside(cutout, Box(0, 0, 50, 80)).box == Box(30, 25, 50, 55)


def test_a_format_that_is_too_small_is_refused(cutout: Cutout) -> None:
    wide = Cutout(np.zeros((1, 20_000, 4), np.uint8))
    with pytest.raises(OutputDoesNotFit, match="16383"):
        draw(wide, Look(format=Format.WEBP))
