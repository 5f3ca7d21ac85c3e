"""Keeps a second daemon of the same machine from making the same outputs of the same images.

The state folder's lock does not see a daemon with another state folder, as another user's is. Two such daemons lose
nothing, but each makes every image, and if their options differ, each replaces what the other one made, for ever.
"""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from watcher.core.errors import ConfigurationError, Unavailable
from watcher.stores.base import Store
from watcher.stores.local import LocalStore

_CREDENTIALS = struct.Struct("3i")


@contextmanager
def claimed_outputs(source: Store, sink: Store, patterns: Sequence[str]) -> Iterator[None]:
    """Claim the outputs with these patterns of keys while the block runs. Raises ConfigurationError if somebody has.

    A claim is a socket with an abstract name (Linux only), of which the kernel allows one and which ends with its
    process, so that no kill leaves it behind. It holds for folders, by device and inode, since paths may mean other
    folders in a container. Nothing is claimed in a bucket, or where a folder cannot be looked at.
    """
    with ExitStack() as claims:
        for name in _names(source, sink, patterns):
            claims.enter_context(_claim(name, sink))
        yield


def _names(source: Store, sink: Store, patterns: Sequence[str]) -> list[bytes]:
    if not (isinstance(sink, LocalStore) and sys.platform == "linux"):
        return []
    try:
        origin = source.identity() if isinstance(source, LocalStore) else source.uri
        pair = f"{origin} {sink.identity()}"
    except Unavailable:
        return []
    return [b"\0alphadrop-" + hashlib.sha256(f"{pair} {one}".encode()).hexdigest()[:32].encode() for one in patterns]


@contextmanager
def _claim(name: bytes, sink: Store) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
        try:
            claim.bind(name)
            claim.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigurationError(
                    f"Another alphadrop (process {_owner(name)}) makes the same outputs in {sink.uri}, with another "
                    "--state; stop it, or give this one other outputs."
                ) from error
        yield


def _owner(name: bytes) -> int | str:
    """The process that has claimed a name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(name)
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return "unknown"
    return int(_CREDENTIALS.unpack(credentials)[0]) or "unknown"
