"""Which file systems report every change: inotify sees only what the local kernel writes, not other machines."""

from __future__ import annotations

import os
import re
from pathlib import Path

_REMOTE = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs",
    "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
_MOUNTINFO = Path("/proc/self/mountinfo")


def reports_all_changes(path: str) -> bool:
    """Whether inotify reports every change below a real path; True if the file system is unknown."""
    try:
        table = _MOUNTINFO.read_text(errors="surrogateescape")
    except OSError:  # not Linux, where mounts cannot be distinguished so easily
        return True
    kind = filesystem_type(table, path)
    return not (kind in _REMOTE or kind.startswith(("fuse.", "smb")))


def filesystem_type(mountinfo: str, path: str) -> str:
    """The type of the file system that holds a real path, from the text of mountinfo (see proc(5)); "" if unknown."""
    found = max(((mount, kind) for mount, kind in _mounts(mountinfo) if _holds(mount, path)), key=_depth, default=None)
    return found[1] if found else ""


def _mounts(mountinfo: str) -> list[tuple[str, str]]:
    """Mount point and type of each line, the last mounted first: max() takes it where one hides another."""
    lines = [line.partition(" - ") for line in reversed(mountinfo.splitlines())]
    return [(_unescaped(left.split(" ")[4]), right.split(" ")[0]) for left, dash, right in lines if dash]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: os.fsdecode(bytes([int(match[1], 8)])), text)


def _holds(mount: str, path: str) -> bool:
    return path == mount or path.startswith(mount.rstrip("/") + "/")


def _depth(mount: tuple[str, str]) -> int:
    return len(mount[0])
