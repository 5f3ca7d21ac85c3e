"""From a cut-out to the file that a shop wants: frame, background, shadow, format, metadata.

    from inference.compose import OutputSpec, compose, read_source

    spec = OutputSpec(format="jpeg", background="white", canvas="2000x2000", share=0.85)
    source = read_source(data, [spec])                  # the photo's resolution, copyright, 16-bit colours
    composed = compose(cutout, spec, source, {"alphadrop:job": job})
    path.write_bytes(composed.data)

* `OutputSpec` says what an output looks like; `PRESETS` has those of marketplaces.
* `read_text` reads the text back from a file of any format.

Names are imported on first use, so that specs and presets load neither numpy nor a codec.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.compose.output import Composed, compose
    from inference.compose.presets import PRESETS, Preset
    from inference.compose.source import NO_METADATA, SourceMetadata, read_source
    from inference.compose.spec import PLAIN, OutputSpec
    from inference.compose.text import TEXT_BYTES, read_text

_MODULES = {
    "Composed": "output",
    "NO_METADATA": "source",
    "OutputSpec": "spec",
    "PLAIN": "spec",
    "PRESETS": "presets",
    "Preset": "presets",
    "SourceMetadata": "source",
    "TEXT_BYTES": "text",
    "compose": "output",
    "read_source": "source",
    "read_text": "text",
}
__all__ = [
    "NO_METADATA",
    "PLAIN",
    "PRESETS",
    "TEXT_BYTES",
    "Composed",
    "OutputSpec",
    "Preset",
    "SourceMetadata",
    "compose",
    "read_source",
    "read_text",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'inference.compose' has no attribute {name!r}")
    return getattr(import_module(f"inference.compose.{_MODULES[name]}"), name)
