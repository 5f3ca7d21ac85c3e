"""Fetch packages by the usual clients of their registries, and keep only those with the expected digest."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from inference.corpus.sources import Client, Source

Report = Callable[[str], None]
"""Is given a line of progress."""


class FetchError(RuntimeError):
    """A package could not be fetched, or its digest is wrong; the message says what to do."""


def fetch(source: Source, folder: Path, report: Report = print) -> Path:
    """The package's file in `folder`, fetched if it is not there already. Raises FetchError."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob(f"*{source.sha256[:8]}*")):
        if sha256_of(path) == source.sha256:
            return path
        path.unlink()  # cut short by a full disk, or changed since
    report(f"{source.name} {source.version}: fetching {source.megabytes} MB by {source.client.value}")
    with tempfile.TemporaryDirectory(dir=folder.resolve()) as place:  # the client works in it
        run_client(source, Path(place))
        found = [path for path in Path(place).iterdir() if path.is_file()]
        if len(found) != 1:
            raise FetchError(f"{source.client.value} fetched {len(found)} files for {source.name}, not one")
        if (digest := sha256_of(found[0])) != source.sha256:
            raise FetchError(
                f"{source.name} {source.version}: the file's sha256 is {digest}, not {source.sha256}. It is damaged, "
                "or the registry has another build of it: nothing of it was used."
            )
        return found[0].replace(folder / f"{source.name}_{source.sha256[:8]}{found[0].suffix}")


def run_client(source: Source, place: Path) -> None:
    """Let the registry's client fetch the package's one file into a folder. Raises FetchError."""
    command = commands(source, place)
    if shutil.which(command[0]) is None:
        raise FetchError(f"{source.name} is a package of Debian, but {command[0]} is not there: use Debian or Ubuntu.")
    done = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        hint = " (`apt-get update` first?)" if source.client is Client.APT else ""
        raise FetchError(f"{' '.join(command[:4])} ... failed for {source.name}{hint}: {done.stderr.strip()[-500:]}")


def commands(source: Source, place: Path) -> list[str]:
    """The client's command line."""
    if source.client is Client.APT:
        return ["apt-get", "download", f"{source.name}={source.version}"]
    flags = ["--no-deps", "--ignore-requires-python", "--disable-pip-version-check", "--dest", str(place)]
    return [sys.executable, "-P", "-m", "pip", "download", *flags, f"{source.name}=={source.version}"]


def sha256_of(path: Path) -> str:
    """The digest of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
