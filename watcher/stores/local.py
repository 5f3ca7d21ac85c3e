"""A directory as a store: a key is a path below it."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from inference.codec import HEAD_BYTES
from watcher.core.errors import Gone, Rejected, SourceMissing, Stale, Unavailable, WatcherError
from watcher.core.jobs import Facts, ImageRef, Job
from watcher.core.reasons import Reason
from watcher.stores import atomic
from watcher.stores.base import FAILED_PREFIX, MAX_IMAGE_BYTES, OutputInfo
from watcher.stores.listing import VANISHED, Identity, Listing, OddNames, identity, is_text, linked_status, version_of
from watcher.stores.output_metadata import TAIL_BYTES, read_png_text

# O_NONBLOCK: a pipe that has taken a file's place must not block the reader.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY_RETRIES = 3


class LocalStore:
    """The files below a directory. Keys are relative paths with forward slashes, in UTF-8."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._top = self.root if self.root.endswith("/") else self.root + "/"
        self._odd = OddNames()
        self._durable: set[str] = set()
        self._device: int | None = None

    @property
    def uri(self) -> str:
        """`file://` and the real path, percent-encoded."""
        return "file://" + quote(os.fsencode(self.root))

    def identity(self) -> Identity:
        """Device and inode of the root: another pair is another directory. Raises SourceMissing."""
        return identity(self.root)

    def list(self, below: str = "") -> Iterator[ImageRef]:
        """Every visible file, in the order of the keys.

        Raises SourceMissing when the root is not a directory, or no more the same at the end.
        """
        return iter(Listing(self._top, below, lambda key: True, self._odd, ordered=True))

    def listing(self, below: str = "", enter: Callable[[str], bool] = lambda key: True) -> Listing:
        """The files below a key that ends in a slash, in no order, without the directories that `enter` refuses."""
        return Listing(self._top, below, enter, self._odd)

    def stat(self, key: str) -> ImageRef | None:
        """The file's present version, by the rules of `list` about symlinks. Raises Unavailable."""
        if not _is_key(key):
            return None
        try:
            status = self._status(self._top + key)
        except OSError as error:
            if error.errno in VANISHED:
                self._require_root()
                return None
            raise Unavailable(f"{self._top + key}: {error.strerror}") from error
        return ImageRef(key, version_of(status), status.st_size, status.st_mtime) if status else None

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
            if error.errno in VANISHED:
                self._require_root()
            raise _read_trouble(error, self._top + ref.key) from error
        self._device = self.identity()[0]
        return data

    def output_info(self, key: str) -> OutputInfo | None:
        """Which job the output at `key` was made by; None where there is no whole output. Raises Unavailable."""
        try:
            with open(self._open(key), "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                head = os.pread(file.fileno(), HEAD_BYTES, 0)
                tail = os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))
                return read_png_text(head, tail)
        except OSError as error:
            if error.errno in VANISHED or error.errno == errno.EISDIR:
                self._require_root()
                return None
            raise Unavailable(f"{self._top + key}: {error.strerror}; let this user read the outputs") from error

    def put(self, job: Job, data: bytes, over: OutputInfo | None = None, facts: Facts | None = None) -> None:
        """Make `data` the output of the job. Raises Rejected where nothing can ever stand at its key, Unavailable.

        What it replaces is not looked at: one daemon at a time writes to a folder. The facts stand in the PNG alone.
        """
        if not _is_key(job.output):
            raise Rejected(Reason.BAD_NAME, f"{job.output!r} is no path below {self.root}; rename the image")
        self._write(self._top + job.output, data)

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small object; below `_failed/` any key works, if need be under a name that is close to it."""
        path = self._record_path(key)
        if path is None:
            raise ValueError(f"{key!r} is no path below {self.root}")
        self._write(path, data)

    def record_location(self, key: str) -> str:
        """The key of a record as a path: long or odd parts have other names."""
        path = self._record_path(key)
        return key if path is None else path.removeprefix(self._top)

    def delete(self, key: str) -> None:
        """Remove a file, and the directories below `_failed/` that are empty by that. Raises Unavailable."""
        path = self._record_path(key)
        try:
            if path is None or not _unlinked(path):
                return
            if key.startswith(FAILED_PREFIX):
                self._remove_empty(os.path.dirname(path))
            else:
                atomic.sync_directory(os.path.dirname(path))
        except OSError as error:
            if error.errno not in VANISHED:
                raise Unavailable(f"{path}: {error.strerror}; let this user write there") from error

    def probe_conditional_writes(self) -> None:
        """A folder has only one writer."""

    def sweep(self) -> int:
        """Remove temporary files that dead writers have left; how many. To be called at start."""
        return atomic.sweep(self.root)

    def _require_root(self) -> None:
        """Nothing is gone while the root is, or while another disk is in its place. Raises SourceMissing."""
        device = self.identity()[0]
        if self._device not in (None, device):
            raise SourceMissing(f"{self.root} is on another disk than before; is the right one mounted?")

    def _status(self, path: str) -> os.stat_result | None:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return linked_status(path, self._top)
        return status if stat.S_ISREG(status.st_mode) else None

    def _open(self, key: str) -> int:
        """Open a file below the root; one that a symlink leads out of it is not there. Raises OSError."""
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
        """The real path of what is below the root, which is real itself: only the rest is looked at for symlinks."""
        path = self.root
        for part in key.split("/") if key else ():
            path = os.path.join(path, part)
            if os.path.islink(path):
                return os.path.realpath(self._top + key)
        return path

    def _write(self, path: str, data: bytes) -> None:
        self.identity()  # never create the root: an unmounted disk's outputs would land beneath its mount point
        directory = os.path.dirname(path)
        for attempt in range(1, _DIRECTORY_RETRIES + 1):
            try:
                self._require_inside(directory)  # before anything is made there
                self._make_durable(directory)
                atomic.replace_file(path, data)
                return
            except OSError as error:
                # A deleted record may have taken the empty directory with it.
                if error.errno != errno.ENOENT or attempt == _DIRECTORY_RETRIES:
                    raise _write_trouble(error, path) from error

    def _require_inside(self, directory: str) -> None:
        """A symlink out of the root is refused: what it leads to would not be found again."""
        if not (self._resolved(directory[len(self._top) :]) + "/").startswith(self._top):
            raise Rejected(
                Reason.OUTPUT_OUTSIDE, f"{directory} leads out of {self.root}; replace the symlink, then retry"
            )

    def _make_durable(self, directory: str) -> None:
        """A directory, and its name in each one above it, once a process: a synced file in a lost one is lost."""
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
    """Whether a key is a path below a root: relative, no empty part, no dots that go anywhere, UTF-8."""
    return "\0" not in key and is_text(key) and not {"", ".", ".."} & set(key.split("/"))


def _fitting(part: str) -> str:
    """A name for any part of a key, itself wherever that can be: an error record must not be lost for its name."""
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


def _read_trouble(error: OSError, path: str) -> WatcherError:
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


_CURES = {
    errno.ENOSPC: "the disk is full, free some space",
    errno.EDQUOT: "the quota is used up, free some space or raise it",
    errno.EROFS: "the file system is read-only, mount it writable",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EIO: "the disk fails, look into the system log",
}


def _write_trouble(error: OSError, path: str) -> WatcherError:
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
    why = f"{error.strerror}; {_CURES.get(error.errno or 0, 'trying again')}"
    return Unavailable(f"cannot write {path}: {why}", public=why)
