"""A zip file that is sent while it is written: pictures are stored as they are, one in memory at a time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

Entry = tuple[str, bytes, float]
"""Path, bytes and Unix time of a file."""


class _Window(io.RawIOBase):
    """A file that hands out what was written and forgets it. Only what is not handed out yet can be changed."""

    def __init__(self) -> None:
        self._start = 0
        self._data = io.BytesIO()

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._start + self._data.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._start:
            raise io.UnsupportedOperation("that part is sent already")
        return self._start + self._data.seek(offset - self._start)

    def write(self, data: Any) -> int:
        return self._data.write(data)

    def take(self) -> bytes:
        """Hand out what was written since the last call."""
        data = self._data.getvalue()
        self._start += len(data)
        self._data = io.BytesIO()
        return data


def zip_stream(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The pieces of a zip file. Paths must be relative and differ; sizes and checksums stand before each file."""
    window = _Window()
    with zipfile.ZipFile(window, "w", zipfile.ZIP_STORED) as archive:
        for path, data, modified in entries:
            info = zipfile.ZipInfo(path, datetime.fromtimestamp(max(modified, _FIRST), UTC).timetuple()[:6])
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
            yield window.take()
    yield window.take()


_FIRST = 315_532_800
"""1980, before which a zip file has no times."""


def safe_path(key: str) -> str:
    """A key as a path in a zip file, which no program extracts outside of its folder.

    >>> safe_path("../a\\\\b/c.png"), safe_path("/x.png")
    ('_/a_b/c.png', '_/x.png')
    """
    parts = key.replace("\\", "_").replace(":", "_").encode("utf-8", "replace").decode().split("/")
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)
