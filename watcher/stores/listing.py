"""Every file below a directory with its version: one scandir a directory, one stat a file, no recursion."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

import structlog

from watcher.errors import SourceMissing, Unavailable
from watcher.work import ImageRef

log = structlog.get_logger(__name__)

VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What the system says of a path at which there is nothing."""

Identity = tuple[int, int]


def version_of(status: os.stat_result) -> str:
    """Changes whenever the bytes may have: size, mtime in nanoseconds and inode."""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def modified_at(version: str) -> float:
    """The mtime that a version holds, in seconds since the epoch."""
    return int(version[version.index("-") + 1 : version.rindex("-")]) / 1e9


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8: others stand for their bytes with surrogates, which cannot be a key."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def identity(root: str) -> Identity:
    """Device and inode of a directory. Raises SourceMissing where there is none, Unavailable in other trouble."""
    try:
        status = os.stat(root)
    except OSError as error:
        if error.errno in VANISHED:
            raise SourceMissing(f"{root} is not there; mount or create it") from error
        raise Unavailable(f"{root}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SourceMissing(f"{root} is not a directory")
    return status.st_dev, status.st_ino


def linked_status(path: str, inside: str) -> os.stat_result | None:
    """The target's status of a symlink to a regular file below `inside` (which ends in a slash), else None."""
    try:
        target = os.path.realpath(path, strict=True)
        status = os.stat(target, follow_symlinks=False)
    except OSError:
        return None
    return status if target.startswith(inside) and stat.S_ISREG(status.st_mode) else None


class OddNames:
    """Files that can have no key. Each is told of once, or every rescan would fill the log."""

    _LIMIT = 10_000

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, path: str) -> None:
        """Log the path, unless it has been."""
        if path not in self._told and len(self._told) < self._LIMIT:
            self._told.add(path)
            log.warning("name_not_utf8", path=os.fsencode(path).decode(errors="backslashreplace"), cure="rename it")


class Listing:
    """The regular files below `below` (a key that ends in a slash; empty for all) of a root that ends in a slash.

    Hidden names are left out, directories that are symlinks too, and those that `enter` refuses by their key. A file
    that is a symlink counts if its target is below the root. Iterating raises SourceMissing or Unavailable.
    """

    def __init__(self, root: str, below: str, enter: Callable[[str], bool], odd: OddNames) -> None:
        self._root = root
        self._below = below
        self._enter = enter
        self._odd = odd
        self.complete = False
        """After the last item: whether every directory could be read."""

    def __iter__(self) -> Iterator[ImageRef]:
        started = identity(self._root)
        complete, stack = True, [self._below]
        while stack:
            prefix = stack.pop()
            try:
                yield from self._directory(prefix, stack)
            except OSError as error:
                if error.errno not in VANISHED:
                    complete = False
                    self._unreadable(prefix, error)
        if identity(self._root) != started:
            raise SourceMissing(f"{self._root} became another directory while it was listed")
        self.complete = complete

    def _unreadable(self, prefix: str, error: OSError) -> None:
        if not prefix:
            raise Unavailable(f"{self._root}: {error.strerror}; let this user read it") from error
        log.warning("directory_unreadable", path=self._root + prefix, problem=error.strerror)

    def _directory(self, prefix: str, stack: list[str]) -> Iterator[ImageRef]:
        with os.scandir(self._root + prefix) as entries:
            for entry in entries:
                name = entry.name
                key = prefix + name
                if name[0] == "." or not (name.isascii() or self._is_key(key)):
                    continue
                status = self._status(entry)
                if status is not None:
                    yield ImageRef(key, version_of(status), status.st_size)
                elif entry.is_dir(follow_symlinks=False) and self._enter(key + "/"):
                    stack.append(key + "/")

    def _is_key(self, path: str) -> bool:
        if is_text(path):
            return True
        self._odd.tell(self._root + path)
        return False

    def _status(self, entry: os.DirEntry[str]) -> os.stat_result | None:
        try:
            if entry.is_file(follow_symlinks=False):
                return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        return linked_status(entry.path, self._root) if entry.is_symlink() else None
