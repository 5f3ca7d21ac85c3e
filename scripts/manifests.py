"""Validates the overlays of deploy/k8s against the schemas of Kubernetes and its operators, and checkov's rules.

Run it with `make manifests`, which makes a separate environment for the tools, because checkov pins its own boto3. It
needs no cluster.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Manifest: TypeAlias = dict[str, Any]

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "deploy" / "k8s"
OVERLAYS = tuple(sorted(path.name for path in (MANIFESTS / "overlays").iterdir()))
VERSIONS = ("1.31", "1.34", "1.37")
"""Versions of Kubernetes: the oldest that we support, one between, and the newest with a schema."""
OPERATORS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
"""Modules with the schemas of custom resources, generated from the operators' own definitions."""


class ManifestsFailed(Exception):
    """A tool is missing or has failed."""


def render(folder: Path) -> list[Manifest]:
    """The objects that `kubectl apply -k` would send. Raises ManifestsFailed."""
    if shutil.which("kubectl") is None:
        raise ManifestsFailed("kubectl is not installed: https://kubernetes.io/docs/tasks/tools/ says how.")
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:  # kustomize warns about deprecated fields
        raise ManifestsFailed(f"{folder}: {done.stderr}")
    return list(yaml.safe_load_all(done.stdout))


@cache
def overlay(name: str) -> list[Manifest]:
    """Render one of our overlays. The result is cached, so callers must not change it."""
    return render(MANIFESTS / "overlays" / name)


def waivers() -> Manifest:
    """Rules that are not followed, and why: by checkov's ids, and by overlay and name of our own policies."""
    return tomllib.loads((MANIFESTS / "waivers.toml").read_text("utf-8"))


def name_of(manifest: Manifest) -> str:
    """Kind and name of an object, for messages."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def schema_problems(manifests: list[Manifest], version: str) -> Iterator[str]:
    """Reasons why Kubernetes of this version would refuse the objects, including unknown fields."""
    import kubernetes_validate

    for manifest in manifests:
        if manifest["apiVersion"] in OPERATORS:
            continue
        try:
            used = kubernetes_validate.validate(manifest, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            yield f"{name_of(manifest)} on {version}: {error.message}"
        else:
            if used != version:  # it falls back to the nearest schema
                yield f"there is no schema of Kubernetes {version}, only of {used}"


def operator_problems(manifests: list[Manifest]) -> Iterator[str]:
    """Violations of KEDA's and the Prometheus operator's schemas, including unknown fields."""
    from importlib import import_module

    from pydantic import ValidationError

    for manifest in manifests:
        if manifest["apiVersion"] not in OPERATORS:
            continue
        model = getattr(import_module(OPERATORS[manifest["apiVersion"]]), manifest["kind"])
        try:
            understood = model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)
        except ValidationError as error:
            yield f"{name_of(manifest)}: {error}"
        else:
            yield from (f"{name_of(manifest)}: {path} is an unknown field" for path in _lost(manifest, understood))


def _lost(given: object, understood: object, path: str = "") -> Iterator[str]:
    """Paths of fields that the models have ignored because they do not know them."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            yield from _lost(value, understood.get(key), f"{path}.{key}")
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for index, pair in enumerate(zip(given, understood, strict=True)):
            yield from _lost(*pair, f"{path}[{index}]")
    elif given != understood:
        yield path


def checkov_results(name: str) -> Mapping[str, list[str]]:
    """Ids of the checkov checks that an overlay has `passed` and `failed`, one per object."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(overlay(name), file)
        file.flush()
        tool = Path(sys.executable).parent / "checkov"
        options = ["--framework", "kubernetes", "--skip-download", "--soft-fail", "--output", "json"]
        done = subprocess.run([tool, "--file", file.name, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ManifestsFailed(f"checkov: {done.stderr}")
    results = json.loads(done.stdout)["results"]
    return {kind: [check["check_id"] for check in results[f"{kind}_checks"]] for kind in ("passed", "failed")}


def checks(name: str) -> Iterator[tuple[str, list[str]]]:
    """Each kind of check of an overlay, with the problems that it found."""
    manifests = overlay(name)
    custom = sum(manifest["apiVersion"] in OPERATORS for manifest in manifests)
    for version in VERSIONS:
        found = schema_problems(manifests, version)
        yield f"Kubernetes {version}, strict: {len(manifests) - custom} objects", list(found)
    yield f"KEDA, Prometheus operator, strict: {custom} objects", list(operator_problems(manifests))


def checkov_checks() -> Iterator[tuple[str, list[str]]]:
    """checkov's checks of all overlays, with problems; a waiver that no overlay needs is a problem as well."""
    waived, failed = set(waivers()["checkov"]), set[str]()
    for name in OVERLAYS:
        results = checkov_results(name)
        failed |= set(results["failed"])
        problems = [f"{check} fails: fix it, or waive it with a reason" for check in set(results["failed"]) - waived]
        yield f"{name}: checkov, {len(results['passed'])} checks", sorted(problems)
    yield (
        f"{len(waived)} waivers for checkov, all needed",
        [f"{check} does not fail" for check in sorted(waived - failed)],
    )


def main() -> int:
    """Check all overlays, print the results, and return the exit code."""
    found = [(f"{name}: {what}", problems) for name in OVERLAYS for what, problems in checks(name)]
    found += checkov_checks()
    for what, problems in found:
        print(f"{what:<72} {'FAILED' if problems else 'ok'}", *(f"    {problem}" for problem in problems), sep="\n")
    return 1 if any(problems for _, problems in found) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ManifestsFailed as error:
        sys.exit(str(error))
