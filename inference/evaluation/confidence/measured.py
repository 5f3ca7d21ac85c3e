"""One model's figures for every picture of a set; kept in a file, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from inference.device.thread import upload
from inference.device.transfers import Transfers
from inference.evaluation.confidence.pictures import Named
from inference.evaluation.metrics import intersection_over_union
from inference.foreground.reference import cut_out
from inference.models import open_model
from inference.models.base import MattingModel
from inference.models.entry import ModelEntry
from inference.models.registry import PIPELINE
from inference.picture import Picture
from inference.resampling import to_canvas
from inference.review import signals
from inference.synthetic import Sample

GOOD = 0.9
"""IoU with the true matte from which a cut-out is good."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Measured:
    """One picture, cut out by one model."""

    split: str
    name: str
    signals: tuple[float, ...]
    """In the order of `signals.SIGNALS`."""
    iou: float
    mad: float
    seconds: float
    """CPU time of the whole cut-out without decoding and encoding, on one thread."""
    review_seconds: float
    """The part of it that the signals took."""

    @property
    def good(self) -> bool:
        """Whether the cut-out is good."""
        return self.iou >= GOOD


def measure_set(entry: ModelEntry, label: str, pictures: Iterable[Named], folder: Path, about: str) -> list[Measured]:
    """Cut out every picture, as far as no earlier run with the same model and code has left the figures in `folder`.

    `label` names the set in file names, `about` is shown beside the progress bar.
    """
    path = folder / f"{label}-{Path(entry.name).stem}-{_fingerprint(entry)}.jsonl"
    if path.exists():
        return _read(path)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    done = len(_read(unfinished)) if unfinished.exists() else 0
    with unfinished.open("a", encoding="utf-8") as file:
        missing = islice(pictures, done, None)
        for one in track(_measure(entry, missing), about, console=Console(stderr=True)):
            file.write(json.dumps(asdict(one)) + "\n")
            file.flush()
    unfinished.rename(path)
    return _read(path)


def _read(path: Path) -> list[Measured]:
    """Read the whole lines of a file of figures."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
    return [Measured(**fields | {"signals": tuple(fields["signals"])}) for fields in map(json.loads, lines)]


def _fingerprint(entry: ModelEntry) -> str:
    """A digest that changes with the weights, the pipeline and the code that measures signals."""
    assert signals.__file__ is not None
    parts = [entry.digest, PIPELINE, entry.options, Path(signals.__file__).read_text("utf-8")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _measure(entry: ModelEntry, pictures: Iterable[Named]) -> Iterator[Measured]:
    torch.set_num_threads(1)
    model = open_model(entry)
    model.load(CPU)
    for split, name, sample in pictures:
        yield measure_one(model, split, name, sample)


@torch.inference_mode()
def measure_one(model: MattingModel, split: str, name: str, sample: Sample) -> Measured:
    """Cut out one picture as the engine does, in this thread, and compare it with its true matte."""
    begun = time.thread_time()
    source = Picture(np.ascontiguousarray(sample.image))
    picture = upload(source, Transfers(CPU))
    canvas = to_canvas(picture, model.canvas(source.width, source.height), model.dtype)
    coarse = model.coarse(canvas)
    reviewing = time.thread_time()
    values = signals.signals(signals.measure(model.matte(coarse), canvas)[0].tolist())
    reviewed = time.thread_time()
    alpha = model.refine(picture, coarse)
    cut_out(picture, alpha)
    seconds = time.thread_time() - begun
    matte, truth = _floats(alpha.numpy()), _floats(sample.alpha)
    iou, mad = intersection_over_union(matte, truth), float(np.abs(matte - truth).mean())
    return Measured(split, name, values, iou, mad, seconds, reviewed - reviewing)


def _floats(alpha: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(alpha, 255, dtype=np.float32)


def matrix(measured: Sequence[Measured]) -> NDArray[np.float64]:
    """The signals of all pictures, N x 9."""
    return np.array([one.signals for one in measured])
