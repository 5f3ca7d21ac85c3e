"""Which keys are pictures, judged by their names alone."""

from __future__ import annotations

from collections.abc import Sequence

from watcher.sources.exclusions import Exclusions

READ = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "bmp", "gif", "avif"})
RECOGNISED = frozenset({"heic", "heif", "hif", "jxl", "jp2", "j2k", "psd", "exr"})
"""Extensions of picture formats that need a further package or are not read at all.

They are processed like any other picture, so that a rejection names each of them: a folder of them is not empty."""
EXTENSIONS = READ | RECOGNISED


def is_picture(key: str) -> bool:
    """Whether a key has a picture's extension and no hidden part.

    This leaves out the temporary names that browsers, editors and copy tools write to before they rename the complete
    file: `.x.jpg.Ab12`, `x.jpg.part`, `x.jpg.crdownload`, `x.jpg~`.
    """
    stem, dot, extension = key.rpartition("/")[2].rpartition(".")
    return bool(stem and dot) and extension.lower() in EXTENSIONS and not is_hidden(key)


def is_hidden(key: str) -> bool:
    """Whether any part of a key starts with a dot."""
    return key.startswith(".") or "/." in key


class SourceFilter:
    """Selects a source's pictures. Leaves out some directories, such as a sink below the source, and what matches."""

    def __init__(self, directories: Sequence[str] = (), patterns: Sequence[str] = ()) -> None:
        """`directories` are keys, with or without a final slash; `patterns` are those of `Exclusions`.

        Raises ValueError if a directory is the root, or a pattern is wrong.
        """
        prefixes = [prefix.rstrip("/") + "/" for prefix in directories]
        if "/" in prefixes or "./" in prefixes:
            raise ValueError("the whole source is excluded")
        self._directories = tuple(prefixes)
        self._exclusions = Exclusions(patterns)

    def accepts(self, key: str) -> bool:
        """Whether this source should process a file, by its name and folder."""
        return is_picture(key) and not key.startswith(self._directories) and not self._exclusions.excludes(key)

    def enters(self, directory: str) -> bool:
        """Whether a directory may hold pictures of this source; its key ends in a slash."""
        is_left_out = is_hidden(directory) or directory.startswith(self._directories)
        return not (is_left_out or self._exclusions.excludes_folder(directory))
