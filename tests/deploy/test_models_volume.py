"""The component `models`: a volume with third-party models, and an init container that fetches and checks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inference.models.thirdparty.known import KNOWN
from scripts.manifests import VERSIONS, Manifest, schema_problems
from tests.deploy.overlays import Pods, check_references, pods_of, quantity
from tests.equipment.model_server import model_server
from tests.equipment.real_models import real_model
from tests.equipment.support import Call
from watcher.wiring import Wiring

OwnOverlay = Callable[..., list[Manifest]]
COMPONENT = "../deploy/k8s/components/models"
MODEL = {"name": "alphadrop-settings", "behavior": "merge", "literals": ["ALPHADROP_MODEL=u2netp"]}


@pytest.fixture
def with_models(own_overlay: OwnOverlay) -> Callable[[str], list[Manifest]]:
    return lambda name: own_overlay(name, components=[COMPONENT], configMapGenerator=[MODEL])


def init_container(pods: Pods) -> Manifest:
    [container] = pods.spec["initContainers"]
    return dict(container)


@pytest.mark.parametrize("name", ["single-node-folder", "onprem-rabbitmq"])
def test_pods_that_cut_out_get_the_volume_and_an_init_container_that_fits_them(
    with_models: Callable[[str], list[Manifest]], name: str
) -> None:
    objects = with_models(name)
    assert [problem for version in VERSIONS for problem in schema_problems(objects, version)] == []
    check_references(objects)
    for pods in pods_of(objects):
        mount = pods.mount_of("/models/u2netp.onnx")
        if pods.command == "watch":
            assert mount is None and "initContainers" not in pods.spec
            continue
        assert mount and mount["readOnly"] and pods.environment["U2NET_HOME"] == mount["mountPath"]
        container = init_container(pods)
        assert container["securityContext"] == pods.container["securityContext"]
        mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
        assert not mounts["/models"].get("readOnly") and "/tmp" in mounts
        limits, whole = container["resources"]["limits"], pods.container["resources"]["limits"]
        assert all(quantity(limits[name]) <= quantity(whole[name]) for name in limits)


def test_what_it_runs_fetches_the_model_of_the_settings(
    with_models: Callable[[str], list[Manifest]], call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given the variables of the init container, a mirror, and another path for the volume
    [pods] = pods_of(with_models("single-node-folder"))
    for name, value in pods.environment.items():
        if name.startswith("ALPHADROP_") and name != "ALPHADROP_CONFIG":
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "volume"))
    with model_server({"u2netp.onnx": real_model("u2netp").read_bytes()}) as server:
        monkeypatch.setenv("ALPHADROP_MODEL_SOURCE", server.address)
        # When its command runs, and runs again in the next pod
        first, second = (call(*init_container(pods)["args"]) for _ in range(2))
        # Then the model is fetched once
        assert (first.code, second.code, len(server.requests)) == (0, 0, 1)
    assert KNOWN["u2netp"].sha256 in second.out
    assert (tmp_path / "volume" / "u2netp.onnx").is_file()


def test_watch_computes_the_workers_job_ids_without_the_volume(
    with_models: Callable[[str], list[Manifest]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = with_models("onprem-rabbitmq")
    recipes = {}
    for pods in pods_of(objects):
        home = real_model("u2netp").parent if pods.command == "work" else tmp_path / "nothing"
        monkeypatch.setenv("U2NET_HOME", str(home))
        recipes[pods.command] = Wiring.of(pods.settings()).recipe
    assert recipes["watch"] == recipes["work"]
