"""Textured models: reading their files, and pictures whose mattes and shadows are known."""

import io

import numpy as np
import pytest
from PIL import Image

from inference.corpus.rendering import SHADOW_SIDE, rasterised, render
from inference.corpus.wavefront import ModelFileError, Triangles, read_model

CUBE = """mtllib cube.mtl
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
vt 0 0
vt 1 0
vt 1 1
usemtl red
f 5/1 6/2 7/3 8/1
f 1 2 3 4
f 1 2 6 5
f -5 -6 -2 -1
f 2 3 7 6
f 1 4 8 5
"""
MATERIALS = "newmtl red\nKd 0.8 0.1 0.1\nKs 0.1 0.1 0.1\n"


def files(obj: str = CUBE, mtl: str = MATERIALS, wood: bytes | None = None):
    contents = {"a/cube.obj": obj.encode(), "a/cube.mtl": mtl.encode()}
    contents |= {"a/wood.png": wood} if wood else {}
    return lambda name: contents[name]


def cube(obj: str = CUBE, mtl: str = MATERIALS) -> Triangles:
    return read_model("a/cube.obj", files(obj, mtl))


def png(mode: str, colour: tuple[int, ...]) -> bytes:
    content = io.BytesIO()
    Image.new(mode, (8, 8), colour).save(content, "PNG")
    return content.getvalue()


def test_faces_become_triangles() -> None:
    model = cube()
    assert model.points.shape == (12, 3, 3) and model.places.shape == (12, 3, 2)
    assert np.allclose(np.linalg.norm(model.normals, axis=2), 1)
    assert {model.materials[i].colour[0].round(1) for i in set(model.owner.tolist())} == {np.float32(0.8)}
    assert model.places[0].tolist() == [[0, 0], [1, 0], [1, 1]]


def test_a_texture_is_read_and_one_that_is_missing_is_left_out() -> None:
    textured = MATERIALS + "map_Kd wood.png\n"
    model = read_model("a/cube.obj", files(mtl=textured, wood=png("RGB", (10, 200, 10))))
    assert model.materials[1].texture is not None
    assert cube(mtl=textured).materials[1].texture is None
    with pytest.raises(ModelFileError, match="see-through"):
        read_model("a/cube.obj", files(mtl=textured, wood=png("RGBA", (10, 200, 10, 20))))


@pytest.mark.parametrize("obj", ["v 1 2 3\n", "v 1 2 3\nf 1 2 9\n", "v 1 2\nf 1 1 1\n", "v a b c\n"])
def test_a_damaged_model_is_refused(obj: str) -> None:
    with pytest.raises(ModelFileError):
        read_model("a/cube.obj", files(obj=obj))


def test_the_nearest_triangle_is_shown() -> None:
    corners = np.array(
        [[(0, 0), (16, 0), (0, 16)], [(0, 0), (16, 0), (0, 16)], [(8, 8), (16, 8), (16, 16)]], np.float32
    )
    nearness = np.array([[0.5] * 3, [0.7] * 3, [0.1] * 3], np.float32)
    shown = rasterised(corners, nearness, 16).shown
    assert shown[2, 2] == 1 and shown[10, 14] == 2 and shown[15, 2] == -1


def test_a_cube_is_a_convex_red_thing_with_a_shadow_below_it() -> None:
    picture = render(np.random.default_rng(1), cube(), 96)
    alpha = picture.rgba[..., 3]
    assert picture.rgba.shape == (96, 96, 4) and 0.3 < (alpha > 127).mean() < 0.95
    for row in alpha > 127:
        assert np.abs(np.diff(row.astype(int))).sum() <= 2
    assert picture.shadow.shape == (SHADOW_SIDE, SHADOW_SIDE)
    assert picture.shadow[SHADOW_SIDE // 2 :].sum() > picture.shadow[: SHADOW_SIDE // 2].sum()


def test_the_same_seed_gives_the_same_picture() -> None:
    one, two = (render(np.random.default_rng(7), cube(), 64).rgba for _ in range(2))
    assert (one == two).all()


def test_a_see_through_model_is_refused() -> None:
    with pytest.raises(ModelFileError, match="see-through"):
        render(np.random.default_rng(0), cube(mtl=MATERIALS + "d 0.3\n"), 64)


def test_a_model_that_is_next_to_nothing_is_refused() -> None:
    with pytest.raises(ModelFileError, match="next to nothing"):
        render(np.random.default_rng(0), cube(obj=CUBE.split("f ")[0] + "f 1 1 1\n"), 64)
