"""The overlays fit Kubernetes' own schemas. `make manifests` has KEDA's, Prometheus's and checkov, too."""

from __future__ import annotations

import copy

import pytest

from scripts.manifests import OVERLAYS, VERSIONS, _lost, overlay, schema_problems, waivers
from tests.deploy.overlays import kind


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_overlay_fits_the_schemas_of(version: str, name: str):
    assert list(schema_problems(overlay(name), version)) == []


def test_a_field_that_kubernetes_does_not_know_is_a_problem():
    deployment = copy.deepcopy(kind(overlay("aws-sqs"), "Deployment")[0])
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
    [problem] = schema_problems([deployment], "1.34")
    assert "terminationGracePeriod" in problem


def test_a_version_without_a_schema_is_a_problem_not_an_approximation():
    [problem] = schema_problems(kind(overlay("cpu-dev"), "Namespace"), "1.36.99")
    assert "no schema" in problem


def test_what_a_model_drops_is_found_wherever_it_is():
    given = {"spec": {"triggers": [{"type": "a", "typo": 1}], "name": "x"}}
    assert list(_lost(given, {"spec": {"triggers": [{"type": "a"}], "name": "x"}})) == [".spec.triggers[0].typo"]
    assert list(_lost(given, given)) == []


def test_every_waiver_says_why():
    for section in (waivers()["checkov"], *waivers()["policy"].values()):
        assert all(len(reason.split()) > 5 for reason in section.values())
