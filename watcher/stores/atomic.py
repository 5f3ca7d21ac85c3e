"""Atomic, durable writes: after a crash or a power cut, a file is either complete or not there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets

LONGEST_NAME = 255
"""Longest file name, in bytes, on every common file system."""

_PART = re.compile(r"\..*\.(\d+)-[0-9a-f]{16}\.part", re.DOTALL)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def replace_file(target: str, data: bytes) -> None:
    """Make `data` the content of `target`; when this returns, it survives a power cut. Raises OSError.

    The directory must exist. A reader sees the old content or the new one, never a mixture.
    """
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, temporary_name(name))
    try:
        _write_and_move(temporary, target, data)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(directory)


def temporary_name(name: str) -> str:
    """A unique hidden name of at most LONGEST_NAME bytes: `.{name}.{pid}-{random}.part`."""
    ending = f".{os.getpid()}-{secrets.token_hex(8)}.part"
    return "." + shortened(name, LONGEST_NAME - 1 - len(ending)) + ending


def shortened(name: str, limit: int) -> str:
    """The start of a name, at most `limit` bytes of UTF-8 long."""
    return name.encode()[:limit].decode(errors="ignore")


def make_directories(directory: str, top: str) -> bool:
    """Create `directory` and its parents below `top`, which must exist; returns whether any was missing."""
    missing = []
    while directory != top and not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for path in reversed(missing):
        # Another thread may have been faster. A file in the way makes the next step fail.
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
    return bool(missing)


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network file systems sync names by themselves and do not support fsync of a directory.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def sweep(top: str) -> int:
    """Delete the temporary files that crashed writers have left below `top`; returns how many."""
    found = (os.path.join(at, name) for at, _, names in os.walk(top) for name in names if name.endswith(".part"))
    return sum(_removed_if_abandoned(path) for path in found)


def _write_and_move(temporary: str, target: str, data: bytes) -> None:
    with os.fdopen(os.open(temporary, _CREATE, 0o666), "wb", buffering=0) as file:
        # The lock shows `sweep` that the writer is alive, even in another container, where its pid means nothing.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
        os.replace(temporary, target)


def _removed_if_abandoned(path: str) -> bool:
    match = _PART.fullmatch(os.path.basename(path))
    if match is None:
        return False
    try:
        if not _abandoned(path, int(match[1])):
            return False
        os.unlink(path)
    except OSError:  # finished or deleted meanwhile, or owned by another user
        return False
    return True


def _abandoned(path: str, pid: int) -> bool:
    with open(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # this file system has no locks
            return not _alive(pid)
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
