"""The pixels of outputs: backgrounds, shadows, masks and edges."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inference.codec import encode
from inference.compose import NO_METADATA, PLAIN, OutputSpec, compose
from inference.errors import BackgroundUnreadable
from inference.picture import Box, Cutout
from tests.equipment.composing import TEXT, block, disc, made, opened
from tests.equipment.encoded_pictures import cutout, far


def test_the_plain_png_is_byte_for_byte_what_encode_writes():
    subject = disc()
    composed = compose(subject, PLAIN, NO_METADATA, TEXT, png_level=2)
    assert composed.data == encode(subject, text=TEXT, level=2)
    assert (composed.width, composed.height, composed.box) == (120, 90, subject.box)


def test_the_text_may_depend_on_the_objects_box():
    seen: list[Box | None] = []

    def text(box: Box | None) -> dict[str, str]:
        seen.append(box)
        return {}

    composed = compose(disc(), OutputSpec(trim=True), NO_METADATA, text)
    assert seen == [composed.box] == [Box(0, 0, composed.width, composed.height)]


@pytest.mark.parametrize("options", [{"trim": True}, {"canvas": "1:1", "share": 0.5}, {"canvas": "1:1"}])
def test_pixels_that_are_not_scaled_keep_their_values(options: dict[str, Any]):
    subject = block(60, 40, (10, 5, 30, 25))
    subject.pixels[6:10, 12:20, 3] = 77
    composed = made(subject, **options)
    assert composed.box is not None
    box, pixels = composed.box, opened(composed)
    inside = pixels[box.top : box.bottom, box.left : box.right]
    assert np.array_equal(inside, subject.pixels[5:25, 10:30])
    assert pixels[..., 3].sum() == subject.pixels[..., 3].sum()


def test_no_hidden_colour_reaches_an_edge_when_scaled():
    for side in (47, 301):
        pixels = opened(made(disc(), canvas=f"{side}x{side}", share=0.9)).astype(int)
        alpha = pixels[..., 3:]
        # The object's own green is at most 123, its blue always 40; the hidden green has 255 and 0.
        seen = pixels * alpha / 255
        assert (seen[..., 1] <= 140 * alpha[..., 0] / 255 + 1).all(), "a filter overshoots by a tenth"
        assert np.abs(seen[..., 2] - 40 * alpha[..., 0] / 255).max() <= 2.5
        assert not pixels[alpha[..., 0] == 0].any()


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0)])
def test_a_scaled_object_of_one_colour_has_that_colour_everywhere(colour: tuple[int, int, int]):
    subject = block(200, 200, (33, 41, 150, 170), colour)
    for options in ({"max_side": 77}, {"canvas": "333x333", "share": 0.9}):
        pixels = opened(made(subject, **options))
        assert (pixels[pixels[..., 3] > 0, :3] == colour).all()
        assert (opened(made(subject, background="#ffffff", **options))[..., 1].max()) == 255
        on_itself = opened(made(subject, background="#{:02x}{:02x}{:02x}".format(*colour), **options))
        assert (on_itself == colour).all()


def test_scaling_and_blending_can_change_places():
    subject = Cutout(cutout(300, 240))
    y, x = np.mgrid[:240, :300]
    subject.pixels[..., 3] = 128 + 70 * np.sin(x / 5) * np.cos(y / 7)  # no alpha that a filter's overshoot would clip
    scaled = opened(made(subject, background="#c0d0e0", max_side=100))
    whole = Image.fromarray(opened(made(subject, background="#c0d0e0")))
    assert far(scaled, np.asarray(whole.resize((100, 80), Image.Resampling.LANCZOS))) <= 2


@pytest.mark.parametrize("quality", [70, 92, 100])
def test_a_white_background_is_pure_white_after_jpeg(quality: int):
    pixels = opened(made(disc(400, 300, 90), format="jpeg", background="white", quality=quality, shadow=0))
    y, x = np.mgrid[:300, :400]
    beyond = np.hypot(x - 200, y - 150) > 91 + 12  # the blocks of 8 x 8 pixels that hold no part of the object
    assert (pixels[beyond] == 255).all()
    assert pixels[150, 200].max() < 200


@pytest.mark.parametrize("options", [{}, {"canvas": "300x300", "share": 0.5}, {"trim": True, "margin": "20%"}])
def test_a_faint_haze_does_not_grey_a_white_background(options: dict[str, Any]):
    subject = block(200, 200, (80, 80, 140, 140))
    subject.pixels[subject.pixels[..., 3] == 0] = (20, 20, 20, 9)
    on_white = made(subject, background="white", **options)
    pixels, box = opened(on_white).copy(), on_white.box
    assert box is not None
    pixels[box.top - 2 : box.bottom + 2, box.left - 2 : box.right + 2] = 255
    assert (pixels == 255).all()
    assert (opened(made(subject, **options))[..., 3] > 0).any(axis=1).all(), "a transparent output keeps the matte"


def test_a_picture_as_background_covers_the_frame_and_is_cropped_around_its_centre(tmp_path: Path):
    background = np.zeros((50, 200, 3), np.uint8)
    background[:, 75:125] = (10, 200, 90)
    Image.fromarray(background).save(tmp_path / "background.png")
    pixels = opened(made(block(60, 60, (20, 20, 40, 40)), background=str(tmp_path / "background.png")))
    assert (pixels[20:40, 20:40] == (200, 40, 30)).all()
    assert far(pixels[5:55, 5:15], np.broadcast_to((10, 200, 90), (50, 10, 3))) <= 1
    assert pixels.shape == (60, 60, 3)


def test_a_changed_background_is_read_again(tmp_path: Path):
    path = tmp_path / "background.png"
    for colour in ((10, 20, 30), (90, 80, 70)):
        Image.new("RGB", (8, 8), colour).save(path)
        assert tuple(opened(made(block(9, 9, (3, 3, 6, 6)), background=str(path)))[0, 0]) == colour


def test_a_background_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(BackgroundUnreadable, match=r"gone\.png cannot be read: No such file"):
        made(disc(), background=str(tmp_path / "gone.png"))
    (tmp_path / "letter.png").write_bytes(b"Dear all")
    with pytest.raises(BackgroundUnreadable, match=r"letter\.png cannot be read: .*correct the output's background"):
        made(disc(), background=str(tmp_path / "letter.png"))


def test_a_mask_is_alpha_alone():
    subject = disc()
    assert np.array_equal(opened(made(subject, content="mask")), subject.pixels[..., 3])
    moved = opened(made(subject, content="mask", canvas="200x200", share=0.5))
    assert moved.shape == (200, 200) and moved[100, 100] == 255 and moved[0, 0] == 0


@pytest.mark.parametrize("options", [{"background": "white"}, {}])
def test_a_shadow_lies_under_the_foot_and_nowhere_else(options: dict[str, Any]):
    subject = block(400, 400, (100, 100, 300, 300))
    plain = opened(made(subject, canvas="400x400", **options)).astype(int)
    shaded = opened(made(subject, canvas="400x400", shadow=0.6, **options)).astype(int)
    darkness = (plain - shaded)[..., 0] if options else shaded[..., 3] - plain[..., 3]
    assert np.array_equal(shaded[100:300, 100:300], plain[100:300, 100:300])
    assert darkness.min() == 0
    assert darkness[301, 200] > 50, "dark where the object stands"
    assert darkness[301, 200] > darkness[306, 200] > darkness[311, 200], "and fading away from it"
    assert abs(int(darkness[303, 130]) - int(darkness[303, 269])) <= 1, "alike on both sides"
    assert not darkness[:250].any() and not darkness[340:].any() and not darkness[:, :50].any()


def test_what_hangs_above_the_ground_casts_no_contact_shadow():
    subject = block(400, 400, (100, 100, 160, 300))
    subject.pixels[100:200, 160:300] = (200, 40, 30, 255)  # an arm, half of the object's height above the foot
    shaded = opened(made(subject, background="white", shadow=1))[..., 0]
    assert shaded[303, 130] < 215
    assert (shaded[200:300, 240:] == 255).all()


def test_nothing_visible_gives_an_empty_background():
    empty = block(40, 30, (0, 0, 0, 0))
    composed = made(empty, format="jpeg", background="white", canvas="100x100", share=0.8, shadow=0.5)
    assert composed.box is None
    assert (opened(composed) == 255).all()
    assert opened(made(empty, trim=True)).shape == (30, 40, 4)


def test_faint_pixels_do_not_widen_the_object():
    for alpha, box in ((12, Box(20, 20, 30, 30)), (13, Box(3, 2, 30, 30))):
        subject = block(50, 50, (20, 20, 30, 30))
        subject.pixels[2, 3] = (9, 9, 9, alpha)
        assert subject.box == box
