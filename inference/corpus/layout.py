"""Where the training data lies below one folder, which git ignores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path("training-data")


@dataclass(frozen=True)
class Layout:
    """The folders of the training data."""

    root: Path = DEFAULT

    @property
    def packages(self) -> Path:
        """The fetched packages."""
        return self.root / "packages"

    @property
    def photographs(self) -> Path:
        """Whole photographs, for training."""
        return self.root / "photographs"

    @property
    def mattes(self) -> Path:
        """The teacher's matte of each photograph: a PNG of TEACHER x TEACHER pixels with the photograph's stem."""
        return self.root / "mattes"

    @property
    def objects(self) -> Path:
        """Photographed objects with an alpha channel, for training."""
        return self.root / "objects"

    @property
    def backgrounds(self) -> Path:
        """Photographs without an object, for training."""
        return self.root / "grounds"

    @property
    def surfaces(self) -> Path:
        """Photographed materials that can be tiled, for training."""
        return self.root / "surfaces"

    @property
    def rendered(self) -> Path:
        """Pictures of textured models with exact mattes, for training; beside each its shadow, `NAME.shadow.png`."""
        return self.root / "rendered"

    @property
    def real_objects(self) -> Path:
        """The objects of the `real` split, which no training may read."""
        return self.root / "real" / "objects"

    @property
    def real_backgrounds(self) -> Path:
        """The backgrounds of the `real` split, which no training may read."""
        return self.root / "real" / "grounds"

    @property
    def looked_at(self) -> Path:
        """The photographs of the evaluation's sheet, which no training may read."""
        return self.root / "looked-at"

    @property
    def models(self) -> Path:
        """The teacher, the networks to compare with, and the encoder's ImageNet weights."""
        return self.root / "models"

    @property
    def encoder(self) -> Path:
        """The ImageNet weights of EfficientNet-Lite0, a torch file."""
        return self.models / "efficientnet-lite0.pth"

    @property
    def teacher(self) -> Path:
        """U-2-Net, an ONNX file."""
        return self.models / "u2net.onnx"

    @property
    def small_rival(self) -> Path:
        """U-2-Net's small variant, an ONNX file."""
        return self.models / "u2netp.onnx"

    @property
    def done(self) -> Path:
        """The marker files of the packages that have been unpacked."""
        return self.root / "done"

    @property
    def complete(self) -> Path:
        """The file with the digest of all sources, written when everything is there."""
        return self.done / "complete"
