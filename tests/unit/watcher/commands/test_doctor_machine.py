"""What the doctor says about this machine: GPUs and codecs."""

from __future__ import annotations

import json

import pytest

from watcher.commands import doctor
from watcher.config.settings import Settings

SETTINGS = Settings(source="in", sink="out", devices="cuda:0x2")


def checks(
    monkeypatch: pytest.MonkeyPatch, problem: str, gpus: list[tuple[str, int]]
) -> dict[str, tuple[bool | None, str]]:
    found = json.dumps({"torch": "2.13.0+cu130", "problem": problem, "gpus": gpus})
    monkeypatch.setattr(doctor, "_ASK_TORCH", f"print({found!r})")
    return {check.what: (check.ok, check.finding) for check in doctor._check_devices(SETTINGS)}


def test_a_driver_that_is_too_old_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said = checks(monkeypatch, "CUDA could not be initialised: ... needs NVIDIA driver 580.65.06 or newer", [])
    assert said["driver"] == (False, "CUDA could not be initialised: ... needs NVIDIA driver 580.65.06 or newer")
    assert said["devices"][0] is False


def test_workers_that_share_a_gpu_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    said = checks(monkeypatch, "", [("NVIDIA H200", 139 << 30)])
    assert "driver" not in said and said["devices"][0] is True
    assert said["devices"][1].startswith("2 workers on cuda:0")


@pytest.mark.parametrize(
    ("package", "finding"),
    [("a package", "AVIF, HEIC"), (None, "AVIF, no HEIC: pip install 'alphadrop[heic]' adds it")],
)
def test_the_codecs_say_whether_photos_of_phones_can_be_read(
    monkeypatch: pytest.MonkeyPatch, package: object, finding: str
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: package)
    check = doctor._check_codecs()
    assert check.ok and check.finding.endswith(finding)
