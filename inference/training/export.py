"""From a training's checkpoint to the weights file that alphadrop loads."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from inference.models.registry import FORMAT, shipped_path

CANVAS = 448
"""Side of the canvas at run time, in pixels, unless a setting says otherwise. The training's largest is 384, but the
`real` split's IoU is best at this one."""


def export(run: Path, to: Path | None = None) -> Path:
    """Write the run's averaged weights, 16 bits, with what is needed to load them; returns the file's path."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    weights = {
        name: compact(tensor) for name, tensor in state["average"].items() if not name.endswith("num_batches_tracked")
    }
    size = str(state["size"])
    path = to or shipped_path(size)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "format": FORMAT,
        "size": size,
        "canvas": str(CANVAS),
        "minutes": f"{state['seconds'] / 60:.1f}",
        "samples": str(state["samples"]),
    }
    save_file(weights, path, metadata=metadata)
    return path


def compact(tensor: torch.Tensor) -> torch.Tensor:
    """16 bits in plain memory order: half the file, and the matte changes by far less than a grey level."""
    return tensor.half().contiguous()
