"""How an engine is opened. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

CPU_BATCH = 4
"""Default batch size on a CPU, where larger batches cost memory and save no time."""
GPU_BATCH = 64
"""Largest default batch size on a GPU; how many of these fit is measured in the warm-up."""


@dataclass(frozen=True)
class EngineOptions:
    """Which model runs on which device, and how."""

    device: str = "cpu"
    """`cpu`, `cuda:0`, ..."""
    model: str = "nano"
    """A size of CV-UNet, the path of a file, a model that rembg has downloaded, or `fake`: see `registry.resolve`."""
    canvas: int | None = None
    """Longer side in pixels at which the model sees the whole picture; None for the model's own."""
    batch: int = 0
    """Largest batch; 0 for CPU_BATCH, or for as many as fit into the GPU's memory."""
    batch_pixels: int = 64_000_000
    """Pixels of all pictures in a batch, at most; a single picture may have more."""
    max_wait: float = 0.020
    """Seconds that a short batch waits, at most, for pictures that have been announced."""
    threads: int = 0
    """Torch's threads; 0 for torch's default."""
    contract: str = ""
    """Preprocessing contract of a third-party model, where its file does not determine it."""
    cuda_graphs: bool = True
    """Whether the coarse step runs as CUDA graphs where device and model allow it."""
    codecs: int = 0
    """Threads that may hold `core_lock` at a time beside a GPU; 0 for any number."""
    sharing: int = 1
    """Engines, in processes of their own, that share the GPU: each uses an equal part of its memory."""
    pixels_in_flight: int = 0
    """Pixels of all pictures in flight, for which memory is pinned beside a GPU; 0 for `pinned_memory.PIXELS`."""
