"""The training: a time budget, a checkpoint every few minutes, an exponential average of the weights as the result."""

from __future__ import annotations

import copy
import math
import os
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file
from torch import Tensor

from inference.corpus.layout import Layout
from inference.models.cvunet import CONTRAST, SIZES, CVUNet, Level, channels_last
from inference.models.encoder import Bottleneck, ImageNetEncoder, translated
from inference.models.native import fastest_dtype
from inference.training.curve import draw_curve
from inference.training.loader import batches
from inference.training.losses import coarse_loss, edge_loss

PRETRAINED_RATE = 0.1
"""The part of the learning rate by which the encoder's ImageNet weights are trained."""
FROZEN_STAGES = 3
"""The encoder's first stages, which see edges and colours, stay as they are: their gradients cost most of the time."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train. `minutes` counts the training itself, over all resumed runs together."""

    out: Path
    size: str = "nano"
    minutes: float = 120.0
    device: str = "cpu"
    threads: int = 2
    workers: int = 1
    seed: int = 1
    data: Path | None = None
    """The folder of the training data, which also holds the encoder's ImageNet weights; None: drawings alone."""
    start: Path | None = None
    """Weights to begin with, safetensors; the phases with the smallest pictures are left out then."""
    edge: bool = False
    """Train the edge head alone, on pictures several times as large as the canvas."""
    head: Path | None = None
    """Weights whose edge head to begin with; its layer that reads the U-Net's features begins anew."""
    learning_rate: float = 2.0e-3
    checkpoint_seconds: float = 120.0


class Trainer:
    """Owns the network, its average and the optimiser; `run` trains until the time budget is spent."""

    def __init__(self, options: TrainOptions) -> None:
        self.options = options
        torch.manual_seed(options.seed)
        torch.set_num_threads(options.threads)
        self.device = torch.device(options.device)
        self.half = fastest_dtype(self.device) != torch.float32
        self.network = channels_last(CVUNet(SIZES[options.size]).to(self.device))
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.network.unet.requires_grad_(not options.edge).train(not options.edge)
        self.pretrained = list[Tensor]()
        if isinstance(self.network.unet.encoder, ImageNetEncoder) and not options.edge:
            self.pretrained = [p for p in freeze(self.network.unet.encoder).parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameter_groups(), lr=options.learning_rate, weight_decay=0.01)
        self.seconds, self.steps, self.samples = 0.0, 0, 0
        self.history: list[dict[str, float]] = []
        options.out.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self.restore()
        elif options.start:
            self.begin_with(options.start)
        elif options.data and self.pretrained:
            self.begin_with_imagenet(Layout(options.data).encoder)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trained weights, and their part of the learning rate: PRETRAINED_RATE for pretrained ones."""
        chosen = (self.network.edge if self.options.edge else self.network).parameters()
        known = {id(parameter) for parameter in self.pretrained}
        fresh = [parameter for parameter in chosen if parameter.requires_grad and id(parameter) not in known]
        groups: list[dict[str, Any]] = [{"params": fresh, "part": 1.0}]
        return [*groups, {"params": self.pretrained, "part": PRETRAINED_RATE}] if self.pretrained else groups

    @property
    def checkpoint(self) -> Path:
        """The path of the checkpoint, which holds the state between runs."""
        return self.options.out / "checkpoint.pt"

    @property
    def progress(self) -> float:
        """The part of the time budget that is spent, 0..1."""
        return min(1.0, self.seconds / (self.options.minutes * 60))

    def run(self) -> None:
        """Train until the budget is spent; safe to kill at any time and to start again."""
        # A resumed run must not see the first run's samples again.
        seed, data = self.options.seed + self.steps, self.options.data
        stream, shown = batches(seed, self.options.workers, self.options.edge, data)
        losses: list[float] = []
        stream = chain([next(stream)], stream)  # the time that the loader takes to start is not training
        saved = last = time.monotonic()
        with progress_bar() as bar:
            task = bar.add_task("training", total=1.0, loss=float("nan"))
            while self.progress < 1.0:
                shown.value = self.progress if self.options.start is None else 0.3 + 0.7 * self.progress
                pictures, alphas, ratio = next(stream)
                losses.append(self.step(pictures, alphas, ratio))
                bar.update(task, completed=self.progress, loss=losses[-1])
                now = time.monotonic()
                self.seconds, last = self.seconds + now - last, now
                if now - saved > self.options.checkpoint_seconds or self.progress >= 1.0:
                    self.note(sum(losses) / len(losses), bar.console)
                    self.save()
                    losses, saved = [], now

    def step(self, pictures: Tensor, alphas: Tensor, ratio: int) -> float:
        """One optimiser step on uint8 B x H x W x 3 pictures and B x H x W alphas; returns the loss.

        Pictures of the canvas's own size teach the U-Net alone, which is most of what there is to learn and takes half
        of the time; larger ones teach the edge head too. The loss is the U-Net's, unless only the edge head is trained.
        """
        picture = pictures.to(self.device).permute(0, 3, 1, 2).float().div(255)
        alpha = alphas.to(self.device)[:, None].float().div(255)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate() * group["part"]
        canvas = picture if ratio == 1 else F.avg_pool2d(picture, ratio)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits, features = self.network.coarse(canvas.contiguous(memory_format=torch.channels_last))
            levels = self.network.refine(picture, logits, features) if ratio > 1 else []
        losses = [coarse_loss(logits.float(), alpha)]
        if levels:
            losses.append(edge_loss([Level(*map(Tensor.float, level)) for level in levels], alpha))
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.steps, self.samples = self.steps + 1, self.samples + len(pictures)
        self.follow()
        return float(losses[-1 if self.options.edge else 0].detach())

    def learning_rate(self) -> float:
        """A short warm-up, then half a cosine down to a fiftieth."""
        warm = min(1.0, (self.steps + 1) / 200)
        return self.options.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.progress)))

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the network; fast at first, then over about a thousand steps."""
        rate = 1 - min(0.999, (1 + self.steps) / (10 + self.steps))
        for mean, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(new, rate)
            else:
                mean.copy_(new)

    def note(self, loss: float, console: Console) -> None:
        """Append to the history, draw the curve, and print a line."""
        minutes = self.seconds / 60
        counts = {"minutes": minutes, "steps": self.steps, "samples": self.samples}
        self.history.append({**counts, "loss": loss, "learning_rate": self.learning_rate()})
        draw_curve(self.history, self.options.out / "curve.png")
        console.print(f"{minutes:6.1f} min  {self.steps:6,} steps  {self.samples:8,} samples  loss {loss:.4f}")

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "size": self.options.size,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "seconds": self.seconds,
            "steps": self.steps,
            "samples": self.samples,
            "history": self.history,
        }
        temporary = self.checkpoint.with_suffix(".part")
        torch.save(state, temporary)
        os.replace(temporary, self.checkpoint)

    def begin_with(self, weights: Path) -> None:
        """Take the weights that an earlier run has exported; they are of the same size, or it raises RuntimeError."""
        for network in (self.network, self.average):
            network.load_state_dict({name: w.float() for name, w in load_file(weights).items()}, strict=False)
            if self.options.head:
                known = {name: w.float() for name, w in load_file(self.options.head).items()}
                kept = {name: w for name, w in known.items() if name.startswith("edge.") and "edge.guide" not in name}
                network.load_state_dict(kept, strict=False)

    def begin_with_imagenet(self, weights: Path) -> None:
        """Take the encoder's ImageNet weights, a torch file. Raises OSError where there is none."""
        published = torch.load(weights, map_location="cpu", weights_only=True)
        for network in (self.network, self.average):
            network.unet.encoder.load_state_dict(translated(published, CONTRAST))

    def restore(self) -> None:
        """Continue where the last run stopped."""
        state: dict[str, Any] = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.seconds, self.steps, self.samples = state["seconds"], state["steps"], state["samples"]
        self.history = state["history"]


def freeze(encoder: ImageNetEncoder) -> ImageNetEncoder:
    """Exclude what is not worth its time from training: batch norm statistics, the first stages, depthwise filters."""
    encoder.eval()
    encoder.stem.requires_grad_(False)
    encoder.stages[:FROZEN_STAGES].requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, Bottleneck):
            module.filter.requires_grad_(False)
    return encoder


def progress_bar() -> Progress:
    """A progress bar on a terminal; elsewhere only the lines that are printed beside it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
    )
    return Progress(*columns, TimeRemainingColumn())
