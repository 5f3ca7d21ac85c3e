"""The components that no overlay of ours uses, each added to one by a user's overlay; `models` has tests of its own."""

from __future__ import annotations

import re
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
from watcher.protocol import STAGES
from watcher.telemetry.metrics import Metrics
from watcher.web.api import openapi
from watcher.web.static import page_routes

OwnOverlay: TypeAlias = Callable[..., list[Manifest]]
ADDED = {
    "events-ingress": "onprem-rabbitmq",
    "events-service": "onprem-rabbitmq",
    "folder-writable": "single-node-folder",
    "gpu-card": "single-node-folder",
    "gpu-fast": "aws-sqs",
    "gpu-mig": "aws-sqs",
    "gpu-shared": "single-node-folder",
    "keda-age": "aws-sqs",
    "page-service": "aws-sqs",
    "priority": "onprem-rabbitmq",
    "spread": "aws-sqs",
    "web-identity": "onprem-rabbitmq",
}
"""Each component, and an overlay that it makes sense on."""
TOGETHER = {"events-ingress": ["events-service"]}
"""Components that another one needs."""


@pytest.fixture
def with_component(own_overlay: OwnOverlay) -> Callable[..., list[Manifest]]:
    """Renders an overlay of ours with a component."""

    def rendered(name: str, **fields: object) -> list[Manifest]:
        names = [*TOGETHER.get(name, ()), name]
        return own_overlay(ADDED[name], components=[f"../deploy/k8s/components/{name}" for name in names], **fields)

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


@pytest.mark.parametrize("overlay", ["aws-sqs", "onprem-rabbitmq"])
def test_workers_are_scaled_by_age_beside_their_backlog(overlay: str, own_overlay: OwnOverlay):
    objects = own_overlay(overlay, components=["../deploy/k8s/components/keda-age"])
    [scaled] = kind(objects, "ScaledObject")
    backlog, age = scaled["spec"]["triggers"]
    assert backlog["type"] in ("aws-sqs-queue", "rabbitmq") and age["type"] == "prometheus"
    assert {trigger["metricType"] for trigger in (backlog, age)} == {"AverageValue"}, "the fallback knows no other"
    query = age["metadata"]["query"]
    series = {f"{family.name}_bucket" for family in Metrics().registry.collect()}
    assert set(re.findall(r"alphadrop_\w+", query)) <= series
    assert 'stage="queue_wait"' in query and "queue_wait" in STAGES
    assert f'namespace="{scaled["metadata"]["namespace"]}"' in query


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


def paths_of(ingress: Manifest) -> dict[str, str]:
    """The paths that an Ingress lets through, and how they are compared."""
    [rule] = ingress["spec"]["rules"]
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    return {path["path"]: path["pathType"] for path in rule["http"]["paths"]}


def backends_of(ingress: Manifest) -> set[tuple[str, str]]:
    [rule] = ingress["spec"]["rules"]
    services = [path["backend"]["service"] for path in rule["http"]["paths"]]
    return {(service["name"], service["port"]["name"]) for service in services}


def test_events_come_from_outside_through_tls_and_reach_nothing_else(with_component: OwnOverlay):
    objects = with_component("events-ingress", namePrefix="shop-")
    ingress, service = (
        one(objects, "Ingress", "shop-alphadrop-events"),
        one(objects, "Service", "shop-alphadrop-events"),
    )
    assert paths_of(ingress) == {"/events": "Exact"}
    assert backends_of(ingress) == {(service["metadata"]["name"], service["spec"]["ports"][0]["name"])}
    [watch] = [pods for pods in pods_of(objects) if pods.command == "watch"]
    policy = one(objects, "NetworkPolicy", "shop-alphadrop-events-ingress")["spec"]
    assert selects(policy["podSelector"], watch) and all(rule["from"] for rule in policy["ingress"])


@pytest.mark.parametrize(("name", "command"), [("aws-sqs", "watch"), ("cpu-dev", "run")])
def test_the_page_is_reached_through_tls_with_a_token_and_metrics_are_not(
    name: str, command: str, own_overlay: OwnOverlay
):
    objects = own_overlay(name, components=["../deploy/k8s/components/page-service"], namePrefix="shop-")
    ingress, service = one(objects, "Ingress", "shop-alphadrop-page"), one(objects, "Service", "shop-alphadrop-page")
    selector = service["spec"]["selector"]
    [pods] = [pods for pods in pods_of(objects) if selector.items() <= pods.labels.items()]
    assert pods.command == command and pods.settings().page and pods.settings().api_token
    assert backends_of(ingress) == {(service["metadata"]["name"], service["spec"]["ports"][0]["name"])}
    assert service["spec"]["ports"][0]["targetPort"] == pods.container["ports"][0]["name"]
    policy = one(objects, "NetworkPolicy", "shop-alphadrop-page")["spec"]
    assert selects(policy["podSelector"], pods) and all(rule["from"] for rule in policy["ingress"])
    assert kind(objects, "Secret") == []


def test_the_ingress_lets_page_and_api_through_and_nothing_else(with_component: OwnOverlay):
    allowed = paths_of(one(with_component("page-service"), "Ingress", "alphadrop-page"))

    def passes(path: str) -> bool:
        """By the rules of Kubernetes: a prefix is compared by whole parts of the path."""
        return any(
            path == rule or (kind_of_rule == "Prefix" and path.startswith(f"{rule}/"))
            for rule, kind_of_rule in allowed.items()
        )

    served = [*openapi.document()["paths"], *(route.path for route in page_routes())]
    assert [path for path in served if not passes(path)] == []
    assert not any(map(passes, ("/metrics", "/livez", "/readyz", "/events")))


def test_the_ingress_is_patient_and_wide_enough_for_the_apis_own_limits(with_component: OwnOverlay):
    objects = with_component("page-service")
    [watch] = [pods for pods in pods_of(objects) if pods.command == "watch"]
    annotations = one(objects, "Ingress", "alphadrop-page")["metadata"]["annotations"]
    limits = {name.rpartition("/")[2]: value for name, value in annotations.items()}
    assert int(limits["proxy-body-size"].removesuffix("m")) * 2**20 > watch.settings().upload_bytes * 4 / 3
    assert int(limits["proxy-read-timeout"]) > watch.settings().api_timeout
    assert limits["proxy-buffering"] == limits["proxy-request-buffering"] == "off"


def test_a_folder_takes_uploads(with_component: OwnOverlay):
    for pods in pods_of(with_component("folder-writable")):
        assert pods.may_write(str(pods.settings().source_path))
