"""Read models in Wavefront's OBJ and MTL formats: triangles, their colours and textures."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Float = NDArray[np.float32]
Read = Callable[[str], bytes]
"""Returns the content of a file beside the model; raises KeyError where there is none."""

LARGEST_TEXTURE = 512
"""Longer side in pixels."""


class ModelFileError(ValueError):
    """The model cannot be used: it is damaged, see-through, or has no faces."""


@dataclass
class Material:
    """What a surface looks like."""

    colour: Float = field(default_factory=lambda: np.full(3, 0.7, np.float32))
    gloss: float = 0.0
    opacity: float = 1.0
    texture: NDArray[np.uint8] | None = None
    """H x W x 3."""
    wrapped: bool = False
    """The texture is projected onto the model from its sides: the file's places in it do not count."""


@dataclass(frozen=True, eq=False)
class Triangles:
    """T triangles."""

    points: Float  # T x 3 x 3
    normals: Float  # T x 3 x 3, unit
    places: Float  # T x 3 x 2, in the texture: 0..1 from its lower left corner, repeated beyond
    owner: NDArray[np.intp]  # T, an index of `materials`
    materials: list[Material]


def read_model(path: str, read: Read) -> Triangles:
    """The triangles of an OBJ file. Raises ModelFileError."""
    folder = posixpath.dirname(path)
    points, places, normals = ([], [], [])  # type: list[list[float]], list[list[float]], list[list[float]]
    known: dict[str, Material] = {}
    materials, owner = [Material()], list[int]()
    corners: list[list[tuple[int, int, int]]] = []
    numbers = {"": 0}
    current = 0
    try:
        for line in read(path).decode("utf-8", "replace").splitlines():
            kind, *values = line.split() or [""]
            if kind == "v":
                points.append([float(value) for value in values[:3]])
            elif kind == "vt":
                places.append([float(value) for value in values[:2]])
            elif kind == "vn":
                normals.append([float(value) for value in values[:3]])
            elif kind == "mtllib":
                known |= read_materials(posixpath.join(folder, " ".join(values)), read)
            elif kind == "usemtl":
                name = " ".join(values)
                if name not in numbers:
                    numbers[name] = len(materials)
                    materials.append(known.get(name, Material()))
                current = numbers[name]
            elif kind == "f":
                face = [_corner(value, len(points), len(places), len(normals)) for value in values]
                for second, third in pairwise(face[1:]):  # a fan, which suits convex faces
                    corners.append([face[0], second, third])
                    owner.append(current)
        return _assembled(corners, owner, materials, points, places, normals)
    except (KeyError, IndexError, ValueError) as error:
        raise ModelFileError(f"{path}: {error}") from error


def read_materials(path: str, read: Read) -> dict[str, Material]:
    """The materials of an MTL file by name; a texture that is missing is left out."""
    result: dict[str, Material] = {}
    current = Material()
    for line in read(path).decode("utf-8", "replace").splitlines():
        kind, *values = line.split() or [""]
        if kind == "newmtl":
            current = result[" ".join(values)] = Material()
        elif kind == "Kd":
            current.colour = np.array([float(value) for value in values[:3]], np.float32)
        elif kind == "Ks":
            current.gloss = float(np.mean([float(value) for value in values[:3]]))
        elif kind == "d":
            current.opacity = float(values[-1])
        elif kind == "map_Kd":
            current.texture = _texture(posixpath.join(posixpath.dirname(path), values[-1]), read)
    return result


def _texture(path: str, read: Read) -> NDArray[np.uint8] | None:
    try:
        with Image.open(io.BytesIO(read(path))) as image:
            if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 200:
                raise ModelFileError(f"{path} is see-through")
            picture = image.convert("RGB")
    except (KeyError, UnidentifiedImageError):
        return None
    picture.thumbnail((LARGEST_TEXTURE, LARGEST_TEXTURE), Image.Resampling.LANCZOS)
    return np.array(picture)


def _corner(text: str, points: int, places: int, normals: int) -> tuple[int, int, int]:
    """Indices of point, place and normal; -1 for none. Negative numbers in the file count from the last one."""
    parts = [*text.split("/"), "", ""][:3]
    counts = (points, places, normals)
    point, place, normal = (
        -1 if not part else int(part) - 1 if int(part) > 0 else count + int(part)
        for part, count in zip(parts, counts, strict=True)
    )
    return point, place, normal


def _assembled(
    corners: list[list[tuple[int, int, int]]],
    owner: list[int],
    materials: list[Material],
    points: list[list[float]],
    places: list[list[float]],
    normals: list[list[float]],
) -> Triangles:
    if not corners:
        raise ModelFileError("there are no faces")
    index = np.array(corners, np.intp)
    if index[..., 0].min() < 0 or index[..., 0].max() >= len(points):
        raise ModelFileError("a face has a corner that is not there")
    xyz = np.array(points, np.float32).reshape(-1, 3)[index[..., 0]]
    flat = np.cross(xyz[:, 1] - xyz[:, 0], xyz[:, 2] - xyz[:, 0])
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    given = _gathered(normals, index[..., 2], 3)
    length = np.linalg.norm(given, axis=2, keepdims=True)
    smooth = np.where(length > 0.1, given / np.maximum(length, 1e-6), unit[:, None])
    return Triangles(
        xyz, np.asarray(smooth, np.float32), _gathered(places, index[..., 1], 2), np.array(owner, np.intp), materials
    )


def _gathered(values: list[list[float]], index: NDArray[np.intp], width: int) -> Float:
    """Values at the indices, zeros where an index is -1."""
    table = np.zeros((len(values) + 1, width), np.float32)
    if values:
        table[:-1] = np.array(values, np.float32)
    return table[np.where((index >= 0) & (index < len(values)), index, len(values))]
