"""What other people's models want to be given, and what they give back. Imports no torch.

A file of such a model holds weights and a graph, but not how its input is to be normalised or what its output means.
That is a contract, one for each family; `signature` finds it where the file leaves no doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from inference.canvas import detail_size

Fit = Literal["stretched", "short", "native"]
Triple = tuple[float, float, float]

PLAIN: Triple = (0.0, 0.0, 0.0)
ONES: Triple = (1.0, 1.0, 1.0)
HALF: Triple = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

STEP = 32
"""Sides of a picture that keeps its proportions are multiples of this."""
LONGEST = 4
"""So many short sides is the longest canvas; panoramas are squeezed into it."""


@dataclass(frozen=True)
class Contract:
    """How a family of models is fed. The input is `(x / highest - mean) / std`, with x in 0..1."""

    name: str
    about: str
    side: int
    """Of the canvas in pixels, where the file does not say; 0 for the picture's own."""
    fit: Fit = "stretched"
    mean: Triple = PLAIN
    std: Triple = ONES
    by_highest: bool = False
    """Whether the picture is divided by its own highest value."""
    logits: bool = False
    """Whether the sigmoid is still to be applied."""
    channels_last: bool = False
    """H x W x 3 in 0..255 to H x W x 4 in 0..255, one picture at a time."""


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
                by_highest=True,
            ),
            Contract("isnet", "IS-Net, DIS: 1024 x 1024, first matte", 1024, mean=HALF),
            Contract(
                "birefnet",
                "BiRefNet and its variants: 1024 x 1024 or 2048 x 2048, logits",
                1024,
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
                logits=True,
            ),
            Contract("rmbg", "RMBG 2.0: 1024 x 1024", 1024, mean=IMAGENET_MEAN, std=IMAGENET_STD),
            Contract("modnet", "MODNet: short side 512, multiples of 32", 512, fit="short", mean=HALF, std=HALF),
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

REMBG: Mapping[str, str] = MappingProxyType(
    {
        "u2net": "u2net",
        "u2netp": "u2net",
        "u2net_human_seg": "u2net",
        "silueta": "u2net",
        "isnet-general-use": "isnet",
        "birefnet-general": "birefnet",
        "birefnet-general-lite": "birefnet",
        "birefnet-portrait": "birefnet",
        "birefnet-dis": "birefnet",
        "birefnet-hrsod": "birefnet",
        "birefnet-cod": "birefnet",
        "birefnet-massive": "birefnet",
        "bria-rmbg": "rmbg",
    }
)
"""The models that rembg keeps as NAME.onnx in its folder, with their contracts."""


def canvas_of(contract: Contract, fixed: tuple[int, int], side: int, width: int, height: int) -> tuple[int, int]:
    """The (height, width) that a picture is brought to; `fixed` is what the file insists on, 0 where it does not."""
    if contract.fit == "native":
        return detail_size(width, height)
    if contract.fit == "stretched" or all(fixed):
        return fixed[0] or side, fixed[1] or side
    longer = min(LONGEST * side, round(side * max(width, height) / min(width, height) / STEP) * STEP)
    return (side, longer) if width >= height else (longer, side)


def warm_up(contract: Contract, fixed: tuple[int, int], side: int) -> list[tuple[int, int]]:
    """Canvases to try at start: the usual one, and the largest where there are many."""
    if contract.fit == "native":
        return [detail_size(512, 512), detail_size(2048, 2048)]
    pictures = [(1, 1)] if contract.fit == "stretched" or all(fixed) else [(1, 1), (LONGEST, 1), (1, LONGEST)]
    return [canvas_of(contract, fixed, side, width, height) for width, height in pictures]
