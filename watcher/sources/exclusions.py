"""Which files and folders of a source are left out, by patterns like those of a .gitignore file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

SERVICE_FOLDERS = (
    "#recycle",  # Synology: what users have deleted
    "#snapshot",
    "@eaDir",  # Synology: thumbnails and indexes
    "@tmp",
    "@Recycle",  # QNAP
    "@Recently-Snapshot",
    "@__thumb",
    "~snapshot",  # NetApp
    "$RECYCLE.BIN",  # Windows
    "RECYCLER",
    "System Volume Information",
    "Network Trash Folder",  # macOS on file servers
    "Temporary Items",
    "__MACOSX",  # macOS archives
    "lost+found",
)
"""Folders in which NAS and operating systems keep thumbnails, snapshots and deleted files, whatever their case.

Hidden folders such as .stversions (Syncthing), .sync (Resilio), .dropbox.cache and .Trash-1000 are left out anyway.
"""
_SERVICE_NAMES = frozenset(name.lower() for name in SERVICE_FOLDERS)
_TOKEN = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[!?\]?[^\]]*\]|\\.|.", re.DOTALL)
_FIXED = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_CACHED_FOLDERS = 4096


@dataclass(frozen=True)
class Pattern:
    """A pattern, compiled for the path of a file or folder without its final slash."""

    regex: re.Pattern[str]
    folders_only: bool
    includes: bool
    """Whether it includes again what an earlier pattern leaves out."""

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Compile one pattern. Raises ValueError, which says what is wrong with it."""
        includes = text.startswith("!")
        body = text.removeprefix("!").removeprefix("./")
        path = body.rstrip("/")
        if not path.strip("/"):
            raise ValueError(f"{text!r} names no file and no folder; write, for example, 'drafts/' or '*_preview.jpg'")
        if not includes and not path.strip("*/"):
            raise ValueError(f"{text!r} leaves out every image; name the files or folders to leave out")
        anywhere = "" if "/" in path else "(?:.*/)?"
        try:
            regex = re.compile(anywhere + "".join(_translated(path.removeprefix("/"))), re.DOTALL)
        except re.error as error:
            raise ValueError(f"{text!r} is no pattern: {error}") from error
        return cls(regex, body.endswith("/"), includes)


def _translated(path: str) -> Iterator[str]:
    for token in _TOKEN.findall(path):
        if token in _FIXED:
            yield _FIXED[token]
        elif len(token) > 2 and token[0] == "[":
            yield "[" + token[1:-1].replace("\\", "\\\\").replace("!", "^", token[1] == "!") + "]"
        elif token.startswith("**"):
            yield ".*"
        else:
            yield re.escape(token[-1] if token[0] == "\\" else token)


class Exclusions:
    """Patterns in their order, after the service folders: the last one that matches decides.

    What lies in a folder that is left out cannot be included again, as in a .gitignore file.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Raises ValueError for a pattern that is wrong."""
        self._patterns: Sequence[Pattern] = tuple(map(Pattern.parse, patterns))
        self._for_files = tuple(pattern for pattern in self._patterns if not pattern.folders_only)
        self.excludes_folder = lru_cache(_CACHED_FOLDERS)(self._excludes_folder)
        """Whether a folder is left out; its key ends in a slash, and "" is the root."""

    def excludes(self, key: str) -> bool:
        """Whether a file is left out, for its own name or for one of its folders."""
        return self.excludes_folder(key[: key.rfind("/") + 1]) or self._decide(key, self._for_files, False)

    def _excludes_folder(self, key: str) -> bool:
        path = key.rstrip("/")
        if not path:
            return False
        parent, _, name = path.rpartition("/")
        if parent and self.excludes_folder(parent + "/"):
            return True
        return self._decide(path, self._patterns, name.lower() in _SERVICE_NAMES)

    @staticmethod
    def _decide(path: str, patterns: Sequence[Pattern], excluded: bool) -> bool:
        for pattern in patterns:
            if pattern.includes == excluded and pattern.regex.fullmatch(path):
                excluded = not excluded
        return excluded
