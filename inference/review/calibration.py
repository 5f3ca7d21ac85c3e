"""From a matte's signals to its confidence: a logistic model whose constants `make calibrate` has fitted."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from inference.review.doubts import Doubt, Review

FILE = "calibration.json"
"""Holds the constants, beside this module."""
CVUNET, THIRD_PARTY = "cvunet", "third-party"
"""The families of models, each with constants of its own."""
EMPTY = 0.001
"""Mean of a matte up to which it counts as empty."""
DOUBTS: Mapping[str, Doubt] = {
    "undecided": Doubt.UNDECIDED,
    "unstable": Doubt.UNSTABLE_OUTLINE,
    "intricate": Doubt.INTRICATE_OUTLINE,
    "scattered": Doubt.SEVERAL_OBJECTS,
    "border": Doubt.TOUCHES_FRAME,
    "low_contrast": Doubt.LOW_CONTRAST,
    "shadow": Doubt.SHADOW_LIKE,
    "clutter": Doubt.BUSY_BACKGROUND,
}
"""The doubt that each signal stands for; coverage is none, since objects may have any size."""


@dataclass(frozen=True)
class Constants:
    """What one signal counts for."""

    centre: float
    """Its mean over the pictures of the calibration."""
    scale: float
    """Its standard deviation there."""
    weight: float
    """What a standard deviation more adds to the log odds of a good cut-out."""
    limit: float
    """Above it, the signal becomes a doubt: nine in ten good cut-outs have less."""


@dataclass(frozen=True)
class Calibration:
    """The constants of one family of models."""

    signals: Mapping[str, Constants]
    """By the names of `signals.SIGNALS`, in their order."""
    bias: float
    """Log odds of a good cut-out whose signals are all at their centres."""
    quantiles: tuple[float, ...]
    """Confidences of the pictures of the calibration, from the lowest to the highest in equal steps."""

    def review(self, values: Sequence[float]) -> Review:
        """Judge one matte by its signals, in the order of `signals.SIGNALS`. Not a number counts as no confidence."""
        named = dict(zip(self.signals, values, strict=True))
        odds = self.bias + sum(
            constants.weight * (named[name] - constants.centre) / constants.scale
            for name, constants in self.signals.items()
        )
        empty = not named["coverage"] > EMPTY
        doubts = [Doubt.EMPTY] if empty else self._doubts(named)
        return Review(0.0 if math.isnan(odds) else _logistic(odds), tuple(doubts))

    def _doubts(self, values: Mapping[str, float]) -> list[Doubt]:
        """The signals beyond their limits, those that are furthest beyond first."""
        beyond = {
            doubt: (values[name] - self.signals[name].limit) / self.signals[name].scale
            for name, doubt in DOUBTS.items()
            if values[name] > self.signals[name].limit
        }
        return sorted(beyond, key=lambda doubt: -beyond[doubt])


def _logistic(odds: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, odds))))


@cache
def load_calibration(family: str) -> Calibration:
    """The shipped constants of a family of models, CVUNET or THIRD_PARTY."""
    return parse_calibration(json.loads(_text())[family])


def calibration_digest() -> str:
    """SHA-256 of the shipped constants in hex digits, 12 of them: a cascade's choice depends on them."""
    return hashlib.sha256(_text().encode()).hexdigest()[:12]


def parse_calibration(fields: Mapping[str, Any]) -> Calibration:
    """Make a calibration from its part of the file."""
    constants = {name: Constants(**values) for name, values in fields["signals"].items()}
    return Calibration(constants, fields["bias"], tuple(fields["quantiles"]))


def _text() -> str:
    return (importlib.resources.files("inference.review") / FILE).read_text("utf-8")
