"""A folder as a store: a key is a path below it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from watcher.core.errors import Gone, Rejected, SourceMissing, Stale, Unavailable, WatcherError
from watcher.core.jobs import Facts, ImageRef, Output
from watcher.core.reasons import Reason
from watcher.stores import atomic
from watcher.stores.base import FAILED_PREFIX, MAX_IMAGE_BYTES, OutputInfo
from watcher.stores.listing import (
    NOT_FOUND,
    Identity,
    Listing,
    PathWarnings,
    identity,
    is_text,
    linked_status,
    version_of,
)
from watcher.stores.output_metadata import read_output_info

# O_NONBLOCK: a pipe in the place of a file must not block the reader.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE_ATTEMPTS = 3


class LocalStore:
    """The files below a folder. Keys are relative paths with forward slashes, in UTF-8."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._top = self.root if self.root.endswith("/") else self.root + "/"
        self._warnings = PathWarnings()
        self._durable: set[str] = set()
        self._device: int | None = None

    @property
    def uri(self) -> str:
        """`file://` and the real path, percent-encoded."""
        return "file://" + quote(os.fsencode(self.root))

    def identity(self) -> Identity:
        """Device and inode of the root, which differ for another directory. Raises SourceMissing or Unavailable."""
        return identity(self.root)

    def list(self, below: str = "") -> Iterator[ImageRef]:
        """Every file that is not hidden, in the order of the keys.

        Raises SourceMissing if the root is no directory, or another one at the end; see `Listing`.
        """
        return iter(Listing(self._top, below, lambda key: True, self._warnings, ordered=True))

    def listing(self, below: str = "", enter: Callable[[str], bool] = lambda key: True) -> Listing:
        """The files below a key that ends in a slash, in any order, without the directories that `enter` refuses."""
        return Listing(self._top, below, enter, self._warnings)

    def stat(self, key: str) -> ImageRef | None:
        """The file's current version; symlinks count as in `list`. Raises Unavailable."""
        if not _is_key(key):
            return None
        try:
            status = self._status(self._top + key)
        except OSError as error:
            if error.errno in NOT_FOUND:
                self._require_root()
                return None
            raise Unavailable(f"{self._top + key}: {error.strerror}", public=error.strerror or "") from error
        return ImageRef(key, version_of(status), status.st_size, status.st_mtime) if status else None

    def is_readable(self, key: str) -> bool:
        """Whether this user may read the file; never raises."""
        return os.access(self._top + key, os.R_OK, effective_ids=True)

    def read(self, ref: ImageRef) -> bytes:
        """The bytes of exactly that version. Raises Gone, Stale, Rejected (unreadable) or Unavailable."""
        try:
            with open(self._open(ref.key), "rb", buffering=0) as file:
                _require(ref, file.fileno())
                if ref.size > MAX_IMAGE_BYTES:
                    raise Rejected(
                        Reason.TOO_LARGE, f"{ref.key} is larger than the {MAX_IMAGE_BYTES >> 20} MiB that are read"
                    )
                data = file.read()
                _require(ref, file.fileno())
        except OSError as error:
            if error.errno in NOT_FOUND:
                self._require_root()
            raise _read_error(error, self._top + ref.key) from error
        self._device = self.identity()[0]
        return data

    def output_info(self, key: str) -> OutputInfo | None:
        """Which output is at `key`; None if there is no complete one. Raises Unavailable."""
        try:
            with open(self._open(key), "rb", buffering=0) as file:
                fd = file.fileno()
                return read_output_info(lambda offset, length: os.pread(fd, length, offset), os.fstat(fd).st_size)
        except OSError as error:
            if error.errno in NOT_FOUND or error.errno == errno.EISDIR:
                self._require_root()
                return None
            why = f"{error.strerror}; let this user read the outputs"
            raise Unavailable(f"{self._top + key}: {why}", public=why) from error

    def put(self, output: Output, data: bytes, over: OutputInfo | None = None, facts: Facts | None = None) -> None:
        """Make `data` the file of the output. Raises Rejected if no file can have its key, or Unavailable.

        `over` is ignored, because a folder has only one writer. The facts are only in the file.
        """
        self._require_key(output.key)
        self._write(self._top + output.key, data)

    def put_image(self, key: str, data: bytes) -> ImageRef:
        """Make `data` the file of an image; returns its version. Raises Rejected (its name) or Unavailable."""
        self._require_key(key)
        self._write(self._top + key, data)
        ref = self.stat(key)
        if ref is None:
            raise Unavailable(f"{self._top + key} was removed as soon as it was written")
        return ref

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small file at `record_location(key)`. Raises ValueError for a key that is no path, or Unavailable."""
        path = self._record_path(key)
        if path is None:
            raise ValueError(f"{key!r} is no path below {self.root}")
        self._write(path, data)

    def record_location(self, key: str) -> str:
        """The key of a record as a path: below `_failed/`, parts that no file can have are shortened or escaped."""
        path = self._record_path(key)
        return key if path is None else path.removeprefix(self._top)

    def delete(self, key: str) -> None:
        """Delete a file, and the directories below `_failed/` that it leaves empty. Raises Unavailable."""
        path = self._record_path(key)
        try:
            if path is None or not _unlinked(path):
                return
            if key.startswith(FAILED_PREFIX):
                self._remove_empty(os.path.dirname(path))
            else:
                atomic.sync_directory(os.path.dirname(path))
        except OSError as error:
            if error.errno not in NOT_FOUND:
                why = f"{error.strerror}; let this user write there"
                raise Unavailable(f"{path}: {why}", public=why) from error

    def probe_conditional_writes(self) -> None:
        """A folder has only one writer."""

    def sweep(self) -> int:
        """Delete the temporary files that crashed writers have left; returns how many. For the start."""
        return atomic.sweep(self.root)

    def _require_key(self, key: str) -> None:
        if not _is_key(key):
            raise Rejected(Reason.BAD_NAME, f"{key!r} cannot be a path below {self.root}; rename the image")

    def _require_root(self) -> None:
        """Raise SourceMissing if the root is missing or another disk is mounted: then no file counts as deleted."""
        device = self.identity()[0]
        if self._device not in (None, device):
            problem = "the folder is on another disk than before; is the right one mounted?"
            raise SourceMissing(f"{self.root}: {problem}", public=problem)

    def _status(self, path: str) -> os.stat_result | None:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return linked_status(path, self._top)
        return status if stat.S_ISREG(status.st_mode) else None

    def _open(self, key: str) -> int:
        """Open a file below the root. A symlink that leads out of it counts as missing. Raises OSError."""
        if not _is_key(key):
            raise FileNotFoundError(errno.ENOENT, "not a key", key)
        real = self._resolved(key)
        if not real.startswith(self._top):
            raise FileNotFoundError(errno.ENOENT, "leads out of the store", key)
        fd = os.open(real, _READ)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        os.close(fd)
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENOENT
        raise OSError(code, "not a regular file", real)

    def _resolved(self, key: str) -> str:
        """The real path of a key. Only the part below the root is searched for symlinks: the root is a real path."""
        path = self.root
        for part in key.split("/") if key else ():
            path = os.path.join(path, part)
            if os.path.islink(path):
                return os.path.realpath(self._top + key)
        return path

    def _write(self, path: str, data: bytes) -> None:
        self.identity()  # never create the root: outputs would be written below the mount point of an unmounted disk
        directory = os.path.dirname(path)
        for attempt in range(1, _WRITE_ATTEMPTS + 1):
            try:
                self._require_inside(directory)  # before anything is created there
                self._make_durable(directory)
                atomic.replace_file(path, data)
                return
            except OSError as error:
                # Deleting a record may have removed the empty directory.
                if error.errno != errno.ENOENT or attempt == _WRITE_ATTEMPTS:
                    raise _write_error(error, path) from error

    def _require_inside(self, directory: str) -> None:
        """Refuse a symlink that leads out of the root: the output would not be found again."""
        if not (self._resolved(directory[len(self._top) :]) + "/").startswith(self._top):
            raise Rejected(
                Reason.OUTPUT_OUTSIDE, f"{directory} leads out of {self.root}; replace the symlink, then retry"
            )

    def _make_durable(self, directory: str) -> None:
        """Create a directory and sync those above it, once per process: a file is lost if its directory is."""
        created = atomic.make_directories(directory, self.root)
        if directory in self._durable and not created:
            return
        above = directory
        while above != self.root:
            above = os.path.dirname(above)
            atomic.sync_directory(above)
        self._durable.add(directory)

    def _record_path(self, key: str) -> str | None:
        if key.startswith(FAILED_PREFIX):
            return (
                self._top
                + FAILED_PREFIX
                + "/".join(_fitting(part) for part in key.removeprefix(FAILED_PREFIX).split("/"))
            )
        return self._top + key if _is_key(key) else None

    def _remove_empty(self, directory: str) -> None:
        while directory != self.root:
            try:
                os.rmdir(directory)
            except OSError:  # not empty, or in use again
                return
            directory = os.path.dirname(directory)


def _is_key(key: str) -> bool:
    """Whether a key is a path below a root: relative, in UTF-8, without empty parts, `.` and `..`."""
    return "\0" not in key and is_text(key) and not {"", ".", ".."} & set(key.split("/"))


def _fitting(part: str) -> str:
    """A file name for any part of a key, unchanged if possible: an error record must not be lost for its name."""
    part = part.replace("\0", "%00")
    if part in ("", ".", ".."):
        return part.replace(".", "%2E") or "%"
    if len(part.encode(errors="replace")) <= atomic.LONGEST_NAME and is_text(part):
        return part
    raw = part.encode(errors="backslashreplace")
    return atomic.shortened(raw.decode(), 200) + "-" + hashlib.sha256(raw).hexdigest()[:16] + ".json"


def _unlinked(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno == errno.ENOENT or os.path.isdir(path):
            return False
        raise
    return True


def _require(ref: ImageRef, fd: int) -> None:
    if version_of(os.fstat(fd)) != ref.version:
        raise Stale(f"{ref.key} has changed since it was found")


def _read_error(error: OSError, path: str) -> WatcherError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ENAMETOOLONG:
            return Gone(f"{path} is not there any more")
        case errno.ELOOP:
            return Stale(f"{path} has become a symlink")
        case errno.EACCES | errno.EPERM:
            return Rejected(Reason.UNREADABLE, f"this user may not read {path}; change its permissions, then retry")
        case errno.EISDIR:
            return Rejected(Reason.IS_DIRECTORY, f"{path} is a directory now; move it away, then retry")
    return Unavailable(f"{path}: {error.strerror}", public=error.strerror or "")


_REMEDIES = {
    errno.ENOSPC: "the disk is full, free some space",
    errno.EDQUOT: "the quota is used up, free some space or raise it",
    errno.EROFS: "the file system is read-only, mount it writable",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EIO: "the disk has failed, see the system log",
}


def _write_error(error: OSError, path: str) -> WatcherError:
    match error.errno:
        case errno.EISDIR:
            return Rejected(Reason.OUTPUT_IS_DIRECTORY, f"{path} is a directory; move it away, then retry")
        case errno.ENOTDIR | errno.EEXIST:
            return Rejected(
                Reason.OUTPUT_BLOCKED, f"a file is where a directory above {path} must be; move it, then retry"
            )
        case errno.ENAMETOOLONG:
            return Rejected(Reason.NAME_TOO_LONG, f"{path} is too long for this file system; rename the image")
        case errno.EILSEQ:
            return Rejected(Reason.BAD_NAME, f"this file system does not allow the name {path}; rename the image")
    why = f"{error.strerror}; {_REMEDIES.get(error.errno or 0, 'trying again')}"
    return Unavailable(f"cannot write {path}: {why}", public=why)
