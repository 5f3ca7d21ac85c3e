"""Names, labels and references: what kustomize makes of them, and what KEDA and Prometheus find by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml

from scripts.manifests import OVERLAYS, Manifest, overlay
from tests.deploy.overlays import Pods, all_pods, check_references, kind, pods_of, selects
from tests.equipment.support import ROOT

OwnOverlay: TypeAlias = Callable[..., list[Manifest]]
EVERY = [pytest.param(pods, id=name) for name, pods in all_pods()]
KUSTOMIZATIONS = sorted((ROOT / "deploy").rglob("kustomization.yaml"))


# Scaling.


SCALED = [name for name in OVERLAYS if kind(overlay(name), "ScaledObject")]


def test_the_overlays_with_a_broker_are_scaled():
    assert SCALED == ["aws-sqs", "onprem-rabbitmq"]


@pytest.mark.parametrize("name", SCALED)
def test_scaling_goes_by_the_backlog_of_the_broker_that_is_set(name: str):
    [trigger] = kind(overlay(name), "ScaledObject")[0]["spec"]["triggers"]
    [queue] = {pods.settings().queue for pods in pods_of(overlay(name))}
    told = trigger["metadata"]
    if queue.startswith("amqp"):
        assert trigger["type"] == "rabbitmq"
        assert (told["protocol"], told["mode"], told["excludeUnacknowledged"]) == ("http", "QueueLength", "false")
        assert queue.endswith(f"?queue={told['queueName']}&exchange=bucket-events")
    else:
        assert trigger["type"] == "aws-sqs-queue"
        assert told["scaleOnInFlight"] == "true"
        assert f".{told['awsRegion']}." in queue
        [work] = [pods for pods in pods_of(overlay(name)) if pods.command == "work"]
        assert work.environment[told["queueURLFromEnv"]] == queue


@pytest.mark.parametrize("name", SCALED)
def test_an_applied_manifest_does_not_undo_what_keda_has_scaled(name: str):
    [work] = [pods for pods in pods_of(overlay(name)) if pods.command == "work"]
    assert "replicas" not in work.manifest["spec"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_prefix_before_all_names_breaks_no_reference(name: str, own_overlay: OwnOverlay):
    objects = own_overlay(name, namePrefix="shop-")
    check_references(objects)
    assert all(pods.name.startswith("shop-") for pods in pods_of(objects))


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_name_that_is_referred_to_is_there(name: str):
    check_references(overlay(name))


# kustomize.


@pytest.mark.parametrize("file", KUSTOMIZATIONS, ids=lambda file: file.parent.name)
def test_labels_that_change_never_reach_selectors(file: Path):
    kustomization = yaml.safe_load(file.read_text("utf-8"))
    assert not kustomization.keys() & {"commonLabels", "bases", "patchesStrategicMerge", "patchesJson6902", "vars"}
    assert not any(labels.get("includeSelectors") for labels in kustomization.get("labels", []))


@pytest.mark.parametrize("pods", EVERY)
def test_a_deployment_selects_its_own_pods_whatever_the_version(pods: Pods):
    selector = pods.manifest["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pods.labels.items()
    assert "app.kubernetes.io/version" not in selector
    others = [other for other in pods_of(pods.objects) if other.name != pods.name]
    assert not any(selector.items() <= other.labels.items() for other in others)


@pytest.mark.parametrize("name", OVERLAYS)
def test_new_settings_make_new_pods(name: str, own_overlay: OwnOverlay):
    merge = {"name": "alphadrop-settings", "behavior": "merge", "literals": ["ALPHADROP_DRAIN=15"]}
    changed = own_overlay(name, configMapGenerator=[merge])
    for before, after in zip(pods_of(overlay(name)), pods_of(changed), strict=True):
        assert after.settings().drain == 15
        assert before.container["envFrom"] != after.container["envFrom"]


# Monitoring.


MONITORED = [name for name in OVERLAYS if kind(overlay(name), "PodMonitor")]


@pytest.mark.parametrize("name", MONITORED)
def test_prometheus_scrapes_every_pod_as_the_job_that_alerts_look_for(name: str):
    [monitor] = kind(overlay(name), "PodMonitor")
    for pods in pods_of(overlay(name)):
        assert selects(monitor["spec"]["selector"], pods)
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        assert (endpoint["port"], endpoint["path"]) == (pods.container["ports"][0]["name"], "/metrics")
        assert "alphadrop" in pods.labels[monitor["spec"]["jobLabel"]]


@pytest.mark.parametrize("name", MONITORED)
def test_the_dashboard_is_found_by_its_label_and_has_one_place(name: str):
    [dashboard] = [m for m in kind(overlay(name), "ConfigMap") if "alphadrop.json" in m["data"]]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    content = yaml.safe_load(dashboard["data"]["alphadrop.json"])  # JSON is YAML
    assert content["uid"] == "alphadrop"
    assert "datasource" in {variable["type"] for variable in content["templating"]["list"]}


@pytest.mark.parametrize("name", MONITORED)
def test_the_alerts_come_with_it(name: str):
    [rules] = kind(overlay(name), "PrometheusRule")
    assert [rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"]]
