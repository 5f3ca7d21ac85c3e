"""What alphadrop is made of and how it was built: `make sbom` and `make provenance`. Fetches nothing."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
IMAGES: Mapping[str, Sequence[str]] = {
    "watch": ("otel",),
    "cpu": ("otel", "engine", "onnx"),
    "cuda": ("otel", "engine", "onnx"),
}
"""The extras that each image installs; see the Dockerfile."""
CUDA_ONLY = ("nvidia-", "cuda-", "triton", "onnxruntime-gpu")
"""How the pinned packages begin that only the image `cuda` has, and this machine need not."""
PINS = ("constraints.txt", "constraints-image.txt")
BUILD_TYPE = "https://github.com/pypa/build/wheel/v1"


# What it is made of.


def closure(extras: Sequence[str]) -> dict[str, metadata.Distribution]:
    """alphadrop with these extras and everything that it requires on this platform, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    pending = [Requirement(f"alphadrop[{','.join(extras)}]" if extras else "alphadrop")]
    seen: set[tuple[str, str]] = set()
    while pending:
        wanted = pending.pop()
        name = canonicalize_name(wanted.name)
        for extra in ("", *wanted.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                found[name] = metadata.distribution(name)
                pending += list(_requirements(found[name], extra))
    return found


def _requirements(distribution: metadata.Distribution, extra: str) -> Iterator[Requirement]:
    for line in distribution.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        wanted = not extra if marker is None else marker.evaluate({"extra": extra})
        if wanted:
            yield requirement


def bill_of_materials(image: str) -> dict[str, Any]:
    """The Python packages of an image as CycloneDX 1.6. The image's Debian packages are listed by its own tools."""
    packages = closure(IMAGES[image])
    root = packages.pop("alphadrop")
    components = [_installed(packages[name], "library") for name in sorted(packages)]
    if image == "cuda":
        components = [component for component in components if component["name"] != "onnxruntime"]
        components += [
            _component(name, version) for name, version in pins(PINS[1:]).items() if name.startswith(CUDA_ONLY)
        ]
    application = _installed(root, "application")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([image, components]))}",
        "version": 1,
        "metadata": {"component": application, "properties": [{"name": "image", "value": image}]},
        "components": components,
        "dependencies": [{"ref": application["purl"], "dependsOn": sorted(c["purl"] for c in components)}],
    }


def _installed(distribution: metadata.Distribution, kind: str) -> dict[str, Any]:
    version = distribution.version.partition("+")[0]  # torch's build, such as +cpu, is not a version of PyPI
    licence = str(distribution.metadata.json.get("license_expression", "")) or _classified(distribution)
    return _component(canonicalize_name(distribution.name), version, licence, kind)


def _component(name: str, version: str, licence: str = "", kind: str = "library") -> dict[str, Any]:
    licences = {"licenses": [{"license": {"name": licence}}]} if licence else {}
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl, **licences}


def _classified(distribution: metadata.Distribution) -> str:
    names = [
        line.rpartition(" :: ")[2] for line in distribution.metadata.get_all("Classifier", ()) if "License" in line
    ]
    return " AND ".join(sorted(names))


def pins(files: Sequence[str] = PINS) -> dict[str, str]:
    """The versions that these files pin, by canonical name."""
    lines = [line for name in files for line in (ROOT / name).read_text("utf-8").splitlines()]
    pairs = [line.partition(";")[0].strip().split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {canonicalize_name(name): version.partition("+")[0] for name, version in pairs}


# How it was built.


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout, with the pinned tools of this environment."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def provenance(wheel: Path, started: datetime, reproduced: bool) -> dict[str, Any]:
    """An in-toto statement with a SLSA 1.0 predicate about a wheel. It is not signed; docs/deploy.md says how to."""
    commit = _git("rev-parse", "HEAD")
    source = {"uri": f"git+{_git('config', '--get', 'remote.origin.url')}", "digest": {"gitCommit": commit}}
    locks = [{"uri": name, "digest": {"sha256": sha256(ROOT / name)}} for name in PINS]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    run = {"startedOn": started.isoformat(), "finishedOn": datetime.now(UTC).isoformat(), "invocationId": commit}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": wheel.name, "digest": {"sha256": sha256(wheel)}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"source": source["uri"], "backend": project["build-system"]["build-backend"]},
                "internalParameters": {
                    "python": platform.python_version(),
                    "platform": platform.platform(),
                    "uncommittedChanges": bool(_git("status", "--porcelain", "--untracked-files=no")),
                    "reproduced": reproduced,
                },
                "resolvedDependencies": [source, *locks],
            },
            "runDetails": {"builder": {"id": f"{platform.node()}/make-provenance"}, "metadata": run},
        },
    }


def sha256(path: Path) -> str:
    """The file's digest as 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(f"{path.relative_to(ROOT)}: sha256 {sha256(path)}")


def write_bills() -> None:
    """Write a bill of materials for each image."""
    for image in IMAGES:
        bill = bill_of_materials(image)
        _write(DIST / f"alphadrop-{image}.cdx.json", bill)
        print(f"  {len(bill['components'])} packages")


def write_provenance() -> None:
    """Build the wheel twice, keep the first, and write what it was built of."""
    started = datetime.now(UTC)
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        first, second = build_wheel(Path(one)), build_wheel(Path(two))
        reproduced = sha256(first) == sha256(second)
        wheel = DIST / first.name
        wheel.write_bytes(first.read_bytes())
    print(
        f"dist/{wheel.name}: sha256 {sha256(wheel)}, {'the same' if reproduced else 'NOT the same'} in a second build"
    )
    _write(wheel.with_suffix(".intoto.json"), provenance(wheel, started, reproduced))


def main() -> None:
    """Write into dist/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sbom", "provenance"))
    DIST.mkdir(exist_ok=True)
    {"sbom": write_bills, "provenance": write_provenance}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
