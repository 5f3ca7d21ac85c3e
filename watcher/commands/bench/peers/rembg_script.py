"""Runs rembg over a folder, as rembg's own command does: `PYTHON rembg_script.py SOURCE SINK MODEL.onnx`.

It runs in an environment that has rembg but not alphadrop, so it imports nothing of ours. It makes no connections: an
attempt of rembg to download something ends the script.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def forbid_network(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook that raises RuntimeError for every connection and name lookup."""
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"rembg tried to use the network: {event} {args[1:]}")


def main(source: Path, sink: Path, model: str) -> None:
    """Cut out every file of the source."""
    sys.addaudithook(forbid_network)
    from rembg import new_session, remove

    session = new_session("u2net_custom", model_path=model)
    paths = sorted(source.iterdir())
    sink.mkdir(parents=True, exist_ok=True)
    remove(paths[0].read_bytes(), session=session)  # a warm-up
    log("worker_ready")
    for path in paths:
        (sink / f"{path.stem}.png").write_bytes(remove(path.read_bytes(), session=session))
        log("image", outcome="written", device="rembg", key=path.name)


def log(event: str, **fields: str) -> None:
    """Write one JSON line to standard error."""
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
