"""Identity of a loadable model. Imports no torch, so that the supervisor can compute job ids from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ModelKind = Literal["cvunet", "fake", "onnx", "torchscript", "exported"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded: where its weights are, what they are, and how its input is prepared."""

    kind: ModelKind
    name: str
    """What `--model` was given: a name or a path."""
    size: str
    """The size of CV-UNet, the contract of a third-party model, or `fake`."""
    canvas: int
    """Longer side of the canvas in pixels; 0 for the picture's own size."""
    digest: str
    """SHA-256 of the weights in hex digits; for the fake model, of its options."""
    path: Path | None
    contract: str = ""
    """Name of a third-party model's preprocessing contract, see `thirdparty.contracts`; empty for our own models."""
    fixed: tuple[int, int, int] = (0, 0, 0)
    """Batch size, height and width for which a third-party file was exported; 0 where any will do."""

    @property
    def title(self) -> str:
        """The name for people, without the folder of a file."""
        return Path(self.name).name

    @property
    def options(self) -> dict[str, str | int]:
        """Everything besides the weights that decides an output; part of each job's id."""
        canvas: dict[str, str | int] = {"canvas": self.canvas}
        return canvas | ({"contract": self.contract} if self.contract else {})

    @property
    def limits(self) -> str:
        """Why this model is slower than it could be, as a clause for people; empty if it is not."""
        batch = self.fixed[0]
        return f"the file has a fixed batch size of {batch}, which limits throughput" if batch else ""


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
