"""Which file systems report all changes."""

from __future__ import annotations

import pytest

from watcher.sources.mounts import filesystem_type, reports_all_changes

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/nas rw,relatime - nfs4 server:/share rw
31 30 0:41 / /mnt/nas/local rw master:1 shared:2 - xfs /dev/sdb rw
32 22 0:42 / /mnt/my\040disk rw - fuse.sshfs host: rw
33 22 0:43 / /mnt/twice rw - ext4 /dev/sdc rw
34 22 0:44 / /mnt/twice rw - cifs //server/share rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"), ("/mnt/nas", "nfs4"), ("/mnt/nas/in", "nfs4"), ("/mnt/nasty", "ext4"),
        ("/mnt/nas/local/in", "xfs"), ("/mnt/my disk/in", "fuse.sshfs"), ("/mnt/twice/in", "cifs"),
    ],
)  # fmt: skip
def test_the_file_system_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    assert filesystem_type(MOUNTS, path) == kind


def test_the_file_system_is_unknown_without_mounts() -> None:
    assert filesystem_type("", "/in") == ""


@pytest.mark.parametrize(
    ("kind", "events"),
    [("ext4", True), ("overlay", True), ("tmpfs", True), ("fuseblk", True), ("nfs", False), ("nfs4", False),
     ("cifs", False), ("smb3", False), ("9p", False), ("fuse.sshfs", False), ("virtiofs", False)],
)  # fmt: skip
def test_network_file_systems_give_no_events(monkeypatch: pytest.MonkeyPatch, tmp_path, kind: str, events: bool):
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 8:1 / / rw - {kind} source rw\n")
    monkeypatch.setattr("watcher.sources.mounts._MOUNTINFO", table)
    assert reports_all_changes("/in") is events


def test_events_are_expected_if_the_mounts_are_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("watcher.sources.mounts._MOUNTINFO", tmp_path / "missing")
    assert reports_all_changes("/in")
