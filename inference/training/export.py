"""From a training's checkpoint to the weights file that alphadrop loads."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from inference.models.registry import FORMAT, shipped_path

CANVAS = 448
"""Side of the canvas at run time, in pixels, unless a setting says otherwise: the largest of the training."""


def export(run: Path, to: Path | None = None, earlier: Path | None = None, share: float = 1.0) -> Path:
    """Write the run's averaged weights, 16 bits, with what is needed to load them; returns the file's path.

    With `earlier`, weights from which the run went on, write the mean of both; `share` (0..1) is the run's part of it.
    The mean of weights with a common past is often better than either (Wortsman et al., "Model soups", 2022).
    """
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    weights = {name: tensor for name, tensor in state["average"].items() if not name.endswith("num_batches_tracked")}
    if earlier:
        with safe_open(earlier, "pt") as file:
            weights = {name: torch.lerp(file.get_tensor(name).float(), new, share) for name, new in weights.items()}
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
    save_file({name: compact(tensor) for name, tensor in weights.items()}, path, metadata=metadata)
    return path


def compact(tensor: torch.Tensor) -> torch.Tensor:
    """Convert to 16 bits in plain memory order: half the file, and the matte changes by far less than a grey level."""
    return tensor.half().contiguous()
