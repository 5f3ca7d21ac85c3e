"""A square canvas on which an object is built up from lit parts."""

import cv2
import numpy as np

from . import contours as shape
from .contours import Float, Rng, between, chance
from .pixels import blur, filled, mix, times, warped
from .shading import Finish, Light, lit, random_finish, random_light
from .textures import colour, fibres, related, scribble, surface

Area = tuple[slice, slice]


class Canvas:
    """Parts laid over each other under one light."""

    def __init__(self, rng: Rng, size: int) -> None:
        self.rng = rng
        self.size = size
        self.light: Light = random_light(rng)
        self.rgb: Float = filled(colour(rng), size, size)
        self.alpha: Float = np.zeros((size, size), np.float32)

    def _lay(self, rgb: Float, mask: Float, area: Area) -> None:
        below = self.alpha[area] * (1 - mask)
        total = below + mask
        # The small term keeps a part's colour where nothing covers: warping later blends with those pixels.
        self.rgb[area] = mix(self.rgb[area], rgb, (mask + 1e-6) / (total + 1e-6))
        self.alpha[area] = total

    def part(self, mask: Float, base: Float | None = None, turned: bool = False, finish: Finish | None = None,
             opacity: float = 1.0, pattern: bool = True) -> None:  # fmt: skip
        """Cover a mask with a material of its own and light it."""
        tone = colour(self.rng) if base is None else base
        area = self._area(mask)
        cover = np.ascontiguousarray(mask[area])
        height, width = cover.shape
        if min(height, width) < 3:
            return
        albedo = surface(self.rng, height, width, tone) if pattern else filled(tone, height, width)
        if chance(self.rng, 0.12):
            albedo = self._print(albedo, cover)
        picture = lit(self.rng, albedo, cover, self.light, finish or random_finish(self.rng), turned)
        self._lay(picture, cover * np.float32(opacity), area)

    def fur(self, mask: Float, tone: Float) -> None:
        """Cover a mask with a grained coat."""
        area = self._area(mask)
        cover = np.ascontiguousarray(mask[area])
        height, width = cover.shape
        coat = fibres(self.rng, height, width, tone)
        if chance(self.rng, 0.5):
            pattern = surface(self.rng, height, width, related(self.rng, tone))
            coat = np.asarray(cv2.addWeighted(coat, 0.5, pattern, 0.5, 0), np.float32)
        self._lay(lit(self.rng, coat, cover, self.light, Finish(0.05, 8, 0, 0.15), False), cover, area)

    def _area(self, mask: Float) -> Area:
        """The part of the canvas that a mask touches, with a margin for the slopes at its edge."""
        x, y, w, h = cv2.boundingRect((mask > 0).astype(np.uint8))
        return np.s_[max(0, y - 3) : y + h + 3, max(0, x - 3) : x + w + 3]

    def shadow(self, mask: Float, strength: float) -> None:
        """Darken what lies under a part that comes next."""
        soft = blur(mask, self.size * 0.012)
        shift = np.array([[1, 0, -self.light.direction[0] * self.size * 0.02], [0, 1, self.size * 0.012]], np.float32)
        self.rgb = times(self.rgb, 1 - np.float32(strength) * warped(soft, shift))

    def _print(self, albedo: Float, mask: Float) -> Float:
        x, y, w, h = cv2.boundingRect((mask > 0.5).astype(np.uint8))
        middle = (x + w * between(self.rng, 0.35, 0.65), y + h * between(self.rng, 0.35, 0.65))
        extent = (w * between(self.rng, 0.3, 0.7), h * between(self.rng, 0.1, 0.4))
        return scribble(self.rng, albedo, middle, extent)


def furry(canvas: Canvas, contour: Float, tone: Float, length: float, count: int) -> None:
    """A coat over a contour: soft strokes across the edge, grain inside."""
    rng = canvas.rng
    hairs = shape.hair_coverage(shape.fur_hairs(rng, contour, count, length), canvas.size)
    body = shape.coverage([contour], canvas.size)
    mask = np.maximum(hairs, blur(body, max(0.5, length * canvas.size * 0.05)))
    canvas.fur(mask, tone)
