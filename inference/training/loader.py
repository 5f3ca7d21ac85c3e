"""Batches of samples, made by processes of their own while the network learns."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from inference.corpus.layout import Layout
from inference.corpus.pictures import load_corpus
from inference.synthetic import Sample, SampleStream
from inference.training.mix import EDGE_SHARES, SHARES, MixedStream
from inference.training.schedule import Shape, edge_shape, shape_at

if TYPE_CHECKING:
    Batch = tuple[Tensor, Tensor, int]


class Stream(Protocol):
    """Endless samples."""

    def next(self, height: int, width: int) -> Sample:
        """The next sample, of height x width."""


def open_stream(seed: int, data: Path | None, edge: bool) -> Stream:
    """The mix of the training data in that folder, or drawings alone; for the edge head, only mattes that are exact."""
    if data is None:
        return SampleStream(seed)
    return MixedStream(seed, load_corpus(Layout(data)), EDGE_SHARES if edge else SHARES)


class Batches(IterableDataset[Any]):
    """An endless data set of batches: pictures B x H x W x 3 uint8, alphas B x H x W uint8, and their `Shape.ratio`.

    Their shapes follow the shared `progress`, 0..1. With `edge`, they are for the edge head alone. Without `data`, the
    folder of the training data, all samples are drawn.
    """

    def __init__(self, seed: int, progress: Synchronized[float], edge: bool, data: Path | None) -> None:
        self.seed, self.edge, self.data = seed, edge, data
        self.progress = progress

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        seed = self.seed * 1000 + (info.id if info else 0)
        rng, stream = np.random.default_rng(seed), open_stream(seed, self.data, self.edge)
        while True:
            yield render_batch(stream, edge_shape(rng) if self.edge else shape_at(self.progress.value, rng))


def render_batch(stream: Stream, shape: Shape) -> Batch:
    """Make one batch of this shape."""
    samples = [stream.next(shape.height, shape.width) for _ in range(shape.batch)]
    pictures = torch.from_numpy(np.stack([s.image for s in samples]))
    alphas = torch.from_numpy(np.stack([s.alpha for s in samples]))
    return pictures, alphas, shape.ratio


def batches(
    seed: int, workers: int, edge: bool = False, data: Path | None = None
) -> tuple[Iterator[Batch], Synchronized[float]]:
    """An endless iterator over batches, and the progress (0..1) that decides their shapes."""
    context = multiprocessing.get_context("spawn")
    progress: Synchronized[float] = context.Value("d", 0.0)
    loader: DataLoader[Batch] = DataLoader(
        Batches(seed, progress, edge, data),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=3,
        multiprocessing_context=context,
        worker_init_fn=be_nice,
    )
    return iter(loader), progress


def be_nice(_worker: int) -> None:
    """Lower the priority of a loader process: a training runs for hours beside other work."""
    os.nice(5)
    torch.set_num_threads(1)
