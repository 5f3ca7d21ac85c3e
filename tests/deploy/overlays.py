"""The overlays as they are rendered, and questions that tests ask of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from scripts.manifests import OVERLAYS, Manifest, overlay
from watcher import cli
from watcher.config.load import load_settings
from watcher.config.settings import Settings

if shutil.which("kubectl") is None:  # Debian has none that is new enough
    pytest.skip("kubectl is not installed; `make manifests` insists on it", allow_module_level=True)

WRITTEN_BY_LIBRARIES = ("HOME", "XDG_CACHE_HOME", "CUDA_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
"""Variables that say where something else than alphadrop writes."""
BROKER = "amqp://alphadrop:secret@rabbit.example/alphadrop?queue=alphadrop&exchange=bucket-events"
"""Stands for what a Secret holds."""


@dataclass(frozen=True)
class Pods:
    """A Deployment with one container, among the objects that it was rendered with."""

    manifest: Manifest
    objects: list[Manifest] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def command(self) -> str:
        """`run`, `watch` or `work`."""
        return str(self.container["args"][0])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.manifest["spec"]["template"]["metadata"]["labels"])

    @property
    def spec(self) -> Manifest:
        return dict(self.manifest["spec"]["template"]["spec"])

    @property
    def container(self) -> Manifest:
        [container] = self.spec["containers"]
        return dict(container)

    @property
    def gpus(self) -> int:
        return int(self.container["resources"]["limits"].get("nvidia.com/gpu", 0))

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the container."""
        found: dict[str, str] = {}
        for source in self.container["envFrom"]:
            found |= one(self.objects, "ConfigMap", source["configMapRef"]["name"])["data"]
        return found | {
            entry["name"]: entry.get("value", "from-a-secret-of-the-cluster") for entry in self.container["env"]
        }

    def settings(self, config: Path | None = None) -> Settings:
        """What the container's command and environment come to. `config` is the file that is in a Secret.

        Raises ConfigurationError, or ends with usage, as in the pod.
        """
        environment = dict(self.environment)
        if environment.pop("ALPHADROP_CONFIG", ""):
            environment |= {"ALPHADROP_CONFIG": str(config)} if config else {"ALPHADROP_QUEUE": BROKER}
        return load_settings(cli.build_parser().parse_args(self.container["args"]), environ=environment)

    def mount_of(self, path: str) -> Manifest | None:
        """The volume that a path lies in, and how it is mounted; None for the root."""
        mounts = {mount["mountPath"]: mount for mount in self.container["volumeMounts"]}
        lies_in = [mounts[str(at)] for at in (PurePosixPath(path), *PurePosixPath(path).parents) if str(at) in mounts]
        if not lies_in:
            return None
        [volume] = [volume for volume in self.spec["volumes"] if volume["name"] == lies_in[0]["name"]]
        return {**volume, **lies_in[0]}

    def may_write(self, path: str) -> bool:
        """Whether a path lies in a volume that can be written to."""
        mount = self.mount_of(path)
        return (
            mount is not None
            and not mount.get("readOnly")
            and ("emptyDir" in mount or "persistentVolumeClaim" in mount)
        )


def kind(objects: list[Manifest], name: str) -> list[Manifest]:
    """All objects of a kind."""
    return [found for found in objects if found["kind"] == name]


def one(objects: list[Manifest], kind_name: str, name: str) -> Manifest:
    """The one object of a kind and a name; fails where there is none."""
    [found] = [found for found in kind(objects, kind_name) if found["metadata"]["name"] == name]
    return found


def pods_of(objects: list[Manifest]) -> list[Pods]:
    """Everything that runs."""
    return [Pods(manifest, objects) for manifest in kind(objects, "Deployment")]


def all_pods() -> Iterator[tuple[str, Pods]]:
    """Each Deployment of each overlay, with a name for the test's report."""
    for name in OVERLAYS:
        for pods in pods_of(overlay(name)):
            yield f"{name}-{pods.command}", pods


def quantity(text: str | int) -> float:
    """A Kubernetes quantity as a number: `250m` is 0.25, `1Gi` is 2**30."""
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    unit = str(text).lstrip("0123456789.")
    return float(str(text).removesuffix(unit)) * (units[unit] if unit else 1)


def selects(selector: Manifest, pods: Pods) -> bool:
    """Whether a selector by labels is for these pods."""
    assert set(selector) == {"matchLabels"}
    return bool(selector["matchLabels"].items() <= pods.labels.items())


def check_references(objects: list[Manifest]) -> None:
    """Every object that another one names is rendered with it, but for Secrets, which docs/deploy.md makes."""
    for pods in pods_of(objects):
        one(objects, "ServiceAccount", pods.spec["serviceAccountName"])
        assert pods.environment
        for volume in pods.spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                one(objects, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    for scaled in kind(objects, "ScaledObject"):
        one(objects, "Deployment", scaled["spec"]["scaleTargetRef"]["name"])
        for trigger in scaled["spec"]["triggers"]:
            if trigger["type"] != "prometheus":  # which the cluster's own pods may ask without a password
                one(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"])
    for claim in kind(objects, "PersistentVolumeClaim"):
        if "volumeName" in claim["spec"]:
            one(objects, "PersistentVolume", claim["spec"]["volumeName"])


def strings(value: Any) -> Iterator[str]:
    """Every key and text in an object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (str(key), *strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)
