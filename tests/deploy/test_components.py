"""The components that no overlay of ours uses, each added to one by a user's overlay; `models` has tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml

from scripts.manifests import MANIFESTS, OVERLAYS, Manifest, schema_problems
from tests.deploy.overlays import Pods, check_references, kind, one, pods_of, selects
from watcher.config.preflight import check_settings
from watcher.core.jobs import Mode
from watcher.fleet.devices import expand_devices, workers_per_gpu

OwnOverlay: TypeAlias = Callable[..., list[Manifest]]
ADDED = {
    "events-service": "onprem-rabbitmq",
    "gpu-card": "single-node-folder",
    "gpu-fast": "aws-sqs",
    "gpu-mig": "aws-sqs",
    "gpu-shared": "single-node-folder",
    "priority": "onprem-rabbitmq",
    "spread": "aws-sqs",
    "web-identity": "onprem-rabbitmq",
}
"""Each component, and an overlay that it makes sense on."""


@pytest.fixture
def with_component(own_overlay: OwnOverlay) -> Callable[..., list[Manifest]]:
    """Renders an overlay of ours with a component."""

    def rendered(name: str, **fields: object) -> list[Manifest]:
        return own_overlay(ADDED[name], components=[f"../deploy/k8s/components/{name}"], **fields)

    return rendered


def makers(objects: list[Manifest]) -> list[Pods]:
    return [pods for pods in pods_of(objects) if pods.command != "watch"]


def test_every_component_is_in_an_overlay_or_tried_here():
    used = {Path(line).name for name in (*OVERLAYS,) for line in components_of(MANIFESTS / "overlays" / name)}
    used |= {Path(line).name for name in ("run", "watch-work") for line in components_of(MANIFESTS / "base" / name)}
    assert {path.name for path in (MANIFESTS / "components").iterdir()} == used | ADDED.keys() | {"models"}
    assert not used & ADDED.keys()


def components_of(folder: Path) -> list[str]:
    return list(yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8")).get("components", []))


@pytest.mark.parametrize("name", ADDED)
def test_what_comes_of_it_is_valid_and_complete(name: str, with_component: OwnOverlay):
    objects = with_component(name, namePrefix="shop-")
    assert list(schema_problems(objects, "1.34")) == []
    check_references(objects)
    for pods in pods_of(objects):
        settings = pods.settings()
        if settings.source_path is None:
            check_settings(settings, Mode(pods.command))


def test_a_card_is_chosen_by_its_label(with_component: OwnOverlay):
    for pods in pods_of(with_component("gpu-card")):
        assert pods.spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}


def test_a_fast_card_is_shared_by_as_many_workers_as_its_cores_feed(with_component: OwnOverlay):
    for pods in makers(with_component("gpu-fast")):
        resources = pods.container["resources"]
        cores, memory = int(resources["limits"]["cpu"]), int(resources["limits"]["memory"].removesuffix("Gi"))
        workers = expand_devices(pods.settings().devices)
        assert workers == ["cuda:0"] * workers_per_gpu(1, cores, memory << 30, 80 << 30)
        assert resources["requests"]["cpu"] == resources["limits"]["cpu"]
        assert pods.gpus == 1


@pytest.mark.parametrize(("name", "resource"), [("gpu-mig", "mig-1g.10gb"), ("gpu-shared", "gpu.shared")])
def test_a_part_of_a_card_takes_the_place_of_a_whole_one(name: str, resource: str, with_component: OwnOverlay):
    for pods in makers(with_component(name)):
        limits = pods.container["resources"]["limits"]
        assert {key: value for key, value in limits.items() if "nvidia" in key} == {f"nvidia.com/{resource}": 1}
        assert pods.settings().devices == "cuda:0"  # inside, it is the only one


def test_cutouts_give_way_and_preempt_nobody(with_component: OwnOverlay):
    objects = with_component("priority", namePrefix="shop-")
    priority = one(objects, "PriorityClass", "shop-alphadrop-cutouts")
    assert priority["value"] < 0 and priority["preemptionPolicy"] == "Never"
    for pods in pods_of(objects):
        wanted = None if pods.command == "watch" else priority["metadata"]["name"]
        assert pods.spec.get("priorityClassName") == wanted


def test_workers_are_spread_where_there_is_room(with_component: OwnOverlay):
    for pods in makers(with_component("spread")):
        constraints = pods.spec["topologySpreadConstraints"]
        assert [c["topologyKey"] for c in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        assert all(selects(c["labelSelector"], pods) for c in constraints)
        assert {c["whenUnsatisfiable"] for c in constraints} == {"ScheduleAnyway"}


def test_a_role_is_taken_on_with_the_clusters_own_token(with_component: OwnOverlay):
    for pods in pods_of(with_component("web-identity")):
        environment = pods.environment
        mount = pods.mount_of(environment["AWS_WEB_IDENTITY_TOKEN_FILE"])
        assert mount is not None and mount["readOnly"]
        [source] = mount["projected"]["sources"]
        assert source["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
        assert environment["AWS_WEB_IDENTITY_TOKEN_FILE"].endswith(f"/{source['serviceAccountToken']['path']}")
        assert environment["AWS_ROLE_ARN"].endswith(f"role/alphadrop-{pods.command}")


def test_a_store_reaches_watch_and_nobody_else_through_the_service(with_component: OwnOverlay):
    objects = with_component("events-service")
    service = one(objects, "Service", "alphadrop-events")["spec"]
    found = [pods for pods in pods_of(objects) if service["selector"].items() <= pods.labels.items()]
    assert [pods.command for pods in found] == ["watch"]
    [watch] = found
    assert watch.settings().events == "webhook" and watch.settings().events_token
    assert service["ports"][0]["targetPort"] == watch.container["ports"][0]["name"]
    assert one(objects, "NetworkPolicy", "alphadrop-events")["spec"]["podSelector"]["matchLabels"].items() <= (
        watch.labels.items()
    )
    assert kind(objects, "Secret") == []
