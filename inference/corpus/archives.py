"""Read files out of packages: Debian's .deb, Python's wheels and other zip files."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

Wanted = Callable[[str], bool]
"""Whether a member of that path is wanted."""


class ArchiveError(ValueError):
    """The file is no archive of the expected kind, or it is damaged."""


def read_zip(path: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Path and content of the wanted files in a wheel or another zip file. Raises ArchiveError."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if wanted(name) and not name.endswith("/"):
                    yield name, archive.read(name)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ArchiveError(f"{path} is no sound zip file: {error}") from error


def read_deb(path: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Path (without a leading ./) and content of the wanted files in a Debian package. Raises ArchiveError.

    A package is an `ar` archive, whose member `data.tar` with an ending by its compression holds the files: see deb(5).
    """
    with path.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise ArchiveError(f"{path} is no Debian package")
        while len(header := file.read(60)) == 60:
            name, length = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
            if name.startswith("data.tar"):
                try:
                    with tarfile.open(fileobj=file, mode="r|*") as archive:
                        for member in archive:
                            inner = member.name.removeprefix("./")
                            if member.isfile() and wanted(inner) and (content := archive.extractfile(member)):
                                yield inner, content.read()
                except (tarfile.TarError, OSError, EOFError) as error:
                    raise ArchiveError(f"{path} is damaged: {error}") from error
                return
            file.seek(length + length % 2, 1)
    raise ArchiveError(f"{path} holds no data")
