"""The simplest pipeline, as a baseline: one file after the other through Pillow, torch and Pillow.

`python -m watcher.commands.bench.peers.sequential SOURCE SINK MODEL` resizes each picture to 320 x 320, enlarges the
network's matte to the picture's size as its alpha, and writes a PNG at Pillow's default level. It logs JSON lines.
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
from watcher.commands.bench.peers.onnx_export import SIDE


def main(source: Path, sink: Path, model: str) -> None:
    """Cut out every file of the source."""
    network = channels_last(load_network(resolve(model)).eval().requires_grad_(False).fold())
    sink.mkdir(parents=True, exist_ok=True)
    matte(network, Image.new("RGB", (SIDE, SIDE)))
    log("worker_ready")
    for path in sorted(source.iterdir()):
        cut_out(network, path, sink / f"{path.stem}.png")
        log("image", outcome="written", device="script", key=path.name)


def cut_out(network: CVUNet, path: Path, output: Path) -> None:
    """Cut out one picture."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    picture.putalpha(matte(network, picture))
    picture.save(output, "PNG")


def matte(network: CVUNet, picture: Image.Image) -> Image.Image:
    """The matte of a picture at the picture's size, as an image of mode L."""
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    with torch.inference_mode():
        canvas = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255
        logits, _ = network.coarse(canvas.contiguous(memory_format=torch.channels_last))
        alpha = F.interpolate(enlarge(logits, canvas).sigmoid(), (picture.height, picture.width), mode="bilinear")
        return Image.fromarray((alpha[0, 0] * 255).round().to(torch.uint8).numpy())


def log(event: str, **fields: str) -> None:
    """Write one JSON line to standard error."""
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
