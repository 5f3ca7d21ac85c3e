"""The bill of materials has what the images install, as pinned; the provenance names its wheel and its source."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.supply_chain import IMAGES, PINS, bill_of_materials, pins, provenance, sha256
from tests.equipment.support import ROOT


@pytest.mark.parametrize("image", IMAGES)
def test_a_bill_names_every_package_in_its_pinned_version(image: str):
    bill = bill_of_materials(image)
    found = {component["name"]: component["version"] for component in bill["components"]}
    assert {name: version for name, version in found.items() if pins().get(name) != version} == {}
    assert bill["metadata"]["component"]["name"] == "alphadrop"
    assert sorted(c["purl"] for c in bill["components"]) == bill["dependencies"][0]["dependsOn"]
    assert all(c["purl"] == f"pkg:pypi/{c['name']}@{c['version']}" for c in bill["components"])


def test_each_image_has_what_it_is_for_and_no_more():
    names = {image: {c["name"] for c in bill_of_materials(image)["components"]} for image in IMAGES}
    assert "boto3" in names["watch"] and not {"torch", "onnxruntime"} & names["watch"]
    assert {"torch", "onnxruntime"} <= names["cpu"] and "nvidia-cudnn-cu13" not in names["cpu"]
    assert {"torch", "onnxruntime-gpu", "nvidia-cudnn-cu13", "triton"} <= names["cuda"]
    assert "onnxruntime" not in names["cuda"] and not {"pytest", "hatchling"} & names["cuda"]


def test_the_provenance_is_about_that_wheel_and_this_commit(tmp_path: Path):
    wheel = tmp_path / "alphadrop-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    statement = provenance(wheel, datetime.now(UTC), reproduced=True)
    assert statement["subject"] == [{"name": wheel.name, "digest": {"sha256": sha256(wheel)}}]
    source, *locks = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert source["digest"]["gitCommit"] == head.stdout.strip()
    assert {lock["uri"]: lock["digest"]["sha256"] for lock in locks} == {name: sha256(ROOT / name) for name in PINS}
