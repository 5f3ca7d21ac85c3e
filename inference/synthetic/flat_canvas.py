"""A square canvas on which flat objects are composed from lit parts."""

import cv2
import numpy as np

from . import contours as shape
from .flat_shading import Finish, Light, apply_light, random_finish, random_light
from .pixels import blur, filled, mix, multiply, warp
from .sampling import Float, Rng, between, chance
from .textures import fibres, print_marks, random_colour, random_pattern, similar_colour

Area = tuple[slice, slice]


class Canvas:
    """Parts on top of each other, lit by one lamp."""

    def __init__(self, rng: Rng, size: int) -> None:
        self.rng = rng
        self.size = size
        self.light: Light = random_light(rng)
        self.rgb: Float = filled(random_colour(rng), size, size)
        self.alpha: Float = np.zeros((size, size), np.float32)

    def _lay(self, rgb: Float, mask: Float, area: Area) -> None:
        below = self.alpha[area] * (1 - mask)
        total = below + mask
        # The small term keeps a part's colour where nothing is covered, because warping blends with those pixels later.
        self.rgb[area] = mix(self.rgb[area], rgb, (mask + 1e-6) / (total + 1e-6))
        self.alpha[area] = total

    def part(self, mask: Float, base: Float | None = None, turned: bool = False, finish: Finish | None = None,
             opacity: float = 1.0, pattern: bool = True) -> None:  # fmt: skip
        """Add a part: a mask (size x size, 0..1) in a random material, lit."""
        tone = random_colour(self.rng) if base is None else base
        area = self._area(mask)
        cover = np.ascontiguousarray(mask[area])
        height, width = cover.shape
        if min(height, width) < 3:
            return
        albedo = random_pattern(self.rng, height, width, tone) if pattern else filled(tone, height, width)
        if chance(self.rng, 0.12):
            albedo = self._print(albedo, cover)
        picture = apply_light(self.rng, albedo, cover, self.light, finish or random_finish(self.rng), turned)
        self._lay(picture, cover * np.float32(opacity), area)

    def fur(self, mask: Float, tone: Float) -> None:
        """Add a part with the texture of fur."""
        area = self._area(mask)
        cover = np.ascontiguousarray(mask[area])
        height, width = cover.shape
        coat = fibres(self.rng, height, width, tone)
        if chance(self.rng, 0.5):
            pattern = random_pattern(self.rng, height, width, similar_colour(self.rng, tone))
            coat = np.asarray(cv2.addWeighted(coat, 0.5, pattern, 0.5, 0), np.float32)
        self._lay(apply_light(self.rng, coat, cover, self.light, Finish(0.05, 8, 0, 0.15), False), cover, area)

    def _area(self, mask: Float) -> Area:
        """The bounding box of a mask, with a margin for the normals at its edge."""
        x, y, w, h = cv2.boundingRect((mask > 0).astype(np.uint8))
        return np.s_[max(0, y - 3) : y + h + 3, max(0, x - 3) : x + w + 3]

    def shadow(self, mask: Float, strength: float) -> None:
        """Darken the parts below a part that is about to be added."""
        soft = blur(mask, self.size * 0.012)
        shift = np.array([[1, 0, -self.light.direction[0] * self.size * 0.02], [0, 1, self.size * 0.012]], np.float32)
        self.rgb = multiply(self.rgb, 1 - np.float32(strength) * warp(soft, shift))

    def _print(self, albedo: Float, mask: Float) -> Float:
        x, y, w, h = cv2.boundingRect((mask > 0.5).astype(np.uint8))
        middle = (x + w * between(self.rng, 0.35, 0.65), y + h * between(self.rng, 0.35, 0.65))
        extent = (w * between(self.rng, 0.3, 0.7), h * between(self.rng, 0.1, 0.4))
        return print_marks(self.rng, albedo, middle, extent)


def furry_shape(canvas: Canvas, contour: Float, tone: Float, length: float, count: int) -> None:
    """Add a furry part: hairs across the edge of a contour, the texture of fur inside."""
    rng = canvas.rng
    hairs = shape.hair_coverage(shape.fur_hairs(rng, contour, count, length), canvas.size)
    body = shape.coverage([contour], canvas.size)
    mask = np.maximum(hairs, blur(body, max(0.5, length * canvas.size * 0.05)))
    canvas.fur(mask, tone)
