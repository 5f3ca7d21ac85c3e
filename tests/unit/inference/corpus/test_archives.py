"""Reading packages: Debian's, zip files, and Qt resource files."""

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from inference.corpus.archives import ArchiveError, read_deb, read_zip
from inference.corpus.resources import COMPRESSED, DIRECTORY, ResourceError, read_resources


def deb(path: Path, files: dict[str, bytes]) -> Path:
    """A Debian package with these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    content = b"!<arch>\n"
    for name, body in members.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
        )
    path.write_bytes(content)
    return path


def rcc(files: dict[str, bytes], compressed: bool = False) -> bytes:
    """A Qt resource file, version 3, with a folder `folder` that holds the files."""
    names, data, nodes = b"", b"", b""

    def name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    root, folder = name(""), name("folder")
    nodes += struct.pack(">IHIIQ", root, DIRECTORY, 1, 1, 0) + struct.pack(
        ">IHIIQ", folder, DIRECTORY, len(files), 2, 0
    )
    for text, content in files.items():
        blob = struct.pack(">I", len(content)) + zlib.compress(content) if compressed else content
        nodes += struct.pack(">IHHHIQ", name(text), COMPRESSED if compressed else 0, 0, 0, len(data), 0)
        data += struct.pack(">I", len(blob)) + blob
    start = 24
    tree, blobs = start, start + len(nodes)
    return b"qres" + struct.pack(">5I", 3, tree, blobs, blobs + len(data), 0) + nodes + data + names


def test_the_wanted_files_of_a_debian_package(tmp_path: Path) -> None:
    package = deb(tmp_path / "a.deb", {"usr/share/a.png": b"a", "usr/share/b.txt": b"b"})
    assert list(read_deb(package, lambda name: name.endswith(".png"))) == [("usr/share/a.png", b"a")]


def test_a_damaged_debian_package_is_named(tmp_path: Path) -> None:
    package = deb(tmp_path / "a.deb", {"usr/share/a.png": b"a" * 5000})
    package.write_bytes(package.read_bytes()[:-60])
    with pytest.raises(ArchiveError, match=r"a\.deb"):
        list(read_deb(package, lambda name: True))
    package.write_bytes(b"nothing of the kind")
    with pytest.raises(ArchiveError, match="no Debian package"):
        list(read_deb(package, lambda name: True))


def test_the_wanted_files_of_a_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("one", b"1")
        archive.writestr("two", b"2")
    assert list(read_zip(tmp_path / "a.whl", "two".__eq__)) == [("two", b"2")]
    (tmp_path / "a.whl").write_bytes(b"PK")
    with pytest.raises(ArchiveError):
        list(read_zip(tmp_path / "a.whl", "two".__eq__))


@pytest.mark.parametrize("compressed", [False, True])
def test_the_files_of_a_qt_resource_file(compressed: bool) -> None:
    files = {"cat.webp": b"miau", "ünï.webp": b"x" * 100}
    assert dict(read_resources(rcc(files, compressed))) == {f"folder/{name}": body for name, body in files.items()}


def test_a_damaged_resource_file_is_refused() -> None:
    whole = rcc({"cat.webp": b"miau" * 100})
    for broken in (b"", b"qres", whole[:60], b"xres" + whole[4:], whole[:4] + b"\0\0\0\x09" + whole[8:]):
        with pytest.raises(ResourceError):
            list(read_resources(broken))


def test_a_tree_with_a_loop_is_refused() -> None:
    node = struct.pack(">IHIIQ", 0, DIRECTORY, 1, 0, 0)
    with pytest.raises(ResourceError, match="loop"):
        list(read_resources(b"qres" + struct.pack(">5I", 3, 24, 46, 46, 0) + node + struct.pack(">HI", 0, 0)))
