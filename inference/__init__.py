"""Pictures in, cut-outs out. Knows pictures and devices; no files, queues, HTTP, metrics or environment variables.

The face is loaded when it is first touched: the codecs and the catalogue work without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.engine import Engine, EngineOptions
    from inference.picture import BatchStats, Cutout, Picture

_FACE = {
    "Engine": "inference.engine",
    "EngineOptions": "inference.engine",
    "BatchStats": "inference.picture",
    "Cutout": "inference.picture",
    "Picture": "inference.picture",
}
__all__ = ["BatchStats", "Cutout", "Engine", "EngineOptions", "Picture"]


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'inference' has no attribute {name!r}")
    return getattr(import_module(_FACE[name]), name)
