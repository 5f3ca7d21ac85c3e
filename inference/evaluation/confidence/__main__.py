"""`python -m inference.evaluation.confidence`: calibrate | cascade."""

from __future__ import annotations

import argparse
import importlib.resources
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.corpus.layout import Layout
from inference.evaluation.confidence import cascade, fitting, reliability
from inference.evaluation.confidence.measured import Measured, measure_set
from inference.evaluation.confidence.pictures import calibration_pictures, real_pictures
from inference.models.registry import resolve
from inference.review.calibration import CVUNET, FILE, THIRD_PARTY, Calibration, load_calibration

IMAGES = Path("docs/images")
SLOW = 5
"""A third-party model cuts out one in SLOW of the calibration's pictures, because it takes ten times as long."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one of the commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m inference.evaluation.confidence", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shape = argparse.ArgumentDefaultsHelpFormatter
    calibrate = commands.add_parser("calibrate", help="fit the constants of the confidence", formatter_class=shape)
    calibrate.add_argument(
        "--family", choices=(CVUNET, THIRD_PARTY), action="append", help="fit this one only; default: cvunet"
    )
    calibrate.set_defaults(command=run_calibrate)
    compare = commands.add_parser("cascade", help="quality against cost on `real`", formatter_class=shape)
    compare.set_defaults(command=run_cascade)
    for command in (calibrate, compare):
        command.add_argument(
            "--data", type=Path, default=Path("training-data"), help="what make training-data gathered"
        )
        command.add_argument("--cache", type=Path, default=Path("runs/confidence"), help="figures of earlier runs")
        command.add_argument("--model", default="nano", help="the model of alphadrop's own to judge")
    args = parser.parse_args(arguments)
    try:
        args.command(args, Layout(args.data))
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run_calibrate(args: argparse.Namespace, layout: Layout) -> None:
    """Fit the calibrations of some families, write their constants, and print and draw their reliability on `real`."""
    path = Path(str(importlib.resources.files("inference.review"))) / FILE
    families = args.family or [CVUNET]
    kept = {family for family in (CVUNET, THIRD_PARTY) if family not in families}
    calibrations: dict[str, Calibration] = {family: load_calibration(family) for family in kept}
    for family in families:
        calibrations[family] = fitting.fit(_training_figures(args, layout, family))
    fitting.write(dict(sorted(calibrations.items())), path)
    measured = {name: _real_figures(args, layout, name) for name in _models(args, layout)}
    judged = []
    for name, figures in measured.items():
        calibration = calibrations[CVUNET if name == args.model else THIRD_PARTY]
        confidence, good = reliability.confidences(calibration, figures), _good(figures)
        print(reliability.table(f"{name} on `real`", confidence, good), end="\n\n")
        judged.append((f"{name} on `real`", confidence, good))
        share = sum(one.review_seconds for one in figures) / sum(one.seconds for one in figures)
        print(f"The signals take {share:.1%} of the time that {name} takes for a cut-out.\n")
    reliability.plot(judged, IMAGES / "review-reliability.png")
    print(f"The constants are in {path}, the plot is in {IMAGES / 'review-reliability.png'}.")


def run_cascade(args: argparse.Namespace, layout: Layout) -> None:
    """Print and draw quality against cost of the model with u2net behind it."""
    if not layout.teacher.exists():
        raise FileNotFoundError(f"{layout.teacher} does not exist: run make training-data")
    fast, strong = (_real_figures(args, layout, name) for name in (args.model, "u2net"))
    first = reliability.confidences(load_calibration(CVUNET), fast)
    second = reliability.confidences(load_calibration(THIRD_PARTY), strong)
    pair = cascade.Pair.of(fast, strong, (first, second))
    points = cascade.curve(pair)
    print(cascade.table(pair, points), cascade.verdict(pair, points), sep="\n\n")
    cascade.plot(pair, (args.model, "u2net"), IMAGES / "cascade.png")
    print(f"\nThe curve is in {IMAGES / 'cascade.png'}.")


def _models(args: argparse.Namespace, layout: Layout) -> dict[str, str]:
    """Names and files of the models to judge: ours, and u2net if it is there."""
    return {args.model: args.model} | ({"u2net": str(layout.teacher)} if layout.teacher.exists() else {})


def _training_figures(args: argparse.Namespace, layout: Layout, family: str) -> list[Measured]:
    if family == CVUNET:
        pictures = calibration_pictures(layout)
        return measure_set(resolve(args.model), "calibration", pictures, args.cache, f"calibrating {args.model}")
    small = resolve(str(layout.small_rival))
    return measure_set(
        small, "calibration", islice(calibration_pictures(layout), 0, None, SLOW), args.cache, "calibrating u2netp"
    )


def _real_figures(args: argparse.Namespace, layout: Layout, name: str) -> list[Measured]:
    return measure_set(
        resolve(_models(args, layout)[name]), "real", real_pictures(layout), args.cache, f"{name} on real"
    )


def _good(measured: Sequence[Measured]) -> NDArray[np.bool_]:
    return np.array([one.good for one in measured])


if __name__ == "__main__":
    raise SystemExit(main())
