"""The plainest pipeline there is, to be compared with: one file after the other, Pillow, torch, Pillow.

`python -m watcher.commands.bench.peers.sequential SOURCE SINK MODEL`: the picture is squeezed onto 320 x 320, the
network's matte is enlarged to the picture and becomes its alpha; PNG at Pillow's default level. It says in JSON lines
when it did what.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from inference.models.cvunet import CVUNet, channels_last, enlarge, load_network
from inference.models.registry import resolve
from watcher.commands.bench.engine.onnx import SIDE


def main(source: Path, sink: Path, model: str) -> None:
    """Every file of the source."""
    network = channels_last(load_network(resolve(model)).eval().requires_grad_(False).fold())
    sink.mkdir(parents=True, exist_ok=True)
    matte(network, Image.new("RGB", (SIDE, SIDE)))
    say("worker_ready")
    for path in sorted(source.iterdir()):
        cut_out(network, path, sink / f"{path.stem}.png")
        say("image", outcome="written", device="script", key=path.name)


def cut_out(network: CVUNet, path: Path, output: Path) -> None:
    """One picture."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    picture.putalpha(matte(network, picture))
    picture.save(output, "PNG")


def matte(network: CVUNet, picture: Image.Image) -> Image.Image:
    """Its alpha, at its own size."""
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    with torch.inference_mode():
        canvas = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255
        logits, _ = network.coarse(canvas.contiguous(memory_format=torch.channels_last))
        alpha = F.interpolate(enlarge(logits, canvas).sigmoid(), (picture.height, picture.width), mode="bilinear")
        return Image.fromarray((alpha[0, 0] * 255).round().to(torch.uint8).numpy())


def say(event: str, **fields: str) -> None:
    """One line."""
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
