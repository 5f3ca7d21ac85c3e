"""Which devices to run workers on, found out without importing torch here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_COUNT = "import torch; print(torch.cuda.device_count())"


def count_gpus() -> int:
    """How many CUDA devices torch sees. Asks a short-lived process, and only where there is a driver at all."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return 0
    answer = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.returncode == 0 else 0


def expand(text: str, count: Callable[[], int] = count_gpus) -> list[str]:
    """`auto` to every GPU or the CPU, `cpu:2` to two workers on the CPU, `cuda:0,cuda:1` to those two.

    >>> expand("cpu:2")
    ['cpu', 'cpu']
    """
    if text == "auto":
        return [f"cuda:{index}" for index in range(count())] or ["cpu"]
    return [device for word in text.split(",") for device in _workers(word.strip())]


def _workers(word: str) -> list[str]:
    twins = re.fullmatch(r"cpu:(\d+)", word)
    return ["cpu"] * int(twins[1]) if twins else [word]
