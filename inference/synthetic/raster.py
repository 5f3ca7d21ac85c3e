"""Draw meshes: each pixel learns its quad by the painter's algorithm, then colour from two atlases.

Light is worked out at the vertices and textures lie in a picture of their own, so a pixel costs two look-ups.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .contours import Float, Rng, between, chance
from .mesh import Material, Mesh, Patch
from .pixels import blur, enlarged, filled, reduced, spread
from .textures import scribble, surface

Ints = NDArray[np.int32]
_SUPERSAMPLE = 2
_SHIFT = 4
_TEXELS = 5
"""Texture pixels along a quad's side."""


@dataclass(frozen=True, eq=False)
class Soup:
    """All patches of a mesh in common arrays."""

    points: Float  # V x 3
    normals: Float  # V x 3, unit, outwards
    owner: NDArray[np.intp]  # V: which patch
    cell: NDArray[np.intp]  # V: where in the atlas, counted along its rows
    quads: NDArray[np.intp]  # Q x 4 vertices: this, next column, both, next row
    coarse: NDArray[np.intp]  # the same surface in about a quarter of the quads, for shadows
    width: int  # the atlas's
    height: int


def soup(mesh: Mesh) -> Soup:
    """Flatten a mesh; the atlas holds its patches below each other."""
    width = max(patch.points.shape[1] for patch in mesh)
    shapes = [patch.points.shape[:2] for patch in mesh]
    tops = np.concatenate(([0], np.cumsum([rows for rows, _ in shapes])))
    first = np.concatenate(([0], np.cumsum([rows * columns for rows, columns in shapes])))
    indices = [np.arange(r * c).reshape(r, c) + start for (r, c), start in zip(shapes, first[:-1], strict=True)]
    cells = [(np.arange(r)[:, None] + t) * width + np.arange(c) for (r, c), t in zip(shapes, tops[:-1], strict=True)]
    return Soup(
        points=np.concatenate([patch.points.reshape(-1, 3) for patch in mesh]),
        normals=np.concatenate([_normals(patch).reshape(-1, 3) for patch in mesh]),
        owner=np.repeat(np.arange(len(mesh)), np.diff(first)),
        cell=np.concatenate([cell.ravel() for cell in cells]),
        quads=np.concatenate([_quads(index) for index in indices]),
        coarse=np.concatenate([_quads(_thinned(index)) for index in indices]),
        width=width,
        height=int(tops[-1]),
    )


def _quads(index: NDArray[np.intp]) -> NDArray[np.intp]:
    corners = (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    return np.stack([corner.ravel() for corner in corners], axis=1)


def _thinned(index: NDArray[np.intp]) -> NDArray[np.intp]:
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
    """A perspective camera that looks at the origin: screen = middle + zoom * (x, -y) / (distance - z)."""

    turn: Float  # 3 x 3, world to camera
    distance: float
    zoom: float  # pixels
    middle: tuple[float, float]  # pixels

    @property
    def eye(self) -> Float:
        """Where it stands in the world."""
        return np.asarray(self.turn.T @ np.array([0, 0, self.distance]), np.float32)

    def screen(self, points: Float) -> tuple[Float, Float]:
        """Pixels (N x 2) and depths (N) of points in the world (N x 3)."""
        seen = points @ self.turn.T
        depth = np.maximum(self.distance - seen[:, 2], 0.2)
        pixels = seen[:, :2] * np.array([self.zoom, -self.zoom], np.float32) / depth[:, None]
        return np.asarray(pixels + np.array(self.middle, np.float32), np.float32), depth


def aimed(points: Float, turn: Float, distance: float, size: int) -> View:
    """The view from that side and distance in which the points just fill a canvas of size x size pixels."""
    pixels, _ = View(turn, distance, 1.0, (0, 0)).screen(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    zoom = 0.94 * size / max(float((high - low).max()), 1e-6)
    centre = size / 2 - zoom * (low + high) / 2
    return View(turn, distance, zoom, (float(centre[0]), float(centre[1])))


def visible(mesh: Mesh, parts: Soup, view: View, size: int) -> tuple[Ints, Float]:
    """The number of the quad at each pixel (-1: none) at twice the size, and the quads' corners there, Q x 4 x 2."""
    pixels, depth = view.screen(parts.points)
    corners = pixels[parts.quads] * np.float32(_SUPERSAMPLE)
    double = np.array([patch.double for patch in mesh])[parts.owner[parts.quads[:, 0]]]
    diagonals = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    area = diagonals[0][:, 0] * diagonals[1][:, 1] - diagonals[0][:, 1] * diagonals[1][:, 0]
    shown = np.flatnonzero(((area > 0) | double) & (np.abs(area) > 1e-3))
    order = shown[np.argsort(-depth[parts.quads[shown]].mean(axis=1), kind="stable")]
    canvas = np.full((size * _SUPERSAMPLE, size * _SUPERSAMPLE), -1, np.int32)
    # A pixel's middle is a whole number to OpenCV, and it paints those that an outline only touches as well.
    shrunk = corners[order] - np.float32(0.5)
    for quad, outline in zip(order.tolist(), np.round(shrunk * (1 << _SHIFT)).astype(np.int32), strict=True):
        cv2.fillConvexPoly(canvas, outline, quad, 8, _SHIFT)
    return canvas, corners


_TURN = np.array([1, -1], np.float32)


@dataclass(frozen=True, eq=False)
class Seen:
    """The pixels of a canvas that show a quad, N of them, and where in the atlas each looks, in cells."""

    side: int  # of the canvas
    pixels: NDArray[np.intp]  # counted along the canvas's rows
    column: Float
    row: Float


def places(canvas: Ints, corners: Float, parts: Soup) -> Seen:
    """Each visible pixel's place in its quad, as if that were a parallelogram on the screen."""
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

    return Seen(
        side=canvas.shape[1],
        pixels=pixels,
        column=place(along[:, ::-1] * _TURN, column),
        row=place(across[:, ::-1] * -_TURN, row),
    )


def textures(rng: Rng, mesh: Mesh, parts: Soup) -> Float:
    """The atlas of base colours; patches of one shape and material share what is on them."""
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
    if closed:  # mirrored, so that it meets itself
        half = surface(rng, rows, (columns + 1) // 2, what.tone)
        picture = np.concatenate((half, half[:, ::-1]), axis=1)[:, :columns]
    else:
        picture = surface(rng, rows, columns, what.tone)
    if chance(rng, 0.25):
        middle = (columns * between(rng, 0.2, 0.8), rows * between(rng, 0.3, 0.7))
        extent = (columns * between(rng, 0.15, 0.4), rows * between(rng, 0.1, 0.5))
        picture = scribble(rng, np.ascontiguousarray(picture), middle, extent)
    return picture


def painted(seen: Seen, texture: Float, light: Float) -> tuple[Float, Float]:
    """Colours (H x W x 3, continued beyond the edge) and coverage (H x W) at half the canvas's size.

    `light` is an atlas of two planes: what the texture is multiplied by, and what is added.
    """
    lit = _looked_up(light, seen.column, seen.row)
    base = _looked_up(texture, seen.column * np.float32(_TEXELS), seen.row * np.float32(_TEXELS))
    rgb = np.zeros((seen.side * seen.side, 3), np.float32)
    rgb[seen.pixels] = base * lit[:, :1] + lit[:, 1:]
    flags = np.zeros(seen.side * seen.side, np.float32)
    flags[seen.pixels] = 1
    shown, size = flags.reshape(seen.side, seen.side), seen.side // _SUPERSAMPLE
    covered = reduced(rgb.reshape(seen.side, seen.side, 3), size, size)
    # Four whole pixels in one give five grades of alpha only, and stairs where the object is enlarged.
    return _extended(covered, reduced(shown, size, size)), reduced(blur(shown, 0.8), size, size)


def _looked_up(atlas: Float, x: Float, y: Float) -> Float:
    """The atlas at N places, linear: N x channels."""
    rows = -(-len(x) // 512)
    across, down = (np.resize(one, (rows, 512)) for one in (x, y))  # OpenCV takes no map longer than 32,767
    values = np.asarray(cv2.remap(atlas, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return np.asarray(values.reshape(rows * 512, -1)[: len(x)], np.float32)


def _extended(covered: Float, alpha: Float) -> Float:
    """Straight colours from colours times alpha, those of the neighbourhood where alpha is 0."""
    size = alpha.shape[0]
    block = max(2, size // 24)
    near, weight = reduced(covered, block, block), reduced(alpha, block, block)
    near = cv2.GaussianBlur(near, (0, 0), 0.7) + covered.mean(axis=(0, 1)) * np.float32(1e-3)
    weight = cv2.GaussianBlur(weight, (0, 0), 0.7) + alpha.mean() * np.float32(1e-3)
    around = enlarged(near / spread(np.asarray(weight + 1e-9, np.float32)), size, size)
    rest = np.float32(0.02)
    return np.asarray((covered + around * rest) / spread(alpha + rest), np.float32)
