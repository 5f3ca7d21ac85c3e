"""Preprocessing contracts of third-party models: what each family takes and what it returns. Imports no torch.

A model file holds a graph and weights. It does not say how a picture must be resized and normalised, or what the output
means. A contract does, one for each family of models; `detection` chooses it where a file leaves no doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from inference.canvas import detail_size

Fit = Literal["stretch", "short_side", "native"]
"""How a picture is resized: stretched to a square; in proportion, by its short side; or not (native size)."""
Triple = tuple[float, float, float]
"""Red, green, blue."""

ZEROS: Triple = (0.0, 0.0, 0.0)
ONES: Triple = (1.0, 1.0, 1.0)
HALVES: Triple = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

STEP = 32
"""With `short_side`, both sides of the canvas are multiples of this."""
LONGEST = 4
"""With `short_side`, the longer side is at most this many shorter sides; longer panoramas are stretched."""


@dataclass(frozen=True)
class Contract:
    """Preprocessing and output of a family of models. The input is `(x / maximum - mean) / std` with x in 0..1."""

    name: str
    about: str
    side: int
    """Side of the canvas in pixels, where the file does not fix it (`short_side`: the shorter one); 0 with `native`."""
    fit: Fit = "stretch"
    mean: Triple = ZEROS
    std: Triple = ONES
    divide_by_maximum: bool = False
    """Whether `maximum` is the highest value in the picture; otherwise it is 1."""
    logits: bool = False
    """Whether the model returns logits, to which the sigmoid has still to be applied."""
    channels_last: bool = False
    """Whether the model takes one picture, H x W x 3 in 0..255, and returns H x W x 4 (RGBA) in 0..255."""


CONTRACTS: Mapping[str, Contract] = MappingProxyType(
    {
        contract.name: contract
        for contract in (
            Contract(
                "u2net",
                "U2-Net, u2netp, silueta: 320 x 320, first of 7 mattes",
                320,
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
                divide_by_maximum=True,
            ),
            Contract("isnet", "IS-Net, DIS: 1024 x 1024, first matte", 1024, mean=HALVES),
            Contract(
                "birefnet",
                "BiRefNet and its variants: 1024 x 1024 or 2048 x 2048, logits",
                1024,
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
                logits=True,
            ),
            Contract("rmbg", "RMBG 2.0: 1024 x 1024", 1024, mean=IMAGENET_MEAN, std=IMAGENET_STD),
            Contract(
                "modnet", "MODNet: short side 512, multiples of 32", 512, fit="short_side", mean=HALVES, std=HALVES
            ),
            Contract(
                "cvunet-modelscope",
                "CV-UNet Universal Matting of ModelScope: the picture's own size, RGBA out",
                0,
                fit="native",
                channels_last=True,
            ),
        )
    }
)
"""By name, which is what `--model-contract` takes."""


def canvas_for(contract: Contract, fixed: tuple[int, int], side: int, width: int, height: int) -> tuple[int, int]:
    """Return the (height, width) to which a picture is resized. `fixed` is what the file fixes, 0 where it does not."""
    if contract.fit == "native":
        return detail_size(width, height)
    if contract.fit == "stretch" or all(fixed):
        return fixed[0] or side, fixed[1] or side
    longer = min(LONGEST * side, round(side * max(width, height) / min(width, height) / STEP) * STEP)
    return (side, longer) if width >= height else (longer, side)


def warmup_canvases(contract: Contract, fixed: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """List the canvases to run at start: the usual one and, where there are many, the largest ones."""
    if contract.fit == "native":
        return [detail_size(512, 512), detail_size(2048, 2048)]
    pictures = [(1, 1)] if contract.fit == "stretch" or all(fixed) else [(1, 1), (LONGEST, 1), (1, LONGEST)]
    return [canvas_for(contract, fixed, side, width, height) for width, height in pictures]
