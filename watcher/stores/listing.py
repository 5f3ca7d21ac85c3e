"""Every file below a directory with its version: one scandir a directory, one stat a file, no recursion."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

import structlog

from watcher.core.errors import SourceMissing, Unavailable
from watcher.core.jobs import ImageRef

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
    that is a symlink counts if its target is below the root. Ordered, they come in the order of their keys' UTF-8, at
    the price of the names of one directory on each level. Iterating raises SourceMissing or Unavailable.
    """

    def __init__(
        self, root: str, below: str, enter: Callable[[str], bool], odd: OddNames, *, ordered: bool = False
    ) -> None:
        self._root = root
        self._below = below
        self._enter = enter
        self._odd = odd
        self._walk = self._in_order if ordered else self._as_found
        self._passed_over = False
        self.complete = False
        """After the last item: whether every directory could be read."""

    def __iter__(self) -> Iterator[ImageRef]:
        started = identity(self._root)
        self._passed_over = False
        yield from self._walk()
        if identity(self._root) != started:
            raise SourceMissing(f"{self._root} became another directory while it was listed")
        self.complete = not self._passed_over

    def _as_found(self) -> Iterator[ImageRef]:
        stack = [self._below]
        while stack:
            prefix = stack.pop()
            try:
                yield from self._directory(prefix, stack)
            except OSError as error:
                self._pass_over(prefix, error)

    def _in_order(self) -> Iterator[ImageRef]:
        stack = [(self._below, self._names(self._below))]
        while stack:
            prefix, names = stack[-1]
            if not names:
                stack.pop()
                continue
            key = prefix + names.pop()
            if not key.endswith("/"):
                yield from self._file(key)
            elif self._enter(key):
                stack.append((key, self._names(key)))

    def _names(self, prefix: str) -> list[str]:
        """What is in a directory, the last one first; directories compare with their slash, as in a key."""
        try:
            with os.scandir(self._root + prefix) as entries:
                names = [
                    entry.name + "/" * entry.is_dir(follow_symlinks=False)
                    for entry in entries
                    if self._is_visible(prefix, entry.name)
                ]
        except OSError as error:
            self._pass_over(prefix, error)
            return []
        names.sort(reverse=True)  # by code points, whose order is that of their UTF-8
        return names

    def _file(self, key: str) -> Iterator[ImageRef]:
        try:
            status = os.lstat(self._root + key)
        except OSError as error:
            self._pass_over(key, error)
            return
        found = linked_status(self._root + key, self._root) if stat.S_ISLNK(status.st_mode) else status
        if found is not None and stat.S_ISREG(found.st_mode):
            yield ImageRef(key, version_of(found), found.st_size, found.st_mtime)

    def _pass_over(self, key: str, error: OSError) -> None:
        if error.errno not in VANISHED:
            self._passed_over = True
            self._unreadable(key, error)

    def _unreadable(self, prefix: str, error: OSError) -> None:
        if not prefix:
            raise Unavailable(f"{self._root}: {error.strerror}; let this user read it") from error
        log.warning("directory_unreadable", path=self._root + prefix, problem=error.strerror)

    def _directory(self, prefix: str, stack: list[str]) -> Iterator[ImageRef]:
        with os.scandir(self._root + prefix) as entries:
            for entry in entries:
                name = entry.name
                key = prefix + name
                if not self._is_visible(prefix, name):
                    continue
                status = self._status(entry)
                if status is not None:
                    yield ImageRef(key, version_of(status), status.st_size, status.st_mtime)
                elif entry.is_dir(follow_symlinks=False) and self._enter(key + "/"):
                    stack.append(key + "/")

    def _is_visible(self, prefix: str, name: str) -> bool:
        if name[0] == ".":
            return False
        if name.isascii() or is_text(name):
            return True
        self._odd.tell(self._root + prefix + name)
        return False

    def _status(self, entry: os.DirEntry[str]) -> os.stat_result | None:
        try:
            if entry.is_file(follow_symlinks=False):
                return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        return linked_status(entry.path, self._root) if entry.is_symlink() else None
