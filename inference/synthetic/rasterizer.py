"""Rasterizes meshes: the painter's algorithm gives each pixel its quad, two atlases give its colour.

Light is computed at the vertices and textures are drawn once into an atlas, so that a pixel costs two look-ups.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .mesh import Material, Mesh, Patch
from .pixels import blur, downsample, filled, to_rgb, upsample
from .sampling import Float, Rng, between, chance
from .textures import print_marks, random_pattern

Ints = NDArray[np.int32]
_SUPERSAMPLE = 2
_SHIFT = 4
_TEXELS = 5
"""Texture pixels along the side of a quad."""


@dataclass(frozen=True, eq=False)
class MeshArrays:
    """All patches of a mesh, concatenated."""

    points: Float  # V x 3
    normals: Float  # V x 3, unit, outwards
    owner: NDArray[np.intp]  # V: index of the patch
    cell: NDArray[np.intp]  # V: index of the atlas cell, in row-major order
    quads: NDArray[np.intp]  # Q x 4 vertices: this, next column, both, next row
    coarse: NDArray[np.intp]  # the same surface with about a quarter of the quads, for shadows
    width: int  # the atlas's
    height: int


def flatten(mesh: Mesh) -> MeshArrays:
    """Concatenate the patches of a mesh; the atlas has them one below the other."""
    width = max(patch.points.shape[1] for patch in mesh)
    shapes = [patch.points.shape[:2] for patch in mesh]
    tops = np.concatenate(([0], np.cumsum([rows for rows, _ in shapes])))
    first = np.concatenate(([0], np.cumsum([rows * columns for rows, columns in shapes])))
    indices = [np.arange(r * c).reshape(r, c) + start for (r, c), start in zip(shapes, first[:-1], strict=True)]
    cells = [(np.arange(r)[:, None] + t) * width + np.arange(c) for (r, c), t in zip(shapes, tops[:-1], strict=True)]
    return MeshArrays(
        points=np.concatenate([patch.points.reshape(-1, 3) for patch in mesh]),
        normals=np.concatenate([_normals(patch).reshape(-1, 3) for patch in mesh]),
        owner=np.repeat(np.arange(len(mesh)), np.diff(first)),
        cell=np.concatenate([cell.ravel() for cell in cells]),
        quads=np.concatenate([_quads(index) for index in indices]),
        coarse=np.concatenate([_quads(_every_second(index)) for index in indices]),
        width=width,
        height=int(tops[-1]),
    )


def _quads(index: NDArray[np.intp]) -> NDArray[np.intp]:
    corners = (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    return np.stack([corner.ravel() for corner in corners], axis=1)


def _every_second(index: NDArray[np.intp]) -> NDArray[np.intp]:
    keep = [np.unique(np.append(np.arange(0, n, 2 if n > 8 else 1), n - 1)) for n in index.shape]
    return np.asarray(index[np.ix_(*keep)], np.intp)


def _normals(patch: Patch) -> Float:
    points = patch.points
    down = np.gradient(points, axis=0)
    if patch.closed:
        wrapped = np.concatenate((points[:, -2:-1], points, points[:, 1:2]), axis=1)
        across = wrapped[:, 2:] - wrapped[:, :-2]
    else:
        across = np.gradient(points, axis=1)
    normal = np.cross(down, across)
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12), np.float32)


@dataclass(frozen=True, eq=False)
class View:
    """A perspective camera aimed at the origin: screen = middle + zoom * (x, -y) / (distance - z)."""

    turn: Float  # 3 x 3, world to camera
    distance: float
    zoom: float  # pixels
    middle: tuple[float, float]  # pixels

    @property
    def eye(self) -> Float:
        """Position of the camera in world coordinates."""
        return np.asarray(self.turn.T @ np.array([0, 0, self.distance]), np.float32)

    def screen(self, points: Float) -> tuple[Float, Float]:
        """Project points in the world (N x 3) to pixels (N x 2) and depths (N)."""
        seen = points @ self.turn.T
        depth = np.maximum(self.distance - seen[:, 2], 0.2)
        pixels = seen[:, :2] * np.array([self.zoom, -self.zoom], np.float32) / depth[:, None]
        return np.asarray(pixels + np.array(self.middle, np.float32), np.float32), depth


def fit_view(points: Float, turn: Float, distance: float, size: int) -> View:
    """The view from this rotation and distance in which the points just fill a canvas of size x size pixels."""
    pixels, _ = View(turn, distance, 1.0, (0, 0)).screen(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    zoom = 0.94 * size / max(float((high - low).max()), 1e-6)
    centre = size / 2 - zoom * (low + high) / 2
    return View(turn, distance, zoom, (float(centre[0]), float(centre[1])))


def rasterize(mesh: Mesh, parts: MeshArrays, view: View, size: int) -> tuple[Ints, Float]:
    """Index of the quad at each pixel (-1: none) at twice the size, and the corners of the quads there, Q x 4 x 2."""
    pixels, depth = view.screen(parts.points)
    corners = pixels[parts.quads] * np.float32(_SUPERSAMPLE)
    double = np.array([patch.double for patch in mesh])[parts.owner[parts.quads[:, 0]]]
    diagonals = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    area = diagonals[0][:, 0] * diagonals[1][:, 1] - diagonals[0][:, 1] * diagonals[1][:, 0]
    shown = np.flatnonzero(((area > 0) | double) & (np.abs(area) > 1e-3))
    order = shown[np.argsort(-depth[parts.quads[shown]].mean(axis=1), kind="stable")]
    canvas = np.full((size * _SUPERSAMPLE, size * _SUPERSAMPLE), -1, np.int32)
    # OpenCV puts pixel centres at whole numbers, and also fills pixels that the outline only touches.
    shrunk = corners[order] - np.float32(0.5)
    for quad, outline in zip(order.tolist(), np.round(shrunk * (1 << _SHIFT)).astype(np.int32), strict=True):
        cv2.fillConvexPoly(canvas, outline, quad, 8, _SHIFT)
    return canvas, corners


_TURN = np.array([1, -1], np.float32)


@dataclass(frozen=True, eq=False)
class VisiblePixels:
    """The N pixels of a canvas that show a quad, with their atlas coordinates in cells."""

    side: int  # of the canvas in pixels
    pixels: NDArray[np.intp]  # row-major indices into the canvas
    column: Float
    row: Float


def atlas_coordinates(canvas: Ints, corners: Float, parts: MeshArrays) -> VisiblePixels:
    """Atlas coordinates of each visible pixel, approximating its quad by a parallelogram on the screen."""
    pixels = np.flatnonzero(canvas.ravel() >= 0)
    y, x = (part.astype(np.float32) for part in np.divmod(pixels.astype(np.int32), canvas.shape[1]))
    quads = canvas.ravel()[pixels]
    across = (corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3]) / 2
    along = (corners[:, 3] - corners[:, 0] + corners[:, 2] - corners[:, 1]) / 2
    scale = across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0]
    inverse = np.asarray(1 / np.where(np.abs(scale) < 1e-2, np.float32(1e6), scale), np.float32)[:, None]
    middle = corners.mean(axis=1) - np.float32(0.5)
    row, column = np.divmod(parts.cell[parts.quads[:, 0]], parts.width)

    def place(normal: NDArray[np.floating], first: NDArray[np.intp]) -> Float:
        towards_x, towards_y = np.asarray(normal * inverse, np.float32).T
        start = np.float32(0.5) - towards_x * middle[:, 0] - towards_y * middle[:, 1]
        share = towards_x[quads] * x + towards_y[quads] * y + start[quads]
        return np.asarray(np.clip(share, 0, 1) + first.astype(np.float32)[quads], np.float32)

    return VisiblePixels(
        side=canvas.shape[1],
        pixels=pixels,
        column=place(along[:, ::-1] * _TURN, column),
        row=place(across[:, ::-1] * -_TURN, row),
    )


def texture_atlas(rng: Rng, mesh: Mesh, parts: MeshArrays) -> Float:
    """The atlas of base colours; patches of the same shape and material share a texture."""
    atlas = np.zeros((parts.height * _TEXELS, parts.width * _TEXELS, 3), np.float32)
    known: dict[tuple[int, int, int, bool], Float] = {}
    top = 0
    for patch in mesh:
        rows, columns = patch.points.shape[0] * _TEXELS, patch.points.shape[1] * _TEXELS
        key = (id(patch.material), rows, columns, patch.closed)
        if key not in known:
            known[key] = _texture(rng, patch.material, rows, columns, patch.closed)
        atlas[top : top + rows, :columns] = known[key]
        top += rows
    return atlas


def _texture(rng: Rng, what: Material, rows: int, columns: int, closed: bool) -> Float:
    if not what.pattern:
        return filled(what.tone, rows, columns)
    if closed:  # mirrored, so that it has no seam
        half = random_pattern(rng, rows, (columns + 1) // 2, what.tone)
        picture = np.concatenate((half, half[:, ::-1]), axis=1)[:, :columns]
    else:
        picture = random_pattern(rng, rows, columns, what.tone)
    if chance(rng, 0.25):
        middle = (columns * between(rng, 0.2, 0.8), rows * between(rng, 0.3, 0.7))
        extent = (columns * between(rng, 0.15, 0.4), rows * between(rng, 0.1, 0.5))
        picture = print_marks(rng, np.ascontiguousarray(picture), middle, extent)
    return picture


def paint(seen: VisiblePixels, texture: Float, light: Float) -> tuple[Float, Float]:
    """Colours (H x W x 3, extended beyond the edge) and coverage (H x W) at half the size of the canvas.

    `light` is an atlas of two planes: a factor for the texture, and a value that is added.
    """
    lit = _sample_atlas(light, seen.column, seen.row)
    base = _sample_atlas(texture, seen.column * np.float32(_TEXELS), seen.row * np.float32(_TEXELS))
    rgb = np.zeros((seen.side * seen.side, 3), np.float32)
    rgb[seen.pixels] = base * lit[:, :1] + lit[:, 1:]
    flags = np.zeros(seen.side * seen.side, np.float32)
    flags[seen.pixels] = 1
    shown, size = flags.reshape(seen.side, seen.side), seen.side // _SUPERSAMPLE
    covered = downsample(rgb.reshape(seen.side, seen.side, 3), size, size)
    # Averaging 2 x 2 whole pixels gives only five alpha values, visible as steps where the object is enlarged.
    return _extend_colours(covered, downsample(shown, size, size)), downsample(blur(shown, 0.8), size, size)


def _sample_atlas(atlas: Float, x: Float, y: Float) -> Float:
    """Interpolate the atlas linearly at N coordinates: N x channels."""
    rows = -(-len(x) // 512)
    across, down = (np.resize(one, (rows, 512)) for one in (x, y))  # OpenCV refuses maps longer than 32,767
    values = np.asarray(cv2.remap(atlas, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return np.asarray(values.reshape(rows * 512, -1)[: len(x)], np.float32)


def _extend_colours(covered: Float, alpha: Float) -> Float:
    """Straight colours from premultiplied ones; where alpha is 0, those of the neighbourhood."""
    size = alpha.shape[0]
    block = max(2, size // 24)
    near, weight = downsample(covered, block, block), downsample(alpha, block, block)
    near = cv2.GaussianBlur(near, (0, 0), 0.7) + covered.mean(axis=(0, 1)) * np.float32(1e-3)
    weight = cv2.GaussianBlur(weight, (0, 0), 0.7) + alpha.mean() * np.float32(1e-3)
    around = upsample(near / to_rgb(np.asarray(weight + 1e-9, np.float32)), size, size)
    rest = np.float32(0.02)
    return np.asarray((covered + around * rest) / to_rgb(alpha + rest), np.float32)
