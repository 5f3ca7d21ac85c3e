"""Pictures, mattes and shadows of solid objects match their shapes."""

import cv2
import numpy as np
import pytest

from inference.evaluation.held_out import held_out
from inference.synthetic import mesh, solid_renderer
from inference.synthetic.backgrounds import room
from inference.synthetic.content_mix import DRAWN, EVERYTHING, SOLID, ContentMix
from inference.synthetic.drawn_object import DrawnObject
from inference.synthetic.mesh import Mesh
from inference.synthetic.mesh_lighting import Lamp, lamp_visibility
from inference.synthetic.rasterizer import flatten
from inference.synthetic.scene import SampleStream

GREY = mesh.matt_material(np.full(3, 0.6, np.float32))
KINDS = {kind.build.__name__: kind for kind in solid_renderer._KINDS}

MEANS = {
    ("drawn", 0): [
        [[207.7, 208.4, 208.7, 48.9], [194.2, 194.6, 195.2, 49.8]],
        [[206.1, 201.0, 205.3, 7.9], [185.2, 181.2, 185.2, 27.8]],
    ],
    ("drawn", 1): [
        [[47.0, 28.9, 36.1, 22.5], [55.2, 56.3, 60.3, 70.5]],
        [[62.5, 75.4, 45.9, 89.0], [80.0, 107.2, 77.9, 132.0]],
    ],
    ("drawn", 3): [
        [[198.6, 192.8, 193.4, 70.1], [235.5, 233.2, 226.8, 59.4]],
        [[173.8, 169.9, 165.2, 123.2], [234.4, 234.2, 232.7, 17.2]],
    ],
    ("solid", 0): [
        [[189.8, 190.1, 189.5, 82.6], [220.5, 220.8, 220.4, 57.3]],
        [[244.9, 244.9, 244.9, 3.2], [241.0, 241.0, 241.0, 10.5]],
    ],
    ("solid", 2): [
        [[101.7, 108.8, 84.6, 166.5], [110.4, 107.8, 81.7, 97.6]],
        [[73.3, 70.2, 47.8, 71.3], [72.3, 81.3, 57.7, 146.6]],
    ],
}
"""Mean red, green, blue and alpha in each quarter of some pictures of the two splits."""


def pictured(thing: Mesh, above: float = 0.0, size: int = 200, seed: int = 1) -> DrawnObject:
    cutout = solid_renderer.render_mesh(np.random.default_rng(seed), thing, above, size)
    assert cutout is not None
    return cutout


def enclosed(thing: Mesh) -> float:
    """Volume of a closed mesh by the divergence theorem over its triangles; negative if it is inside out."""
    parts = flatten(thing)
    a, b, c, d = (parts.points[parts.quads[:, k]] for k in range(4))
    return float((np.cross(b, a) * c).sum() + (np.cross(c, a) * d).sum()) / 6


def middle(alpha: np.ndarray) -> int:
    return int(alpha[alpha.shape[0] // 2, alpha.shape[1] // 2])


def test_a_ball_covers_the_area_of_its_disc() -> None:
    alpha = pictured([mesh.superellipsoid((1, 1, 1), GREY, cells=(60, 80))]).alpha / 255
    radius = 0.94 * 200 / 2
    assert alpha.sum() == pytest.approx(np.pi * radius**2, rel=0.01)


@pytest.mark.parametrize(
    ("thing", "volume"),
    [
        ([mesh.superellipsoid((1, 1, 1), GREY, cells=(60, 80))], 4 / 3 * np.pi),
        (mesh.box((1, 2, 3), [GREY]), 48),
        ([mesh.loft(mesh.subdivide([(0, 0), (1, 0), (1, 1), (0, 1)], 0.1, crisp=0), GREY)], np.pi),
        ([mesh.tube(mesh.circle(1, 80), 0.2, GREY, 24, closed=True)], 2 * np.pi**2 * 0.04),
        ([mesh.tube(np.linspace((0, 0, 0), (0, 0, 10), 20, dtype=np.float32), 0.2, GREY, 24)], np.pi * 0.04 * 10.2),
    ],
    ids=["ball", "box", "cylinder", "ring", "rod"],
)
def test_a_surface_looks_outwards_and_encloses_its_volume(thing: Mesh, volume: float) -> None:
    assert enclosed(thing) == pytest.approx(volume, rel=0.03)


def test_the_background_is_visible_through_a_ring() -> None:
    alpha = pictured([mesh.tube(mesh.circle(1), 0.2, GREY, closed=True)]).alpha
    assert middle(alpha) == 0
    assert alpha[alpha.shape[0] // 2].max() == 255


@pytest.mark.parametrize("above", [20, 45, 70, 90])
def test_the_inside_of_a_cup_belongs_to_the_object(above: float) -> None:
    cup = mesh.loft(mesh.subdivide([(0, 0), (0.6, 0), (0.8, 1), (0.7, 1), (0.5, 0.1), (0, 0.1)], 0.07), GREY)
    assert middle(pictured([cup], above).alpha) == 255


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_gives_the_same_object_for_the_same_seed(name: str) -> None:
    kind = KINDS[name]
    first, second = (pictured(kind.build(np.random.default_rng(4)), 30, 96) for _ in range(2))
    assert np.array_equal(first.rgb, second.rgb) and np.array_equal(first.alpha, second.alpha)
    assert first.alpha.max() == 255 and first.rgb.std() > 3


def test_colours_extend_beyond_the_edge() -> None:
    cutout = pictured([mesh.superellipsoid((1, 1, 1), mesh.matt_material(np.ones(3, np.float32)))])
    outside = cutout.rgb[(cutout.alpha > 0) & (cutout.alpha < 128)].mean()
    inside = cutout.rgb[cutout.alpha == 255].mean()
    assert outside > 0.4 * inside


def test_a_roof_casts_a_shadow_on_the_floor() -> None:
    roof, floor = mesh.disc(0.5, 1.0, GREY), mesh.disc(2.0, 0.0, GREY, 41)
    parts = flatten([roof, floor])
    light = lamp_visibility(parts, (0.0, 1.0, 0.0))
    distance = np.linalg.norm(parts.points[:, [0, 2]], axis=1)
    below = parts.owner == 1
    assert light[below & (distance < 0.4)].max() == 0
    assert light[below & (distance > 0.65)].min() == 1
    assert light[parts.owner == 0].min() == 1


def test_a_lamp_on_the_right_casts_a_shadow_to_the_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solid_renderer, "random_lamp", lambda rng: Lamp((0.7, 0.7, 0.1), 0.5))
    pillar = mesh.box((0.3, 1, 0.3), [GREY])
    shadow = pictured(pillar, 30).shadow
    assert shadow is not None
    left, right = shadow[:, : shadow.shape[1] // 2], shadow[:, shadow.shape[1] // 2 :]
    assert float(left.mean()) > 3 * float(right.mean())


def test_the_background_is_visible_between_small_items() -> None:
    balls = [
        mesh.transform([mesh.superellipsoid((1, 1, 1), GREY)], (3 * x, 0, 3 * z)) for x in (-1, 1) for z in (-1, 1)
    ]
    alpha = pictured([patch for ball in balls for patch in ball], 90).alpha
    assert middle(alpha) == 0
    assert alpha[alpha.shape[0] // 8 :: 3 * alpha.shape[0] // 4, alpha.shape[1] // 8].min() == 255


def test_fur_extends_beyond_the_body_and_keeps_its_inside_opaque() -> None:
    ball = [mesh.superellipsoid((1, 1, 1), GREY)]
    bare, furry = (solid_renderer.render_mesh(np.random.default_rng(2), ball, 0, 200, furry) for furry in (False, True))
    assert bare is not None and furry is not None
    assert furry.alpha.shape[0] > bare.alpha.shape[0]
    assert middle(furry.alpha) == 255
    assert ((furry.alpha > 20) & (furry.alpha < 235)).sum() > 2 * ((bare.alpha > 20) & (bare.alpha < 235)).sum()


def test_a_stream_of_solids_repeats_itself() -> None:
    one, same = SampleStream(5, content=SOLID), SampleStream(5, content=SOLID)
    for _ in range(6):
        left, right = one.next(96, 96), same.next(96, 96)
        assert np.array_equal(left.image, right.image) and np.array_equal(left.alpha, right.alpha)


@pytest.mark.parametrize(("split", "index"), list(MEANS))
def test_the_held_out_splits_never_change(split: str, index: int) -> None:
    sample = held_out(index, split)
    quarters = cv2.resize(
        np.dstack((sample.image, sample.alpha)).astype(np.float32), (2, 2), interpolation=cv2.INTER_AREA
    )
    # Values may differ by one level between processors; a different picture differs everywhere.
    assert quarters == pytest.approx(np.array(MEANS[split, index]), abs=0.3)


def test_the_second_split_is_fixed_and_different() -> None:
    solid, again, drawn = held_out(2, "solid"), held_out(2, "solid"), held_out(2)
    assert np.array_equal(solid.image, again.image) and np.array_equal(solid.alpha, again.alpha)
    assert solid.image.shape == drawn.image.shape
    assert not np.array_equal(solid.image, drawn.image)


def test_training_data_has_larger_objects_than_the_first_split() -> None:
    shown = [SampleStream(4, pool=16, content=show) for show in (EVERYTHING, DRAWN)]
    close, usual = ([float(stream.next(64, 64).alpha.mean()) / 255 > 0.6 for _ in range(250)] for stream in shown)
    assert sum(close) > 1.2 * sum(usual)


def test_out_of_focus_objects_in_the_background_are_not_in_the_matte() -> None:
    plain, crowded = (SampleStream(8, pool=1, content=ContentMix(crowded=share)) for share in (0.0, 1.0))
    alone, before_others = plain.next(96, 96), crowded.next(96, 96)
    assert not np.array_equal(alone.image, before_others.image)
    assert 0 < float((before_others.alpha > 0).mean()) < 0.95


@pytest.mark.parametrize(("height", "width"), [(48, 96), (131, 77)])
def test_a_room_fills_the_frame(height: int, width: int) -> None:
    for seed in range(8):
        picture = room(np.random.default_rng(seed), height, width)
        assert picture.shape == (height, width, 3) and picture.dtype == np.float32
        assert picture.min() >= 0 and picture.max() <= 1
