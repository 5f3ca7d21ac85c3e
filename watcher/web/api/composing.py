"""From a cut-out that the sink holds to the picture that a request asks for. Loads no torch.

The file that the sink holds is the answer where that is what is wanted. Everything else is composed in child processes,
since it decodes pictures of strangers, and takes memory and time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from inference.codec import probe
from inference.codec.header import identify
from inference.compose import read_text
from inference.compose.spec import OutputSpec
from inference.compose.values import Format
from inference.errors import PictureError
from inference.picture import Box
from watcher.config.outputs import OutputSettings
from watcher.stores.output_metadata import read_box
from watcher.web.api.removebg_options import RemovebgOptions
from watcher.web.api.wanted import Options
from watcher.web.child import Child, ChildFailed
from watcher.web.errors import ApiError, bad_request

PROCESSES = 2
"""Pictures that are composed at a time."""
TIMEOUT = 60.0
"""Seconds that one may take."""
MAX_PIXELS = 32_000_000
"""Largest picture that is composed, which takes up to 16 bytes of memory for each pixel."""
_WHOLE = frozenset({"format", "lossless", "quality", "depth", "dpi", "icc", "exif", "gps", "max_bytes"})
"""Options of an output that leave every pixel of the cut-out where it was."""
_READ_BY_LIBRARIES = frozenset({"AVIF", "HEIC"})
"""Formats whose headers are read by code in C, which only child processes may do with pictures of strangers."""


@dataclass(frozen=True)
class Result:
    """The picture for a request."""

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    foreground: Box
    """Where the object is in the photo."""


class Composer:
    """Makes pictures in child processes. Thread-safe; more callers than processes wait."""

    def __init__(self, processes: int = PROCESSES) -> None:
        self._all = [Child("watcher.web.api.compose_process", TIMEOUT) for _ in range(processes)]
        self._free: SimpleQueue[Child] = SimpleQueue()
        for child in self._all:
            self._free.put(child)

    def compose(self, file: bytes, options: Options, background: bytes = b"") -> Result:
        """Make what is wanted of the file of a cut-out, with a picture behind it. Raises ApiError."""
        if not background and options.wanted.is_served_by(file):
            return _kept(file, options)
        require_size(file)
        kind = "removebg" if isinstance(options, RemovebgOptions) else "rembg"
        header = {"kind": kind, "options": options.model_dump(exclude_defaults=True), "cutout": len(file)}
        child = self._free.get()
        try:
            answer, data = child.ask(header, file + background)
        except ChildFailed as error:
            raise bad_request("not_composed", f"the picture cannot be composed: {error}") from error
        finally:
            self._free.put(child)
        return _result(answer, data)

    def close(self) -> None:
        """End the processes."""
        for child in self._all:
            child.close()


def whole_cutout(outputs: Sequence[OutputSettings]) -> OutputSettings | None:
    """The output that has the whole picture with its alpha, the exact one first; None if there is none."""
    found = [output for output in outputs if _is_whole(output.spec)]
    return min(found, key=lambda output: (not output.spec.is_plain, output.spec.is_lossy), default=None)


def require_size(picture: bytes) -> None:
    """Raise ApiError for what is no picture, or for one with too many pixels, as far as its header says so here."""
    try:
        if identify(picture) in _READ_BY_LIBRARIES:
            return
        info = probe(picture)
    except PictureError as error:
        raise bad_request("unknown_format", str(error)) from error
    if info.width * info.height > MAX_PIXELS:
        raise bad_request(
            "resolution_too_high",
            f"the picture has {info.width} x {info.height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are "
            "composed here; send a smaller one, or use POST /v1/cutouts",
        )


def no_foreground() -> ApiError:
    """The error for a picture in which no object was found."""
    return bad_request("unknown_foreground", "no object was found in the picture; send one in which it is clearly seen")


def _is_whole(spec: OutputSpec) -> bool:
    return spec.format is not Format.JPEG and spec.changes().keys() <= _WHOLE


def _kept(file: bytes, options: Options) -> Result:
    """The file as it is, with what it records about itself."""
    corners = read_box(read_text(file))
    if corners is None:
        raise no_foreground()
    info = probe(file)
    return Result(file, options.wanted.look.chosen_format.content_type, info.width, info.height, Box(*corners))


def _result(answer: dict[str, Any], data: bytes) -> Result:
    if "error" in answer:
        raise bad_request(answer["error"]["code"], answer["error"]["detail"])
    return Result(data, answer["media_type"], answer["width"], answer["height"], Box(*answer["foreground"]))
