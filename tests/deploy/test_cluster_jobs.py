"""What runs and ends: the one-off backfill, and the comparison on a schedule."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.manifests import OVERLAYS, Manifest, overlay, schema_problems
from tests.deploy.overlays import Pods, kind, one, quantity, selects
from watcher.commands.command import ExitCode
from watcher.config.load import unknown_variables
from watcher.config.preflight import check_settings
from watcher.core.jobs import Mode


def jobs_of(objects: list[Manifest]) -> list[Pods]:
    """The pods of every Job and CronJob, as if a Deployment ran them."""
    specs = [(m, m["spec"]) for m in kind(objects, "Job")]
    specs += [(m, m["spec"]["jobTemplate"]["spec"]) for m in kind(objects, "CronJob")]
    return [Pods({"metadata": m["metadata"], "spec": spec}, objects) for m, spec in specs]


JOBS = [pytest.param(pods, id=f"{name}-{pods.command}") for name in OVERLAYS for pods in jobs_of(overlay(name))]


def test_each_broker_overlay_has_the_comparison_and_one_overlay_is_a_backfill():
    found = {name: [pods.command for pods in jobs_of(overlay(name))] for name in OVERLAYS}
    assert {name: commands for name, commands in found.items() if commands} == {
        "aws-sqs": ["reconcile"],
        "onprem-rabbitmq": ["reconcile"],
        "s3-backfill": ["once"],
    }


@pytest.mark.parametrize("pods", JOBS)
def test_its_settings_are_known_and_complete(pods: Pods):
    settings = pods.settings()
    assert unknown_variables(pods.environment) == []
    check_settings(settings, Mode.ONCE if pods.command == "once" else Mode.WATCH)
    assert bool(settings.queue) is (pods.command == "reconcile")
    assert pods.may_write(str(settings.state_path)) and pods.may_write("/tmp")


@pytest.mark.parametrize("pods", JOBS)
def test_it_fits_the_restricted_profile_and_may_ask_the_cluster_nothing(pods: Pods):
    pod, container = pods.spec["securityContext"], pods.container["securityContext"]
    assert pod["runAsNonRoot"] and pod["runAsUser"] > 10000 and pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False and container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert pods.spec["automountServiceAccountToken"] is False and pods.spec["enableServiceLinks"] is False
    assert one(pods.objects, "ServiceAccount", pods.spec["serviceAccountName"])["automountServiceAccountToken"] is False


@pytest.mark.parametrize("pods", JOBS)
def test_its_volumes_fit_and_its_calls_get_through(pods: Pods):
    volumes = [volume["emptyDir"]["sizeLimit"] for volume in pods.spec["volumes"] if "emptyDir" in volume]
    assert sum(map(quantity, volumes)) < quantity(pods.container["resources"]["limits"]["ephemeral-storage"])
    policies = [p["spec"] for p in kind(pods.objects, "NetworkPolicy") if selects(p["spec"]["podSelector"], pods)]
    ports = {port["port"] for policy in policies for rule in policy["egress"] for port in rule["ports"]}
    assert {53, 443} <= ports


def test_a_backfill_goes_on_after_an_interruption_and_stops_where_a_repetition_is_useless():
    [job] = kind(overlay("s3-backfill"), "Job")
    [pods] = jobs_of(overlay("s3-backfill"))
    assert pods.gpus == 1 and pods.settings().devices == "cuda:0"
    first, second = job["spec"]["podFailurePolicy"]["rules"]
    assert first["onExitCodes"]["values"] == [ExitCode.USAGE, ExitCode.REJECTED] and first["action"] == "FailJob"
    assert second["action"] == "Ignore"
    assert pods.spec["restartPolicy"] == "Never"  # which a policy for failures demands
    assert pods.spec["terminationGracePeriodSeconds"] >= pods.settings().drain + 10


@pytest.mark.parametrize("name", ["aws-sqs", "onprem-rabbitmq"])
def test_the_comparison_is_suspended_until_somebody_wants_it(name: str):
    [cron] = kind(overlay(name), "CronJob")
    spec: dict[str, Any] = cron["spec"]
    assert spec["suspend"] is True and spec["concurrencyPolicy"] == "Forbid"
    [pods] = jobs_of(overlay(name))
    watch = one(overlay(name), "Deployment", "alphadrop-watch")
    [daemon] = watch["spec"]["template"]["spec"]["containers"]
    assert pods.container["image"] == daemon["image"]
    assert pods.container["envFrom"] == daemon["envFrom"]  # the same source, sink and queue
    secrets = ("AWS_SHARED_CREDENTIALS_FILE", "ALPHADROP_CONFIG")
    given = {entry["name"]: entry["value"] for entry in daemon["env"] if entry["name"] in secrets}
    assert {key: value for key, value in pods.environment.items() if key in secrets} == given


@pytest.mark.parametrize("name", [name for name in OVERLAYS if jobs_of(overlay(name))])
def test_its_objects_are_valid(name: str):
    assert list(schema_problems([m for m in overlay(name) if m["kind"] in ("Job", "CronJob")], "1.34")) == []
