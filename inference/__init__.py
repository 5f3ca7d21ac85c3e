"""Background removal for photos: pictures in, cut-outs with an alpha channel out.

    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from inference import Engine, EngineOptions
    from inference.codec import decode, encode

    def cut_out(path: Path) -> None:
        picture = decode(path.read_bytes())                 # JPEG, PNG, WebP, ...; upright, in sRGB
        cutout = engine.submit(picture).result()            # RGBA with straight alpha, the picture's own size
        path.with_suffix(".png").write_bytes(encode(cutout))

    with Engine(EngineOptions(device="cpu")) as engine:     # or cuda:0; loads the model and warms it up
        with ThreadPoolExecutor(8) as pool:                 # concurrent submissions share batches
            list(pool.map(cut_out, Path("photos").glob("*.jpg")))

* `Picture` is a decoded photo, `Cutout` the same with alpha: both wrap a numpy array, H x W x 3 or H x W x 4 uint8.
  A `Picture` can be made from any such array: `Picture(pixels)`.
* `Engine` owns one device and one model. `EngineOptions` chooses them; `EngineOptions.model` takes the path of an ONNX,
  TorchScript or torch.export file as well (docs/models.md).
* `inference.codec` converts between bytes and pictures. Of the exceptions in `inference.errors`, `PictureError` means
  that this picture can never work, `EngineError` that it may work elsewhere or later.

The package knows no image folders, queues, HTTP, metrics or environment variables. Names are imported on first use, so
that codecs and the model registry work without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.engine import Engine, EngineOptions
    from inference.picture import BatchStats, Cutout, Picture

_MODULES = {
    "Engine": "inference.engine",
    "EngineOptions": "inference.engine",
    "BatchStats": "inference.picture",
    "Cutout": "inference.picture",
    "Picture": "inference.picture",
}
__all__ = ["BatchStats", "Cutout", "Engine", "EngineOptions", "Picture"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'inference' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
