"""Fits the constants of a calibration: logistic regression on the signals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.confidence.measured import Measured, matrix
from inference.review.calibration import Calibration, Constants
from inference.review.signals import SIGNALS

Array = NDArray[np.float64]

PENALTY = 3.0
"""Of the squared weights: with it, redundant signals share their weight."""
ROUNDS = 50
"""Of Newton's method, which needs about ten."""
ORDINARY = 0.9
"""Share of good cut-outs that a signal's limit lets pass without a doubt."""
LEAST = {"scattered": 0.05, "border": 0.02, "shadow": 0.02, "low_contrast": 0.1}
"""Limits that are never lower, for signals that are 0 for most pictures."""
STEPS = 100
"""Steps between the quantiles of the confidence."""
DIGITS = 6
"""Of constants in the file."""


def fit(measured: Sequence[Measured]) -> Calibration:
    """Fit a calibration to pictures whose outcome is known. Raises ValueError unless some are good and some bad."""
    good = np.array([one.good for one in measured])
    if good.all() or not good.any():
        raise ValueError("the calibration needs good and bad cut-outs")
    values = matrix(measured)
    centre, scale = values.mean(0), values.std(0) + 1e-6
    standard = (values - centre) / scale
    weights, bias = logistic_regression(standard, good)
    limits = np.quantile(values[good], ORDINARY, axis=0)
    constants = {
        name: Constants(*(round(float(value), DIGITS) for value in one))
        for name, *one in zip(SIGNALS, centre, scale, weights, _at_least(limits), strict=True)
    }
    chances = 1 / (1 + np.exp(-(standard @ weights + bias)))
    quantiles = np.quantile(chances, np.linspace(0, 1, STEPS + 1))
    return Calibration(constants, round(float(bias), DIGITS), tuple(round(float(q), 4) for q in quantiles))


def logistic_regression(values: Array, good: NDArray[np.bool_]) -> tuple[Array, float]:
    """Weights and bias for N x K standardised values, by Newton's method with a penalty on the weights."""
    inputs = np.column_stack((values, np.ones(len(values))))
    penalty = np.diag([PENALTY] * values.shape[1] + [0.0])
    solution = np.zeros(inputs.shape[1])
    for _ in range(ROUNDS):
        chances = 1 / (1 + np.exp(-inputs @ solution))
        slope = inputs.T @ (good - chances) - penalty @ solution
        curvature = (inputs.T * (chances * (1 - chances))) @ inputs + penalty
        solution = solution + np.linalg.solve(curvature, slope)
    return solution[:-1], float(solution[-1])


def _at_least(limits: Array) -> Array:
    return np.array([max(limit, LEAST.get(name, -np.inf)) for name, limit in zip(SIGNALS, limits, strict=True)])


def write(calibrations: Mapping[str, Calibration], path: Path) -> None:
    """Write the constants of every family, one line a signal."""
    lines = []
    for family, calibration in calibrations.items():
        signals = ",\n".join(
            f"      {json.dumps(name)}: {json.dumps(asdict(one))}" for name, one in calibration.signals.items()
        )
        rest = f'    "bias": {calibration.bias},\n    "quantiles": {json.dumps(calibration.quantiles)}'
        lines.append(f'  {json.dumps(family)}: {{\n    "signals": {{\n{signals}\n    }},\n{rest}\n  }}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
