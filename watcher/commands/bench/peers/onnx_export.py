"""Exports CV-UNet's coarse network as an ONNX file with the inputs and outputs of u2net, so that rembg can load it.

`input` is 1 x 3 x 320 x 320, normalised with ImageNet's mean and deviation; the first output is the matte,
1 x 1 x 320 x 320 in 0..1. Needs the extra `bench`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from inference.models.cvunet import CVUNet, enlarge, load_network
from inference.models.entry import ModelEntry

SIDE = 320
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPSET = 18


class U2NetInterface(nn.Module):
    """Our coarse network with u2net's input normalisation and a sigmoid as its output."""

    def __init__(self, network: CVUNet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Compute the matte, B x 1 x 320 x 320, from normalised pictures, B x 3 x 320 x 320."""
        assert isinstance(self.mean, Tensor) and isinstance(self.deviation, Tensor)
        logits, _ = self.network.coarse(x * self.deviation + self.mean)
        return enlarge(logits, x).sigmoid()


def exportable(entry: ModelEntry) -> U2NetInterface:
    """Load the network of a registry entry, ready to be exported. Raises ModelError."""
    return U2NetInterface(load_network(entry).eval().requires_grad_(False).fold()).eval()


def export(entry: ModelEntry, path: Path) -> None:
    """Write the network and its weights into one file. Raises ModelError where the entry is not a CV-UNet."""
    model = exportable(entry)
    with _quiet():
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, SIDE, SIDE),),
            str(path),
            input_names=["input"],
            output_names=["matte"],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's messages, which are meant for its developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
