"""Lighting of flat masks: normals of a height field that is derived from the distance to the edge."""

from dataclasses import dataclass

import cv2
import numpy as np

from .pixels import blur, downsample, multiply, to_rgb, upsample
from .sampling import Float, Rng, between, chance


@dataclass(frozen=True)
class Light:
    """A distant lamp: unit vector (x right, y down, z towards the viewer), and the share 0..1 of ambient light."""

    direction: tuple[float, float, float]
    ambient: float


@dataclass(frozen=True)
class Finish:
    """Reflection of a surface: strength and tightness of highlights, metallic bands, darkening of the rim."""

    gloss: float
    tightness: float
    metal: float
    rim: float


def random_light(rng: Rng) -> Light:
    """Draw a lamp, mostly above the object, sometimes nearly in front of it."""
    azimuth = -np.pi / 2 + rng.normal(0, 0.9)
    height = between(rng, 0.35, 1.3)
    flat = np.cos(height)
    return Light((float(flat * np.cos(azimuth)), float(flat * np.sin(azimuth)), float(np.sin(height))),
                 between(rng, 0.25, 0.8))  # fmt: skip


def random_finish(rng: Rng) -> Finish:
    """Draw a matt, satin, glossy or metallic finish."""
    metal = between(rng, 0.4, 1.0) if chance(rng, 0.14) else 0.0
    gloss = between(rng, 0.2, 0.9) if chance(rng, 0.4) else between(rng, 0, 0.12)
    return Finish(gloss, between(rng, 6, 80), metal, between(rng, 0, 0.35))


def _normals(height: Float) -> tuple[Float, Float, Float]:
    nx = -cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    ny = -cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    inverse = 1 / np.sqrt(nx * nx + ny * ny + 1)
    return nx * inverse, ny * inverse, inverse.astype(np.float32)


def pillow_normals(mask: Float, roundness: float, bulge: float) -> tuple[Float, Float, Float]:
    """Normals of a pillow-shaped surface over a mask; `roundness` 0..1 is the share of the inside that is curved."""
    inside = (mask > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    radius = max(1.5, float(distance.max()) * roundness)
    t = 1 - np.minimum(distance / radius, 1)
    height = np.sqrt(np.maximum(1 - t * t, 0)).astype(np.float32) * np.float32(radius * bulge)
    # The ridges of a distance transform would be creases, which real surfaces do not have.
    return _normals(blur(height, max(0.8, radius * 0.12)))


def cylinder_normals(mask: Float, bulge: float) -> tuple[Float, Float, Float]:
    """Normals of a body of revolution: each row is a half circle between the mask's left and right edge."""
    inside = mask > 0.5
    width = mask.shape[1]
    left = inside.argmax(axis=1).astype(np.float32)
    right = (width - 1 - inside[:, ::-1].argmax(axis=1)).astype(np.float32)
    span = np.maximum(right - left, 1)[:, None]
    u = np.clip((np.arange(width, dtype=np.float32) - left[:, None]) / span * 2 - 1, -1, 1) * np.float32(bulge)
    nz = np.sqrt(np.maximum(1 - u * u, 0.01))
    lean = np.gradient(cv2.GaussianBlur(np.ascontiguousarray(span), (1, 0), 0, sigmaY=2).ravel())
    ny = np.broadcast_to((-np.clip(lean, -1, 1) * 0.5).astype(np.float32)[:, None], u.shape)
    return u.astype(np.float32), ny, nz.astype(np.float32)


def _bands(rng: Rng, along: Float) -> Float:
    """Reflection of an imaginary room: bright and dark bands by direction, -1..1."""
    room = rng.random(int(rng.integers(5, 14))) * 2 - 1
    return np.interp(along, np.linspace(-1, 1, len(room)), room).astype(np.float32)


def apply_light(rng: Rng, albedo: Float, mask: Float, light: Light, finish: Finish, turned: bool) -> Float:
    """Light an albedo (H x W x 3) on a pillow or, if `turned`, a body of revolution over a mask (H x W)."""
    height, width = mask.shape
    small = downsample(mask, (height + 1) // 2, (width + 1) // 2)
    bulge = between(rng, 0.3, 1.0)
    if turned:
        nx, ny, nz = cylinder_normals(small, between(rng, 0.8, 0.99))
    else:
        nx, ny, nz = pillow_normals(small, between(rng, 0.1, 1.0), bulge)
    lx, ly, lz = light.direction
    lambert = np.maximum(nx * lx + ny * ly + nz * lz, 0) / max(lz, 0.45)
    shade = light.ambient + (1 - light.ambient) * lambert
    shade = shade * (1 - finish.rim * (1 - nz) * 1.5)
    if finish.metal > 0:
        shade = shade * (1 + finish.metal * 0.8 * _bands(rng, nx if turned or chance(rng, 0.5) else ny))
    hx, hy, hz = np.array([lx, ly, lz + 1]) / np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
    spark = finish.gloss * np.maximum(nx * hx + ny * hy + nz * hz, 0) ** finish.tightness
    bright, shine = (upsample(np.asarray(p, np.float32), height, width) for p in (shade, spark))
    return np.asarray(cv2.add(multiply(albedo, bright), to_rgb(shine)), np.float32)
