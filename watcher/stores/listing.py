"""Lists the files below a directory with their versions: one scandir a directory, one stat a file, no recursion."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from watcher.core.errors import SourceMissing, Unavailable
from watcher.core.jobs import ImageRef

log = structlog.get_logger(__name__)

NOT_FOUND = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""The errors of a path at which there is no file."""

Identity = tuple[int, int]


def version_of(status: os.stat_result) -> str:
    """A version that changes whenever the bytes may have: size, mtime in nanoseconds and inode."""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def modified_at(version: str) -> float:
    """The mtime in a version, in seconds since the epoch."""
    return int(version[version.index("-") + 1 : version.rindex("-")]) / 1e9


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8. Other names have surrogates for their bytes, which cannot be in a key."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def identity(root: str) -> Identity:
    """Device and inode of a directory. Raises SourceMissing if there is none, Unavailable for other errors."""
    try:
        status = os.stat(root)
    except OSError as error:
        if error.errno in NOT_FOUND:
            raise SourceMissing(f"{root} does not exist; mount or create it") from error
        raise Unavailable(f"{root}: {error.strerror}", public=error.strerror or "") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SourceMissing(f"{root} is not a directory")
    return status.st_dev, status.st_ino


def linked_status(path: str, inside: str) -> os.stat_result | None:
    """The target's status if a symlink leads to a regular file below `inside` (which ends in a slash), else None."""
    try:
        target = os.path.realpath(path, strict=True)
        status = os.stat(target, follow_symlinks=False)
    except OSError:
        return None
    return status if target.startswith(inside) and stat.S_ISREG(status.st_mode) else None


class PathWarnings:
    """Logs each path once, so that repeated listings do not fill the log."""

    _LIMIT = 10_000

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def is_new(self, path: str) -> bool:
        """Whether a warning about this path would be logged."""
        return path not in self._logged and len(self._logged) < self._LIMIT

    def warn(self, event: str, path: str, **fields: Any) -> None:
        """Log a warning about a path, unless there was one."""
        if self.is_new(path):
            self._logged.add(path)
            log.warning(event, path=os.fsencode(path).decode(errors="backslashreplace"), **fields)


class Listing:
    """The regular files below `below` (a key that ends in a slash, or "" for all) of a root that ends in a slash.

    Skips hidden names, directories that `enter` refuses by their key, and symlinks to directories. A symlink to a file
    counts if the file is below the root; each skipped link is logged once. `ordered` yields the keys in the order of
    their UTF-8 and holds the names of one directory a level in memory. Iterating raises SourceMissing or Unavailable.
    """

    def __init__(
        self, root: str, below: str, enter: Callable[[str], bool], warnings: PathWarnings, *, ordered: bool = False
    ) -> None:
        self._root = root
        self._below = below
        self._enter = enter
        self._warnings = warnings
        self._walk = self._in_order if ordered else self._as_found
        self._has_skipped = False
        self.complete = False
        """After the last item: whether every directory could be read."""
        self.unreadable = 0
        """After the last item: how many directories this user may not read, or could not for another reason."""

    def __iter__(self) -> Iterator[ImageRef]:
        started = identity(self._root)
        self._has_skipped, self.unreadable = False, 0
        yield from self._walk()
        if identity(self._root) != started:
            replaced = "the folder was replaced by another one while it was listed"
            raise SourceMissing(f"{self._root}: {replaced}", public=replaced)
        self.complete = not self._has_skipped

    def _as_found(self) -> Iterator[ImageRef]:
        stack = [self._below]
        while stack:
            prefix = stack.pop()
            try:
                yield from self._directory(prefix, stack)
            except OSError as error:
                self._skip(prefix, error)

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
        """The names in a directory, the last one first. A directory's name has its slash, as in a key."""
        try:
            with os.scandir(self._root + prefix) as entries:
                names = [
                    entry.name + "/" * entry.is_dir(follow_symlinks=False)
                    for entry in entries
                    if self._is_visible(prefix, entry.name)
                ]
        except OSError as error:
            self._skip(prefix, error)
            return []
        names.sort(reverse=True)  # the order of code points is that of their UTF-8
        return names

    def _file(self, key: str) -> Iterator[ImageRef]:
        try:
            status = os.lstat(self._root + key)
        except OSError as error:
            self._skip(key, error)
            return
        found = self._followed(key) if stat.S_ISLNK(status.st_mode) else status
        if found is not None and stat.S_ISREG(found.st_mode):
            yield ImageRef(key, version_of(found), found.st_size, found.st_mtime)

    def _directory(self, prefix: str, stack: list[str]) -> Iterator[ImageRef]:
        with os.scandir(self._root + prefix) as entries:
            for entry in entries:
                name = entry.name
                key = prefix + name
                if not self._is_visible(prefix, name):
                    continue
                status = self._status(entry, key)
                if status is not None:
                    yield ImageRef(key, version_of(status), status.st_size, status.st_mtime)
                elif entry.is_dir(follow_symlinks=False) and self._enter(key + "/"):
                    stack.append(key + "/")

    def _status(self, entry: os.DirEntry[str], key: str) -> os.stat_result | None:
        try:
            if entry.is_file(follow_symlinks=False):
                return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        return self._followed(key) if entry.is_symlink() else None

    def _followed(self, key: str) -> os.stat_result | None:
        """The status of the file that a symlink leads to; None, and a warning, if the link is skipped."""
        path = self._root + key
        status = linked_status(path, self._root)
        if status is None and self._warnings.is_new(path):
            self._warn_about_link(path, key)
        return status

    def _warn_about_link(self, path: str, key: str) -> None:
        try:
            is_directory = stat.S_ISDIR(os.stat(path).st_mode)
            is_outside = not os.path.realpath(path).startswith(self._root)
        except OSError:  # it leads nowhere
            return
        if is_directory and self._enter(key + "/"):
            remedy = "move the folder here, or mount it here"
            self._warnings.warn("link_skipped", path, problem="links to folders are not followed", remedy=remedy)
        elif is_outside and not is_directory:
            problem = "it leads to a file outside of the folder"
            self._warnings.warn("link_skipped", path, problem=problem, remedy="copy the file here")

    def _skip(self, key: str, error: OSError) -> None:
        if error.errno in NOT_FOUND:
            return
        self._has_skipped = True
        if not key:
            remedy = f"{error.strerror}; let this user read it"
            raise Unavailable(f"{self._root}: {remedy}", public=remedy) from error
        remedy = "let this user read it"
        self.unreadable += 1
        self._warnings.warn("directory_unreadable", self._root + key, problem=error.strerror, remedy=remedy)

    def _is_visible(self, prefix: str, name: str) -> bool:
        if name[0] == ".":
            return False
        if name.isascii() or is_text(name):
            return True
        self._warnings.warn("name_not_utf8", self._root + prefix + name, remedy="rename it")
        return False
