"""The flags and the help of `alphadrop evaluate` and `alphadrop compare`. `quality` does the work, and needs torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from inference.models.thirdparty.contracts import CONTRACTS

EXAMPLES = {
    "evaluate": (
        "score a model on pictures whose true mattes you have",
        """examples:
  alphadrop evaluate images alphas                         the shipped model; figures and sheet go to evaluation/
  alphadrop evaluate images alphas --model mine.onnx --model-contract isnet --out mine

images/shoes/a.jpg is judged by alphas/shoes/a.png: the same path, whatever the ending. A matte is a grey picture, black
where there is no object, or the alpha of a picture that has one, in the photo's own size. SAD, Grad and Conn are sums
over a picture in thousands, MSE, MAD and IoU means over its pixels; of all but IoU, less is better.

Exit code: 0 all good, 2 usage or configuration, 3 some pictures were left out.""",
    ),
    "compare": (
        "lay two models side by side in one sheet",
        """examples:
  alphadrop compare nano isnet-general-use images          the sheet goes to comparison/sheet.png
  alphadrop compare old.safetensors new.safetensors images --rows 40
  alphadrop compare nano mine.onnx images --contract-b modnet

The sheet has the pictures on which the two differ most. Exit code: 3 if some pictures could not be read.""",
    ),
}


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Its folders."""
    for name, what in (("images", "folder with pictures"), ("alphas", "folder with their true mattes")):
        parser.add_argument(name, type=Path, metavar=name.upper(), help=what)
    _add_out(parser, "evaluation")


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Two models, each with its contract, and a folder."""
    for letter in "ab":
        model = letter.upper()
        parser.add_argument(letter, metavar=model, help="a model, written as for --model of the other commands")
        parser.add_argument(
            f"--contract-{letter}", default="", choices=CONTRACTS, metavar="NAME", help=f"contract of {model}"
        )
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder with pictures")
    parser.add_argument("--rows", type=_positive, default=12, metavar="N", help="pictures in the sheet (default: 12)")
    _add_out(parser, "comparison")


def _add_out(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"folder for what is written (default: {default})"
    parser.add_argument("--out", type=Path, default=Path(default), metavar="FOLDER", help=text)


def _positive(text: str) -> int:
    """Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
