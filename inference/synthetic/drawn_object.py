"""A drawn object with its matte, cropped and ready to be placed in scenes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .pixels import to_bytes
from .sampling import Float


@dataclass(frozen=True)
class DrawnObject:
    """An object with straight alpha, cropped to its visible part."""

    rgb: NDArray[np.uint8]  # H x W x 3
    alpha: NDArray[np.uint8]  # H x W
    stands: bool  # has a base that can touch a floor
    cut_below: bool  # a portrait, which is cut off by the lower edge of the frame
    shadow: NDArray[np.uint8] | None = None
    """Its shadow on the floor: a square around the cut-out's centre, with twice its longer side."""


def crop_visible(rgb: Float, alpha: Float, stands: bool, cut_below: bool) -> DrawnObject | None:
    """Crop a square canvas (rgb H x W x 3, alpha H x W) to its object; None if too little of it is visible."""
    matte = to_bytes(alpha)
    _, _, w, h = cv2.boundingRect((matte > 8).astype(np.uint8))
    if w * h < matte.size * 0.05 or float(matte.mean()) < 255 * 0.03:
        return None
    x, y, w, h = visible_box(matte)
    area = np.s_[y : y + h, x : x + w]
    return DrawnObject(to_bytes(np.ascontiguousarray(rgb[area])), matte[area].copy(), stands, cut_below)


def visible_box(matte: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """x, y, width and height of the visible part of a matte, with a margin of up to two pixels."""
    x, y, w, h = cv2.boundingRect((matte > 8).astype(np.uint8))
    left, top = max(0, x - 2), max(0, y - 2)
    return left, top, min(matte.shape[1], x + w + 2) - left, min(matte.shape[0], y + h + 2) - top
