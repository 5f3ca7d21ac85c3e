"""What identifies a model that can be loaded. Imports no torch, so that the supervisor can compute job ids from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded. `digest` is the sha256 of its weights (or of its options, for the fake)."""

    kind: str
    """cvunet, fake, onnx, torchscript or exported."""
    name: str
    size: str
    canvas: int
    digest: str
    path: Path | None
    contract: str = ""
    """What somebody else's model is fed, see `contracts`."""
    fixed: tuple[int, int, int] = (0, 0, 0)
    """Batch, height and width that the file insists on; 0 where any will do."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON can carry it, to another process."""
        return asdict(self) | {"path": self.path and str(self.path)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelEntry:
        """What `to_dict` has written."""
        path = Path(values["path"]) if values["path"] else None
        return cls(**{**values, "path": path, "fixed": tuple(values["fixed"])})

    @property
    def options(self) -> dict[str, str | int]:
        """What decides an output besides the weights."""
        canvas: dict[str, str | int] = {"canvas": self.canvas}
        return canvas | ({"contract": self.contract} if self.contract else {})

    @property
    def limits(self) -> str:
        """What there is to know about its speed, empty if nothing."""
        batch = self.fixed[0]
        return f"the file is made for batches of {batch} alone, which limits throughput" if batch else ""


def digest_of(path: Path) -> str:
    """The sha256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
