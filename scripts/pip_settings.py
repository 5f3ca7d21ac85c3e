"""Copies this machine's pip settings into a folder for image builds: `--build-context pip=FOLDER`.

A build starts from an empty system, without the index, certificates and folders of wheels that pip uses here.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path

SEEN_AT = "/run/pip"
"""Where the Dockerfile mounts the folder."""
CERTIFICATES, WHEELS = "certificates.pem", "wheels"
COPIED = ("index-url", "trusted-host", "timeout", "default-timeout", "retries", "proxy")
"""Settings that are copied unchanged."""


def write_pip_settings(folder: Path) -> None:
    """Replace the folder by one with the settings of pip's files and variables.

    Only its owner may read it, because addresses of indexes may contain passwords.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / WHEELS).mkdir(parents=True)
    folder.chmod(0o700)
    found = pip_settings()
    settings = {name: value for name, value in found.items() if name in COPIED}
    if certificates := found.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE"):
        shutil.copy(certificates, folder / CERTIFICATES)
        settings["cert"] = f"{SEEN_AT}/{CERTIFICATES}"
    if further := [url for url in found.get("extra-index-url", "").split() if not url.startswith("file:")]:
        settings["extra-index-url"] = " ".join(further)
    settings["find-links"] = " ".join(_find_links(found.get("find-links", ""), folder / WHEELS))
    _write(settings, folder / "pip.conf")


def has_cpu_torch(folder: Path) -> bool:
    """Whether the folder has a CPU wheel of torch, so that no index is needed for it."""
    return any((folder / WHEELS).glob("torch-*+cpu-*.whl"))


def pip_settings() -> dict[str, str]:
    """pip's own settings from files and variables, by option name."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    return parse_settings(listed)


def parse_settings(listed: str) -> dict[str, str]:
    """Parse the output of `pip config list`, one `SECTION.NAME='VALUE'` per line.

    Variables override the section `install`, which overrides `global`.
    """
    found: dict[str, Mapping[str, str]] = {}
    for line in listed.splitlines():
        place, _, value = line.partition("=")
        section, _, name = place.rpartition(".")
        found[section] = {**found.get(section, {}), name: str(ast.literal_eval(value))}
    return {**found.get("global", {}), **found.get("install", {}), **found.get(":env:", {})}


def _find_links(places: str, wheels: Path) -> Iterator[str]:
    """Copy wheels from local folders; keep URLs as they are."""
    for place in places.split():
        if "://" in place:
            yield place
        else:
            for wheel in Path(place).expanduser().glob("*.whl"):
                shutil.copy(wheel, wheels)
    yield f"{SEEN_AT}/{WHEELS}"


def _write(settings: Mapping[str, str], path: Path) -> None:
    config = RawConfigParser()
    config["global"] = settings
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
