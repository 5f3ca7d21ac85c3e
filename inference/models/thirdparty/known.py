"""Open models that are known by name: where their files are, what they are good at, and their licences. No torch.

The files are those that rembg publishes (https://github.com/danielgatis/rembg, release v0.0.0), and they are kept
under the names that rembg gives them, so that both programs share one folder. Two digests are known of each file: the
MD5 that rembg's source code states (for `bria-rmbg` a SHA-256), and the SHA-256 that at least two independent public
projects state for the same file; those of u2net and u2netp were computed from the files themselves. A download must
have both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
"""Where rembg publishes the files."""
BLOCK = 1 << 20
"""Bytes that are read at a time."""


@dataclass(frozen=True)
class Licence:
    """The licence that a model's authors gave to its code and weights."""

    name: str
    url: str
    commercial: bool = True
    """Whether it allows commercial use."""


U2NET = Licence("Apache-2.0", "https://github.com/xuebinqin/U-2-Net")
DIS = Licence("Apache-2.0", "https://github.com/xuebinqin/DIS")
BIREFNET = Licence("MIT", "https://github.com/ZhengPeng7/BiRefNet")
BRIA = Licence("CC BY-NC 4.0", "https://huggingface.co/briaai/RMBG-2.0", commercial=False)


@dataclass(frozen=True)
class KnownModel:
    """A model that can be fetched by name."""

    name: str
    asset: str
    """The file's name in rembg's release."""
    bytes: int
    sha256: str
    md5: str
    """As rembg states it; empty where rembg states the SHA-256."""
    contract: str
    """Name of its preprocessing contract, see `contracts`."""
    licence: Licence
    good_at: str

    def path_in(self, folder: Path) -> Path:
        """The path of the file in the folder of models, whether it exists or not."""
        return folder / f"{self.name}.onnx"

    @property
    def megabytes(self) -> str:
        """The size of the file in MB, for people."""
        return f"{self.bytes / 1e6:,.0f} MB" if self.bytes >= 1e7 else f"{self.bytes / 1e6:.1f} MB"


KNOWN: Mapping[str, KnownModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            KnownModel(
                "u2netp",
                "u2netp.onnx",
                4_574_861,
                "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
                "8e83ca70e441ab06c318d82300c84806",
                "u2net",
                U2NET,
                "objects of any kind; very small",
            ),
            KnownModel(
                "silueta",
                "silueta.onnx",
                44_173_029,
                "75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb",
                "55e59e0d8062d2f5d013f4725ee84782",
                "u2net",
                U2NET,
                "u2net, reduced to a quarter of its size",
            ),
            KnownModel(
                "u2net",
                "u2net.onnx",
                175_997_641,
                "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
                "60024c5c889badc19c04ad937298a77b",
                "u2net",
                U2NET,
                "objects of any kind, also among clutter",
            ),
            KnownModel(
                "u2net_human_seg",
                "u2net_human_seg.onnx",
                175_997_641,
                "01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c",
                "c09ddc2e0104f800e3e1bb4652583d1f",
                "u2net",
                U2NET,
                "people",
            ),
            KnownModel(
                "isnet-general-use",
                "isnet-general-use.onnx",
                178_648_008,
                "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
                "fc16ebd8b0c10d971d3513d564d01e29",
                "isnet",
                DIS,
                "objects of any kind, with fine parts: it sees 1024 pixels",
            ),
            KnownModel(
                "birefnet-general-lite",
                "BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
                224_005_088,
                "5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333",
                "4fab47adc4ff364be1713e97b7e66334",
                "birefnet",
                BIREFNET,
                "birefnet-general with a smaller encoder, about twice as fast",
            ),
            KnownModel(
                "birefnet-general",
                "BiRefNet-general-epoch_244.onnx",
                972_666_916,
                "58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
                "7a35a0141cbbc80de11d9c9a28f52697",
                "birefnet",
                BIREFNET,
                "objects of any kind with sharp edges; slow without a GPU",
            ),
            KnownModel(
                "birefnet-massive",
                "BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420.onnx",
                972_666_916,
                "a94814cac438a31f95287811882628644a04b22d313ef3071d2ba904b5f627b8",
                "33e726a2136a3d59eb0fdf613e31e3e9",
                "birefnet",
                BIREFNET,
                "objects of any kind; trained on more data sets",
            ),
            KnownModel(
                "birefnet-dis",
                "BiRefNet-DIS-epoch_590.onnx",
                972_666_916,
                "6470117bac6f8d82a3f62921056f52d0f5c4d36d1d832096331d5ea38a03acb5",
                "2d4d44102b446f33a4ebb2e56c051f2b",
                "birefnet",
                BIREFNET,
                "objects with thin and intricate parts",
            ),
            KnownModel(
                "birefnet-hrsod",
                "BiRefNet-HRSOD_DHU-epoch_115.onnx",
                972_666_916,
                "4f5837663194fb88f603b76782eae05a3c29f5749872ca1bfb636bd26e7f6bfc",
                "c017ade5de8a50ff0fd74d790d268dda",
                "birefnet",
                BIREFNET,
                "the main object of high-resolution photographs",
            ),
            KnownModel(
                "birefnet-cod",
                "BiRefNet-COD-epoch_125.onnx",
                972_666_916,
                "91ec48f566db475cf6e4caa7e9cd997f352edfcc372372f437e2fbefc1557b13",
                "f6d0d21ca89d287f17e7afe9f5fd3b45",
                "birefnet",
                BIREFNET,
                "objects that hardly differ from their background",
            ),
            KnownModel(
                "birefnet-portrait",
                "BiRefNet-portrait-epoch_150.onnx",
                972_666_916,
                "1ba1c8ff5a7bbfadc8d8d13fb11d7be793f91f23d9d466549e37a854f6668f99",
                "c3a64a6abf20250d090cd055f12a3b67",
                "birefnet",
                BIREFNET,
                "portraits of people, with their hair",
            ),
            KnownModel(
                "bria-rmbg",
                "bria-rmbg-2.0.onnx",
                1_024_331_469,
                "5b486f08200f513f460da46dd701db5fbb47d79b4be4b708a19444bcd4e79958",
                "",
                "rmbg",
                BRIA,
                "products and people",
            ),
        )
    }
)
"""By name, which is what `--model` takes."""


@dataclass(frozen=True)
class Digests:
    """Digests of a file's content, in hex digits."""

    sha256: str
    md5: str

    def match(self, model: KnownModel) -> bool:
        """Whether the content is that model's."""
        return self.sha256 == model.sha256 and (not model.md5 or self.md5 == model.md5)


def digests_of(path: Path) -> Digests:
    """Compute both digests of a file in one pass."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            md5.update(block)
    return Digests(sha256.hexdigest(), md5.hexdigest())
