"""What goes wrong with daemons on GPUs in clusters, a test for each; waivers.toml has exceptions and reasons."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scripts.manifests import MANIFESTS, OVERLAYS, overlay, waivers
from tests.deploy.overlays import (
    WRITTEN_BY_LIBRARIES,
    Pods,
    all_pods,
    kind,
    one,
    pods_of,
    quantity,
    selects,
)
from tests.equipment.support import ROOT
from watcher.fleet.keeper import START_TIMEOUT
from watcher.telemetry.health import HEARTBEAT_TIMEOUT, Health
from watcher.telemetry.metrics import Metrics
from watcher.web.app import create_app

EVERY = [pytest.param(pods, id=name) for name, pods in all_pods()]
MAKERS = [pytest.param(pods, id=name) for name, pods in all_pods() if pods.command != "watch"]
ON_GPUS = [pytest.param(pods, id=name) for name, pods in all_pods() if pods.gpus]


# GPUs.


def test_three_overlays_are_for_gpus():
    assert [name for name in OVERLAYS if any(pods.gpus for pods in pods_of(overlay(name)))] == [
        "aws-sqs",
        "onprem-rabbitmq",
        "single-node-folder",
    ]


@pytest.mark.parametrize("pods", EVERY)
def test_gpus_are_asked_for_under_limits_and_their_taint_is_tolerated(pods: Pods):
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert (toleration in pods.spec.get("tolerations", [])) is bool(pods.gpus)
    assert "nvidia.com/gpu" not in pods.container["resources"]["requests"]  # equal to the limit by itself


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_runtime_class_comes_with_its_component_and_for_gpus_alone(name: str):
    file = yaml.safe_load((MANIFESTS / "overlays" / name / "kustomization.yaml").read_text("utf-8"))
    asked = "../../components/runtimeclass-nvidia" in file["components"]
    for pods in pods_of(overlay(name)):
        assert pods.spec.get("runtimeClassName") == ("nvidia" if asked and pods.gpus else None)


@pytest.mark.parametrize("pods", EVERY)
def test_which_gpus_a_pod_sees_is_left_to_the_device_plugin(pods: Pods):
    assert "NVIDIA_VISIBLE_DEVICES" not in pods.environment


@pytest.mark.parametrize("pods", MAKERS)
def test_a_new_pod_never_waits_for_a_gpu_that_an_old_one_keeps(pods: Pods):
    strategy = pods.manifest["spec"]["strategy"]
    assert strategy["type"] == "Recreate" or strategy["rollingUpdate"]["maxSurge"] == 0
    assert pods.command == "work" or strategy["type"] == "Recreate"  # two `run` would fight over their folders


@pytest.mark.parametrize("pods", EVERY)
def test_the_image_is_this_version_and_the_one_for_the_command(pods: Pods):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    image = "watch" if pods.command == "watch" else "cuda" if pods.gpus else "cpu"
    assert pods.container["image"] == f"alphadrop:{version}-{image}"
    assert pods.labels["app.kubernetes.io/version"] == version


# Coming and going.


@pytest.mark.parametrize("pods", EVERY)
def test_one_pod_at_a_time_may_be_evicted_and_one_that_is_not_ready_always(pods: Pods):
    [budget] = [b for b in kind(pods.objects, "PodDisruptionBudget") if selects(b["spec"]["selector"], pods)]
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("pods", EVERY)
def test_liveness_asks_for_the_heartbeat_alone_and_readiness_for_the_work(pods: Pods):
    probes = {name: pods.container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert {name: probe["httpGet"]["path"] for name, probe in probes.items()} == {
        "startup": "/livez",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {pods.container["ports"][0]["name"]}


def test_the_probes_ask_pages_that_exist_and_liveness_knows_no_store():
    health = Health("queue", "source", "workers")
    app = create_app(Metrics(), health)
    assert {"/livez", "/readyz", "/metrics"} <= {route.path for route in app.routes}  # type: ignore[attr-defined]
    assert health.alive() and health.unready()  # nothing is ready yet, and it lives


@pytest.mark.parametrize("pods", EVERY)
def test_loading_and_warming_up_are_waited_for(pods: Pods):
    """They happen in the worker, while the supervisor lives: no probe counts, only the time a rollout has."""
    assert pods.manifest["spec"]["progressDeadlineSeconds"] > START_TIMEOUT
    startup = pods.container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120  # imports, on a cold and busy disk


@pytest.mark.parametrize("pods", EVERY)
def test_a_stuck_supervisor_is_restarted_and_a_slow_one_is_not(pods: Pods):
    probe = pods.container["livenessProbe"]
    assert 20 <= probe["periodSeconds"] * probe["failureThreshold"] <= 2 * HEARTBEAT_TIMEOUT
    assert all(pods.container[f"{name}Probe"]["timeoutSeconds"] >= 5 for name in ("startup", "readiness", "liveness"))


@pytest.mark.parametrize("pods", MAKERS)
def test_threads_are_sized_by_what_the_pod_gets(pods: Pods):
    resources = pods.container["resources"]
    assert resources["requests"]["cpu"] == resources["limits"]["cpu"]


@pytest.mark.parametrize("pods", EVERY)
def test_memory_is_what_was_asked_for_and_the_disk_holds_all_volumes(pods: Pods):
    requests, limits = (pods.container["resources"][name] for name in ("requests", "limits"))
    assert requests["memory"] == limits["memory"]
    volumes = [volume["emptyDir"]["sizeLimit"] for volume in pods.spec["volumes"] if "emptyDir" in volume]
    assert sum(map(quantity, volumes)) < quantity(limits["ephemeral-storage"])


# Locked up.


@pytest.mark.parametrize("pods", EVERY)
def test_the_pod_fits_the_restricted_profile(pods: Pods):
    pod, container = pods.spec["securityContext"], pods.container["securityContext"]
    assert pod["runAsNonRoot"] and pod["runAsUser"] > 10000 and pod["runAsGroup"] > 10000
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert not pods.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    kinds = {key for volume in pods.spec["volumes"] for key in volume if key != "name"}
    assert kinds <= {"emptyDir", "secret", "persistentVolumeClaim"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_enforces_it(name: str):
    [namespace] = kind(overlay(name), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    outside = {"Namespace", "PersistentVolume"}
    assert {m["metadata"].get("namespace") for m in overlay(name) if m["kind"] not in outside} == {"alphadrop"}


@pytest.mark.parametrize("pods", EVERY)
def test_caches_and_temporary_files_are_volumes_of_bounded_size(pods: Pods):
    for path in ("/tmp", *(pods.environment[name] for name in WRITTEN_BY_LIBRARIES)):
        mount = pods.mount_of(path)
        assert mount is not None and "sizeLimit" in mount["emptyDir"], path


def test_nothing_that_runs_in_a_pod_needs_shared_memory():
    """Hence no volume for /dev/shm, of which Kubernetes gives 64 MB: whoever adds such an import must mount one."""
    packages = [path for name in ("watcher", "inference") for path in (ROOT / name).rglob("*.py")]
    daemons = [path for path in packages if "training" not in path.parts]
    assert len(daemons) > 50
    sharing = re.compile(r"multiprocessing|torch\.utils\.data|torch\.distributed")
    assert [path for path in daemons if any(sharing.search(name) for name in _imports(path))] == []


@pytest.mark.parametrize("pods", EVERY)
def test_no_pod_may_ask_the_cluster_anything(pods: Pods):
    account = one(pods.objects, "ServiceAccount", pods.spec["serviceAccountName"])
    assert account["automountServiceAccountToken"] is False
    assert pods.spec["automountServiceAccountToken"] is False
    assert pods.spec["enableServiceLinks"] is False  # variables ALPHADROP_PORT and such, which are no settings
    assert kind(pods.objects, "RoleBinding") + kind(pods.objects, "ClusterRoleBinding") == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_secrets_are_referred_to_and_never_shipped(name: str):
    assert kind(overlay(name), "Secret") == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_are_read_only_where_they_come_from(name: str):
    waived = waivers()["policy"].get(name, {})
    folders = [pods for pods in pods_of(overlay(name)) if pods.settings().source_path]
    kept = all(pods.mount_of(str(pods.settings().source_path))["readOnly"] for pods in folders)  # type: ignore[index]
    assert kept is ("source-is-read-only" not in waived)


def test_every_waiver_is_for_an_overlay_and_a_policy_that_exist():
    for name, policies in waivers()["policy"].items():
        assert name in OVERLAYS
        assert set(policies) == {"source-is-read-only"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_pod_is_closed_but_for_prometheus_names_and_stores(name: str):
    for pods in pods_of(overlay(name)):
        policies = [p["spec"] for p in kind(overlay(name), "NetworkPolicy") if selects(p["spec"]["podSelector"], pods)]
        assert {way for policy in policies for way in policy["policyTypes"]} == {"Ingress", "Egress"}
        [ingress] = [rule for policy in policies for rule in policy.get("ingress", [])]
        assert ingress["ports"] == [{"protocol": "TCP", "port": pods.container["ports"][0]["name"]}]
        assert all(ingress["from"])
        rules = [rule for policy in policies for rule in policy["egress"]]
        to_anywhere = {port["port"] for rule in rules if "to" not in rule for port in rule["ports"]}
        assert _ports_of(pods) <= to_anywhere
        assert bool(to_anywhere) is bool(_ports_of(pods))


@pytest.mark.parametrize("name", OVERLAYS)
def test_names_traces_and_credentials_of_the_node_get_through(name: str):
    rules = [rule for policy in kind(overlay(name), "NetworkPolicy") for rule in policy["spec"]["egress"]]
    found = {(str(to), port["port"]) for rule in rules for to in rule.get("to", []) for port in rule["ports"]}
    node_local_dns = (str({"ipBlock": {"cidr": "169.254.20.10/32"}}), 53)
    pod_identity = (str({"ipBlock": {"cidr": "169.254.170.23/32"}}), 80)
    assert node_local_dns in found
    assert any("monitoring" in to and port == 4318 for to, port in found)
    assert (pod_identity in found) is (name == "aws-sqs")


def test_the_documented_diagnosis_takes_the_way_through_the_node_which_no_policy_closes():
    """`kubectl port-forward` enters the pod from its node; the API server's proxy comes from outside."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert not re.search(r"kubectl[^\n`]* --raw|kubectl proxy|/proxy/", text)
    ports = {int(port) for port in re.findall(r"kubectl[^\n`]* port-forward \S+ (\d+)", text)}
    assert ports == {pods.container["ports"][0]["containerPort"] for _, pods in all_pods()}


# The tests' own questions.


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _ports_of(pods: Pods) -> set[int]:
    """The ports of stores and brokers that a pod calls."""
    settings = pods.settings()
    found = {443} if "s3://" in settings.source + settings.sink and not settings.s3_endpoint else set()
    ports = {"https": 443, "http": 80, "sqs": 443, "amqp": 5672, "amqps": 5671}
    for address in filter(None, (settings.s3_endpoint, settings.queue)):
        scheme, port = re.fullmatch(r"(\w+)://(?:[^/@]*@)?[^/:]+(?::(\d+))?(?:/.*)?", address).groups()  # type: ignore[union-attr]
        found.add(int(port or ports[scheme]))
    return found
